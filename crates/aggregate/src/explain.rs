//! `--explain`: what is read, what is to be made, and how DuckDB would run the query over the first window of it.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::Context as _;
use layout::Tree;

use crate::args::Args;
use crate::columns::SqlColumn;
use crate::plan::{Plan, Step};
use crate::query::Query;
use crate::session::{Promised, Session};
use crate::sources::Sources;

/// Prints the plan of `query`; returns the columns that it is going to yield. Those of data sets that other plans are
/// going to yield are `promised`.
pub(crate) fn explain(
    args: &Args,
    tree: &Tree,
    query: &Query,
    sources: &Sources<'_>,
    plan: &Plan,
    promised: &Promised,
) -> anyhow::Result<Vec<SqlColumn>> {
    let mut text = format!("{}: {}\n", query.name, query.origin);
    let reads: Vec<_> = sources.datasets.iter().map(ToString::to_string).collect();
    writeln!(text, "reads {}", reads.join(", "))?;
    for (table, _) in &sources.tables {
        writeln!(text, "reads {} from {}", table.name, table.file.display())?;
    }
    let session = Session::open(&args.session, tree, query, sources, promised, 1)?;
    session.check_column_names()?;
    let how = if session.has_batch() { "many hours at once where they are small" } else { "window by window" };
    writeln!(
        text,
        "{} to make, {how}, {} up to date, {} not over, {} of which retention removed a part",
        cli::count(plan.steps.len(), query.calendar.unit().as_str()),
        plan.fresh,
        plan.current,
        plan.frozen.count
    )?;
    for step in &plan.steps {
        let files: usize = step.inputs.values().map(std::collections::BTreeMap::len).sum();
        let time = |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%dT%H:%M").to_string();
        let (start, end) = (time(step.window.start), time(step.window.end));
        writeln!(text, "  {start} to {end}, of {}: {}", cli::count(files, "file"), step.reason)?;
    }
    // Of a step that reads what a step before it makes, there is nothing to be seen yet.
    let shown = plan.steps.first().filter(|step| are_there(tree, step));
    if let Some(step) = shown {
        session.run(&step.window, &step.inputs, "")?;
    }
    let mut statement = session.connection().prepare(&format!("EXPLAIN {}", session.select()))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        text += &row.get::<_, String>(1)?;
    }
    io::stdout().lock().write_all(text.as_bytes()).context("cannot print the plan")?;
    Ok(session.stored_columns())
}

fn are_there(tree: &Tree, step: &Step) -> bool {
    let mut files =
        step.inputs.iter().flat_map(|(dataset, files)| files.keys().map(move |hour| tree.parquet(dataset, *hour)));
    files.all(|file| file.exists())
}
