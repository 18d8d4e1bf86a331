//! `--check`: what a query needs and yields, found out without running it.

use cli::Outcome;
use serde_json::Value;

use crate::planner::Planner;
use crate::query::Query;
use crate::report;
use crate::session::Session;
use crate::sources::Sources;

/// The columns of what is printed: the data set, what kind of thing a line is about, its name, and what it is.
pub(crate) const COLUMNS: [&str; 4] = ["dataset", "item", "name", "what"];

fn line(query: &Query, item: &str, name: &str, what: impl Into<Value>) -> Vec<Value> {
    vec![query.name.as_str().into(), item.into(), name.into(), what.into()]
}

/// Says what `query` needs: its windows, what it reads, and its key.
pub(crate) fn needs(planner: &mut Planner<'_>, query: &Query) {
    let (args, known, lines) = (planner.args, planner.known, &mut planner.lines);
    let calendar = &query.header.calendar;
    let windows = match calendar.look_back {
        Some(look_back) => format!("{}, reads {look_back} before it", calendar.zone()),
        None => calendar.zone().to_owned(),
    };
    lines.push(line(query, "window", calendar.unit.as_str(), windows));
    for name in &query.reads {
        let given = args.tables.iter().find(|table| table.name.as_str() == name);
        let (item, what) = if let Some(table) = given {
            ("reference table", table.file.display().to_string())
        } else if known.iter().any(|dataset| dataset.as_str() == name) && name != query.name.as_str() {
            ("data set", if planner.streams.has(name) { "stream" } else { "aggregate" }.to_owned())
        } else if query.declared.iter().any(|declared| declared.name == name) {
            ("reference table", "not given: empty".to_owned())
        } else {
            ("unknown", format!("not a data set; a reference table is given by --table {name}=FILE"))
        };
        lines.push(line(query, item, name, what));
    }
    lines.extend(query.header.key.iter().map(|key| line(query, "key", key, "")));
}

/// Says which columns `query` yields; returns whether all windows could be made of what is there and is expected.
pub(crate) fn yields(planner: &mut Planner<'_>, query: &Query, sources: &Sources<'_>) -> anyhow::Result<Outcome> {
    let session = Session::open(planner, query, sources)?;
    let columns = session.stored_columns();
    planner.lines.extend(columns.iter().map(|column| line(query, "column", &column.name, column.sql_type.as_str())));
    session.check_column_names()?;
    planner.expected_columns.insert(query.name.clone(), columns);
    let (recipe, plan) = planner.plan(query, sources)?;
    planner.expect_files(&query.name, &recipe, &plan);
    Ok(if report::name_refused(query, &plan) { Outcome::Partial } else { Outcome::Done })
}
