//! aggregate: SQL over each hour, day, week or month of the data sets, published as a data set of its own or printed.
//!
//! A window is made when there is something to make it of and what its commit record says it was made of differs from
//! what is there now: the query's text, the files read, the reference tables. Nothing else makes a window out of date, so a
//! run may be repeated or killed at any time. The record of a window names exactly what was read for it.

mod args;
mod calendar;
mod check;
mod explain;
mod failures;
mod header;
mod holdings;
mod make;
mod order;
mod place;
mod plan;
mod print;
mod query;
mod reads;
mod report;
mod run;
mod session;
mod sources;
mod tables;
mod together;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(log::LevelFilter::Warn, engine::CLEANUP, run::run)
}
