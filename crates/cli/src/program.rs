//! From arguments to exit status, and the errors that have one of their own.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use env_logger::Target;
use log::LevelFilter;

use crate::cleanup::run_when_interrupted;
use crate::progress::BesideProgress;
use crate::table::escape;

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
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// An error that goes away by itself: exit status 75.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TryAgain(pub String);

/// An error that was logged already, where it happened: exit status 1.
#[derive(Debug, thiserror::Error)]
#[error("see the message before")]
pub struct Reported;

static FAILED: AtomicBool = AtomicBool::new(false);

/// The whole of a program: reads its arguments, sets up the log (`level`, unless `-v` or `RUST_LOG` ask for more), calls
/// `run` and turns what it returns into an exit status. When SIGINT or SIGTERM end the process, or [`crate::give_up`] does, the
/// functions of `cleanup` are called first; without any, signals are left to the program.
pub fn main<A: Parser>(
    level: LevelFilter,
    cleanup: &'static [fn()],
    run: impl FnOnce(A) -> anyhow::Result<Outcome>,
) -> ExitCode {
    run_when_interrupted(cleanup);
    let matches = A::command().get_matches();
    let args = A::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // Of the flags that all programs have.
    let level = match matches.get_count("verbose") {
        0 => level,
        1 => level.max(LevelFilter::Info),
        _ => LevelFilter::Debug,
    };
    // No other part of the process sets a logger.
    let _ = env_logger::Builder::new()
        .filter_level(level)
        .parse_default_env()
        .format(|out, record| {
            FAILED.fetch_or(record.level() == log::Level::Error, Ordering::Relaxed);
            let name = A::command().get_name().to_owned();
            let time = out.timestamp_seconds();
            // A message may quote what a device sent.
            let text = record.args().to_string().split('\n').map(escape).collect::<Vec<_>>().join("\n");
            writeln!(out, "{time} {name}: {}: {text}", record.level().as_str().to_lowercase())
        })
        .target(Target::Pipe(Box::new(BesideProgress)))
        .try_init();
    match run(args) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Partial) => ExitCode::from(3),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        // A reader that closes the pipe has all that it wants. What was logged as an error before has failed all the same.
        Err(error) if error.chain().any(is_broken_pipe) => {
            ExitCode::from(if FAILED.load(Ordering::Relaxed) { 3 } else { 0 })
        }
        Err(error) if error.is::<Reported>() => ExitCode::FAILURE,
        Err(error) => {
            log::error!("{error:#}");
            let status = |cause: &(dyn Error + 'static)| {
                if cause.is::<TryAgain>() { Some(75) } else { cause.is::<Usage>().then_some(2) }
            };
            ExitCode::from(error.chain().find_map(status).unwrap_or(1))
        }
    }
}

fn is_broken_pipe(cause: &(dyn Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
