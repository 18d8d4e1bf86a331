//! Command-line conventions that all programs share.
//!
//! Data goes to stdout, messages to stderr. A program is silent on success unless `-v` is given. Exit statuses:
//! 0 done (or nothing to do), 1 failed, 2 usage, 3 done in part (what failed is named, the rest is done),
//! 75 try again later (a lock is held, the warehouse is down); a program that is interrupted dies of the signal, which a
//! shell shows as 130. A reader of stdout that goes away is not a failure.

mod args;
mod cleanup;
mod failures;
mod parallel;
mod program;
mod progress;
mod size;
mod streams;
mod table;

pub use args::{CommonArgs, PlanArgs, PrintArgs, RangeArgs, check_names};
pub use cleanup::give_up;
pub use failures::{Failure, hours_in_words, known_cause, report_failures};
pub use parallel::in_parallel;
pub use program::{Outcome, Reported, TryAgain, Usage, main};
pub use progress::{beside_progress, progress, progress_of_bytes};
pub use size::{Size, count};
pub use streams::{keep_versions, stream_names};
pub use table::{Format, Table};

/// The version that `--version` prints: the packages' version, to which `scripts/build.sh` adds the commit.
pub const VERSION: &str = match option_env!("PIPELINE_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};
