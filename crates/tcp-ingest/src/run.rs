//! Which part this process plays: keeper, worker, or the reader of standard input.

use cli::{Outcome, RangeArgs};

use crate::args::{Args, Config};
use crate::channel::{SUCCESSOR, WORKER};
use crate::streams::StreamFiles;
use crate::{check, keeper, replay, stdin, worker};

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    if args.infer {
        return check::infer();
    }
    if let Some(name) = &args.check {
        return check::check(&StreamFiles::read(&args.common, false)?.stream(name)?, &args.settings);
    }
    if let Some(name) = &args.replay {
        let range = RangeArgs { from: args.from, to: args.to }.range()?;
        return replay::replay(&args.common, name, range);
    }
    let worker = std::env::var(WORKER);
    let config = Config::new(args, worker.is_ok() && std::env::var_os(SUCCESSOR).is_none())?;
    match worker {
        _ if config.addresses.is_empty() => stdin::run(config),
        Ok(oom_score) => worker::run(config, &oom_score),
        Err(_) => keeper::run(config),
    }
}
