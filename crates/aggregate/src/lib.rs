//! aggregate: SQL over each hour, day, week or month of the data sets, published as a data set of its own or printed.
//!
//! A window is made when there is something to make it of and what its commit record says it was made of differs from
//! what is there now: the query's text, the files read, the reference tables. Nothing else makes a window out of date, so a
//! run may be repeated or killed at any time. The record of a window names exactly what was read for it.

mod args;
mod batch;
mod calendar;
mod check;
mod explain;
mod header;
mod make;
mod order;
mod plan;
mod planner;
mod query;
mod reads;
mod report;
mod run;
mod scan;
mod session;
mod sources;
mod sql;
mod tables;

use std::process::ExitCode;

pub use args::Args;

/// The program: reads its arguments and returns its exit status.
pub fn main() -> ExitCode {
    cli::main(log::LevelFilter::Warn, engine::CLEANUP, run::run)
}
