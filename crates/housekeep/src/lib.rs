//! Retention, orphans and the state of the house.
//!
//! `housekeep clean` removes what is old enough and not needed any more, `housekeep status` shows what is there and how far
//! each part is behind. The clock is read here, once.

mod age;
mod args;
mod clean;
mod growth;
mod house;
mod plan;
mod reader;
mod report;
mod run;
mod status;

use std::process::ExitCode;

pub use args::Args;

/// The program: reads its arguments and returns its exit status.
pub fn main() -> ExitCode {
    cli::main(log::LevelFilter::Warn, engine::CLEANUP, run::run)
}
