//! `--explain`: what is read, what is to be made, and how DuckDB would run the query over the first window of it.

use std::io::{self, Write as _};

use anyhow::Context as _;
use layout::Tree;

use crate::args::Args;
use crate::plan::Plan;
use crate::query::Query;
use crate::session::{Promised, Session};
use crate::sources::Sources;

/// Prints the plan of `query`.
pub(crate) fn explain(
    args: &Args,
    tree: &Tree,
    query: &Query,
    sources: &Sources<'_>,
    plan: &Plan,
) -> anyhow::Result<()> {
    let mut text = format!("{}: {}\n", query.name, query.origin);
    let reads: Vec<_> = sources.datasets.iter().map(ToString::to_string).collect();
    text += &format!("reads {}\n", reads.join(", "));
    for (table, _) in &sources.tables {
        text += &format!("reads {} from {}\n", table.name, table.file.display());
    }
    text += &format!(
        "{} to make, {} up to date, {} not over, {} of which retention removed a part\n",
        cli::count(plan.steps.len(), query.calendar.unit().as_str()),
        plan.fresh,
        plan.current,
        plan.expired
    );
    for step in &plan.steps {
        let files: usize = step.inputs.values().map(std::collections::BTreeMap::len).sum();
        let time = |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%dT%H:%M").to_string();
        let (start, end) = (time(step.window.start), time(step.window.end));
        text += &format!("  {start} to {end}, of {}: {}\n", cli::count(files, "file"), step.reason);
    }
    let session = Session::open(&args.session, tree, query, sources, &Promised::new(), 1)?;
    if let Some(step) = plan.steps.first() {
        session.run(&step.window, &step.inputs, "")?;
    }
    let mut statement = session.connection().prepare(&format!("EXPLAIN {}", session.select()))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        text += &row.get::<_, String>(1)?;
    }
    io::stdout().lock().write_all(text.as_bytes()).context("cannot print the plan")
}
