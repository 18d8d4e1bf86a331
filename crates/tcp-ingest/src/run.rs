//! Which part this process plays: keeper, worker, or the reader of standard input.

use cli::Outcome;

use crate::args::{Args, Config, Source};
use crate::messages::WORKER;
use crate::{keeper, stdin, worker};

/// Runs the program to its end.
pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let config = Config::new(args)?;
    match (&config.source, std::env::var(WORKER)) {
        (Source::Stdin, _) => stdin::run(config),
        (Source::Listen(_), Ok(oom_score)) => worker::run(config, &oom_score),
        (Source::Listen(_), Err(_)) => keeper::run(config),
    }
}
