//! compact: the sealed segments of each hour to that hour's Parquet file.
//!
//! The Parquet file's footer lists the segments it was made of, so a segment is either listed, and only has to be removed,
//! or not, and has to be read: whenever this program dies, the next run does the rest, and no row is lost or doubled.

mod args;
mod count;
mod damage;
mod dedup;
mod hour;
mod lines;
mod listing;
mod meter;
mod pieces;
mod plan;
mod program;
mod reader;
mod report;
mod run;
mod survey;
mod vectors;
mod verdict;
mod verify;

use std::process::ExitCode;

use chrono::Utc;
use log::LevelFilter;

fn main() -> ExitCode {
    cli::run(LevelFilter::Warn, |args| program::program(&args, Utc::now()))
}
