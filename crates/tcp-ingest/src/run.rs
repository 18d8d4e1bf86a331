//! Which part this process plays: keeper, worker, or the reader of standard input.

use cli::Outcome;

use crate::args::{Args, Config};
use crate::channel::WORKER;
use crate::{keeper, stdin, worker};

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let config = Config::new(args)?;
    match std::env::var(WORKER) {
        _ if config.addresses.is_empty() => stdin::run(config),
        Ok(oom_score) => worker::run(config, &oom_score),
        Err(_) => keeper::run(config),
    }
}
