//! `--explain`: what is read, what is to be made, and how DuckDB would run the query over the first window of it.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::Context as _;

use crate::plan::{Plan, Step, count, paths, time};
use crate::planner::Planner;
use crate::query::Query;
use crate::session::Session;
use crate::sources::Sources;

/// Prints the plan of `query`, and expects the columns that it is going to yield.
pub(crate) fn explain(
    planner: &mut Planner<'_>,
    query: &Query,
    sources: &Sources<'_>,
    plan: &Plan,
) -> anyhow::Result<()> {
    let mut text = format!("{}: {}\n", query.name, query.origin);
    let reads: Vec<_> = sources.datasets.iter().map(ToString::to_string).collect();
    writeln!(text, "reads {}", reads.join(", "))?;
    for (table, _) in &sources.tables {
        writeln!(text, "reads {} from {}", table.name, table.file.display())?;
    }
    let session = Session::open(planner, query, sources)?;
    session.check_column_names()?;
    let how = if session.batch.is_some() { "many hours at once where they are small" } else { "window by window" };
    writeln!(
        text,
        "{} to make, {how}, {} up to date, {} not over, {} of which retention removed a part",
        query.windows(plan.steps.len()),
        plan.fresh,
        plan.current,
        plan.frozen.count
    )?;
    for step in &plan.steps {
        let (start, end) = (time(step.window.start), time(step.window.end));
        let files = cli::count(count(&step.inputs), "file");
        writeln!(text, "  {start} to {end}, of {files}: {}", step.reason)?;
    }
    // Of a step that reads what a step before it makes, there is nothing to be seen yet.
    let are_there = |step: &Step| paths(planner.tree, &step.inputs).all(|file| file.exists());
    if let Some(step) = plan.steps.first().filter(|step| are_there(step)) {
        session.run(&step.window, &step.inputs, "")?;
    }
    let mut statement = session.connection.prepare(&format!("EXPLAIN {}", session.select()))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        text += &row.get::<_, String>(1)?;
    }
    io::stdout().lock().write_all(text.as_bytes()).context("cannot print the plan")?;
    planner.expected_columns.insert(query.name.clone(), session.stored_columns());
    Ok(())
}
