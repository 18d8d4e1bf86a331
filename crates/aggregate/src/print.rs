//! The rows of all windows on stdout; nothing is published.

use std::io;

use cli::{Failure, Outcome};
use engine::Printer;

use crate::args::Args;
use crate::plan::Plan;
use crate::session::Session;

/// Prints the rows of the windows of `plan`, in order.
pub(crate) fn print(args: &Args, session: &Session<'_>, plan: &Plan) -> anyhow::Result<Outcome> {
    let mut failed = Vec::new();
    let (connection, out) = (&session.connection, io::BufWriter::new(io::stdout().lock()));
    let mut printer = Printer::new(connection, &session.select(), out, args.print.format)?;
    for step in &plan.steps {
        let ran = session.run(&step.window, &step.inputs, "").and_then(|()| printer.run(connection));
        let Err(error) = ran else { continue };
        if error.chain().any(<dyn std::error::Error>::is::<io::Error>) {
            cli::report_failures(&session.query.name, &failed);
            return Err(error.context("cannot print"));
        }
        let error = session.check_inputs(&step.inputs).err().unwrap_or(error);
        failed.push(Failure::of_error(step.window.hour(), &engine::explain(&error), ""));
    }
    cli::report_failures(&session.query.name, &failed);
    printer.finish()?;
    Ok(if failed.is_empty() { Outcome::Done } else { Outcome::Partial })
}
