//! `--check`: what a query needs and yields, found out without running it.

use std::collections::BTreeSet;
use std::io;

use anyhow::Context as _;
use cli::{Outcome, Table};
use layout::Name;
use serde_json::Value;

use crate::args::Args;
use crate::order::Read;
use crate::planner::{Expected, Planner};
use crate::query::Query;
use crate::report;
use crate::session::Session;
use crate::sources::Sources;

/// A line of what is said: the data set, what kind of thing it is about, its name, and what it is.
type Line = [String; 4];

/// Prints what the queries, which are in order, need and yield. One that cannot be run is an error, after what it needs
/// is said; one of which only some windows cannot, as the tree is now, is named.
pub(crate) fn check(planner: &Planner<'_>, reads: &[Read]) -> anyhow::Result<Outcome> {
    let mut lines = Vec::new();
    let mut expected = Expected::default();
    let mut errors = Vec::new();
    let mut outcome = Outcome::Done;
    for read in reads {
        lines.extend(needs(planner.args, planner.known, read));
        match yields(planner, read, &mut expected, &mut lines) {
            Ok(Outcome::Done) => {}
            Ok(less) => outcome = less,
            Err(error) => errors.push(error),
        }
    }
    print(planner.args, lines).context("cannot print")?;
    let last = errors.pop();
    for error in errors {
        log::error!("{}", engine::explain(&error));
    }
    last.map_or(Ok(outcome), Err)
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

/// Adds the columns to `lines`; returns whether all windows could be made of what is there and of what is `expected`.
fn yields(
    planner: &Planner<'_>,
    read: &Read,
    expected: &mut Expected,
    lines: &mut Vec<Line>,
) -> anyhow::Result<Outcome> {
    let query = &read.query;
    let sources = Sources::resolve(read, planner.known, &planner.args.tables)?;
    let session = Session::open(&planner.args.session, planner.tree, query, &sources, &expected.columns, 1)?;
    let columns = session.stored_columns();
    let line = |column: &crate::columns::SqlColumn| {
        [query.name.to_string(), "column".to_owned(), column.name.clone(), column.sql_type.clone()]
    };
    lines.extend(columns.iter().map(line));
    session.check_column_names()?;
    expected.columns.insert(query.name.clone(), columns);
    let (recipe, plan) = planner.plan(query, &sources, Some(&query.name), &expected.files)?;
    expected.add_files(&query.name, &recipe, &plan);
    Ok(if report::name_refused(query, &plan) { Outcome::Partial } else { Outcome::Done })
}

fn print(args: &Args, lines: Vec<Line>) -> io::Result<()> {
    let columns = ["dataset", "item", "name", "what"].map(String::from).into();
    let mut table = Table::new(io::stdout().lock(), args.print.format, columns)?;
    for line in lines {
        table.row(line.map(Value::from).into())?;
    }
    table.finish()
}
