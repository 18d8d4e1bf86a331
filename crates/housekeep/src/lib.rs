//! housekeep: retention, orphans and the state of the data directory.
//!
//! `housekeep clean` removes what is old and not needed any more, `housekeep status` shows what is there and what is behind.
//!
//! | file | what is in it |
//! |---|---|
//! | `args`, `age` | the command line; how long each kind of file is kept |
//! | `scan` | reads the tree into a snapshot |
//! | `readers` | what the aggregates that read a data set still need of it |
//! | `plan` | what `clean` does: a pure function of the snapshot, the arguments, the warehouse's load log and the time |
//! | `clean` | carries the plan out |
//! | `status`, `growth` | the snapshot as sections of records; how fast the disk fills |
//! | `report` | what is printed and said |
//! | `run` | the entry: the two commands |

mod age;
mod args;
mod clean;
mod growth;
mod plan;
mod readers;
mod report;
mod run;
mod scan;
mod status;

use std::process::ExitCode;

pub use args::Args;

/// The program: reads its arguments and returns its exit status.
pub fn main() -> ExitCode {
    cli::main(log::LevelFilter::Warn, engine::CLEANUP, run::run)
}
