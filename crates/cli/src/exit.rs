//! From arguments to exit status.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use log::LevelFilter;

use crate::CommonArgs;
use crate::cleanup::run_when_interrupted;
use crate::progress::BesideProgress;

/// How a run ended that did not fail outright.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is done, or there was nothing to do.
    Done,
    /// Some of it is done; what failed was named on stderr.
    Partial,
    /// A signal ended it before its time; what was begun is finished, nothing is half done.
    Interrupted,
}

/// An error of the command line that only shows when it is looked at as a whole: exit status 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error that goes away by itself: exit status 75.
#[derive(Debug)]
pub struct TryAgain(pub String);

impl std::fmt::Display for TryAgain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TryAgain {}

/// An error that was logged already, where it happened: exit status 1.
#[derive(Debug)]
pub struct Reported;

impl std::fmt::Display for Reported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("see the message before")
    }
}

impl std::error::Error for Reported {}

/// Whether an error was logged.
static FAILED: AtomicBool = AtomicBool::new(false);

/// The whole of a program: reads its arguments, sets up the log (`level`, unless `-v` or `RUST_LOG` ask for more), calls
/// `run` and turns what it returns into an exit status. When SIGINT or SIGTERM end the process, or [`crate::give_up`] does, the
/// functions of `cleanup` are called first; without any, signals are left to the program.
pub fn main<A: Parser + AsRef<CommonArgs>>(
    level: LevelFilter,
    cleanup: &'static [fn()],
    run: impl FnOnce(A) -> anyhow::Result<Outcome>,
) -> ExitCode {
    run_when_interrupted(cleanup);
    let args = A::parse();
    let level = match args.as_ref().verbose {
        0 => level,
        1 => level.max(LevelFilter::Info),
        _ => LevelFilter::Debug,
    };
    let logger = env_logger::Builder::new()
        .filter_level(level)
        .parse_default_env()
        .format(|out, record| {
            FAILED.fetch_or(record.level() == log::Level::Error, Ordering::Relaxed);
            let name = A::command().get_name().to_owned();
            let time = out.timestamp_seconds();
            writeln!(out, "{time} {name}: {}: {}", record.level().as_str().to_lowercase(), record.args())
        })
        .build();
    let most = logger.filter();
    // No other part of the process sets a logger.
    if log::set_boxed_logger(Box::new(BesideProgress(logger))).is_ok() {
        log::set_max_level(most);
    }
    match run(args) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Partial) => ExitCode::from(3),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        // A reader that closes the pipe has all that it wants. What was logged as an error before has failed all the same.
        Err(error) if is_broken_pipe(&error) => ExitCode::from(if FAILED.load(Ordering::Relaxed) { 3 } else { 0 }),
        Err(error) if error.is::<Reported>() => ExitCode::FAILURE,
        Err(error) => {
            log::error!("{error:#}");
            let is = |kind: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(kind);
            ExitCode::from(match () {
                () if is(<dyn std::error::Error>::is::<TryAgain>) => 75,
                () if is(<dyn std::error::Error>::is::<Usage>) => 2,
                () => 1,
            })
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}
