//! The rows of all windows on stdout; nothing is published.

use std::io;

use anyhow::Context as _;
use cli::{Outcome, Table};

use crate::args::Args;
use crate::failures::failure;
use crate::plan::Plan;
use crate::session::Session;

/// Prints the rows of the windows of `plan`, in order.
pub(crate) fn print(args: &Args, session: &Session<'_>, plan: &Plan) -> anyhow::Result<Outcome> {
    let mut failed = Vec::new();
    let (columns, select) = engine::printable(session.connection(), &session.select())?;
    let out = io::BufWriter::new(io::stdout().lock());
    let mut table = Table::new(out, args.print.format, columns)?;
    for step in &plan.steps {
        let mut run = || {
            session.run(&step.window, &step.inputs, "")?;
            engine::print_rows(session.connection(), &select, &mut table)
        };
        if let Err(error) = run() {
            if error.chain().any(<dyn std::error::Error>::is::<io::Error>) {
                cli::report_failures(&session.query.name, &failed);
                return Err(error.context("cannot print"));
            }
            let error = session.check_inputs(&step.inputs).err().unwrap_or(error);
            failed.push(failure(step.window.hour(), &error));
        }
    }
    cli::report_failures(&session.query.name, &failed);
    table.finish().context("cannot print")?;
    Ok(if failed.is_empty() { Outcome::Done } else { Outcome::Partial })
}
