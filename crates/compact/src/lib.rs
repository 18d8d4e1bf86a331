//! compact: the sealed segments of each hour to that hour's Parquet file.
//!
//! The Parquet file's footer lists the segments it was made of, so a segment is either listed, and only has to be removed,
//! or not, and has to be read: whenever this program dies, the next run does the rest, and no row is lost or doubled.
//!
//! Late segments cost what their hour costs, since it is one file: one late line for an hour of 3.6 million rows takes 0.7 of
//! the time that compacting the hour took (of 428 MB; 0.85 for one of 43 MB), whether it is one line or a tenth of the
//! hour. Hours that nothing came late for cost nothing, and all that is late for an hour in one run is paid once.

mod args;
mod batches;
mod count;
mod dedup;
mod hour;
mod lines;
mod listing;
mod meter;
mod pieces;
mod plan;
mod problem;
mod quarantine;
mod reader;
mod report;
mod run;
mod scan;
mod stream;
mod vectors;
mod verdict;
mod verify;

use std::process::ExitCode;

pub use args::Args;

/// The program: reads its arguments and returns its exit status.
pub fn main() -> ExitCode {
    cli::main(log::LevelFilter::Warn, engine::CLEANUP, run::run)
}
