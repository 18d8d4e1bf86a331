//! aggregate: SQL over each hour of the data sets, published as a data set of its own or printed.
//!
//! An hour is made when there is something to make it of and what its commit record says it was made of differs from
//! what is there now: the query's text, the hours read, the reference tables. Nothing else makes an hour out of date, so a
//! run may be repeated or killed at any time. The record of an hour names exactly what was read for it.

mod args;
mod make;
mod plan;
mod print;
mod query;
mod reads;
mod run;
mod session;
mod sources;
mod tables;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::tidy_when_interrupted(|| {
        layout::abandon_drafts();
        engine::abandon_spill();
    });
    cli::run(log::LevelFilter::Warn, run::run)
}
