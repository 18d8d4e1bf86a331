//! `--check`: what a query needs and yields, found out without running it.

use std::collections::BTreeSet;
use std::io;

use anyhow::Context as _;
use cli::{Outcome, Table};
use layout::{Name, Tree};
use serde_json::Value;

use crate::args::Args;
use crate::order::Read;
use crate::query::Query;
use crate::session::{Promised, Session};
use crate::sources::Sources;

/// A line of what is said: the data set, what kind of thing it is about, its name, and what it is.
type Line = [String; 4];

/// Prints what the queries, which are in order, need and yield. One that cannot be run is an error, after what it needs
/// is said.
pub(crate) fn check(args: &Args, tree: &Tree, known: &BTreeSet<Name>, reads: &[Read]) -> anyhow::Result<Outcome> {
    let mut lines = Vec::new();
    let mut promised = Promised::new();
    let mut errors = Vec::new();
    for read in reads {
        lines.extend(needs(args, known, read));
        match yields(args, tree, known, read, &mut promised) {
            Ok(columns) => lines.extend(columns),
            Err(error) => errors.push(error),
        }
    }
    print(args, lines).context("cannot print")?;
    let last = errors.pop();
    for error in errors {
        log::error!("{}", engine::explain(&error));
    }
    last.map_or(Ok(Outcome::Done), Err)
}

fn needs(args: &Args, known: &BTreeSet<Name>, read: &Read) -> Vec<Line> {
    let query = &read.query;
    let line = |item: &str, name: &str, what: String| [query.name.to_string(), item.to_owned(), name.to_owned(), what];
    let mut lines = vec![line("window", query.calendar.unit().as_str(), windows(query))];
    for name in &read.names {
        let given = args.tables.iter().find(|table| table.name.as_str() == name);
        let (item, what) = if let Some(table) = given {
            ("reference table", table.file.display().to_string())
        } else if known.iter().any(|dataset| dataset.as_str() == name) && name != query.name.as_str() {
            ("data set", if models::model(name).is_some() { "stream" } else { "aggregate" }.to_owned())
        } else if query.declared.iter().any(|declared| declared.name == name) {
            ("reference table", "not given: empty".to_owned())
        } else {
            ("unknown", format!("not a data set; a reference table is given by --table {name}=FILE"))
        };
        lines.push(line(item, name, what));
    }
    lines.extend(query.key.iter().map(|key| line("key", key, String::new())));
    lines
}

/// The windows of `query` in words.
fn windows(query: &Query) -> String {
    match query.calendar.look_back() {
        Some(look_back) => format!("{}, reads {look_back} before it", query.calendar.zone()),
        None => query.calendar.zone().to_owned(),
    }
}

fn yields(
    args: &Args,
    tree: &Tree,
    known: &BTreeSet<Name>,
    read: &Read,
    promised: &mut Promised,
) -> anyhow::Result<Vec<Line>> {
    let query = &read.query;
    let sources = Sources::resolve(read, known, &args.tables)?;
    let session = Session::open(&args.session, tree, query, &sources, promised, 1)?;
    let mut columns = session.columns().to_vec();
    for column in &mut columns {
        column.sql_type = column.stored_type().to_owned();
    }
    let line = |column: &crate::session::Column| {
        [query.name.to_string(), "column".to_owned(), column.name.clone(), column.sql_type.clone()]
    };
    let lines = columns.iter().map(line).collect();
    promised.insert(query.name.clone(), columns);
    Ok(lines)
}

fn print(args: &Args, lines: Vec<Line>) -> io::Result<()> {
    let columns = ["dataset", "item", "name", "what"].map(String::from).into();
    let mut table = Table::new(io::stdout().lock(), args.print.format, columns)?;
    for line in lines {
        table.row(line.map(Value::from).into())?;
    }
    table.finish()
}
