//! The rows of all hours on stdout; nothing is published.

use std::io;

use anyhow::Context as _;
use cli::{Format, Outcome, Table};
use engine::SessionArgs;
use layout::{HourRange, Tree};

use crate::plan::{Holdings, Recipe, plan};
use crate::query::Query;
use crate::session::Session;
use crate::sources::Sources;

/// Runs `query` over each hour of `range` that any data set has, in order.
pub(crate) fn print(
    args: &SessionArgs,
    tree: &Tree,
    query: &Query,
    sources: &Sources<'_>,
    range: HourRange,
    format: Format,
) -> anyhow::Result<Outcome> {
    let recipe = Recipe { query: query.fingerprint(), tables: sources.table_fingerprints() };
    let plan = plan(&query.name, &recipe, Holdings::look(tree, &sources.datasets, None, range)?, true);
    let mut outcome = Outcome::Done;
    for (hour, problem) in &plan.unreadable {
        log::error!("{} {hour}: {problem}", query.name);
        outcome = Outcome::Partial;
    }
    let session = Session::open(args, tree, query, sources, 1)?;
    let select = session.select();
    let out = io::BufWriter::new(io::stdout().lock());
    let mut table = Table::new(out, format, session.columns())?;
    for window in &plan.windows {
        let mut run = || {
            session.run(window.hour, &window.inputs, "")?;
            engine::print_rows(session.connection(), &select, &mut table)
        };
        if let Err(error) = run() {
            if error.chain().any(<dyn std::error::Error>::is::<io::Error>) {
                return Err(error.context("cannot print"));
            }
            let error = session.check_inputs(window.hour, &window.inputs).err().unwrap_or(error);
            log::error!("{} {}: {}", query.name, window.hour, engine::explain(&error));
            outcome = Outcome::Partial;
        }
    }
    table.finish().context("cannot print")?;
    Ok(outcome)
}
