//! compact: the sealed segments of each hour to that hour's Parquet file.
//!
//! The Parquet file's footer lists the segments it was made of, so a segment is either listed, and only has to be removed,
//! or not, and has to be read: whenever this program dies, the next run does the rest, and no row is lost or doubled.
//!
//! Late segments cost what their hour costs, since it is one file: one late line for an hour of 3.6 million rows takes 0.7 of
//! the time that compacting the hour took (of 428 MB; 0.85 for one of 43 MB), whether it is one line or a tenth of the
//! hour. Hours that nothing came late for cost nothing, and all that is late for an hour in one run is paid once.
//!
//! | file | what is in it |
//! |---|---|
//! | `args`, `run` | the command line; the entry: stream after stream, and the exit status |
//! | `scan`, `plan` | what the tree holds of a stream's hours; what is to be done: a pure function of that |
//! | `stream`, `batches` | what all hours of a stream share, and how far it is; its hours, side by side and in batches |
//! | `hour`, `dedup`, `quarantine` | one hour to the draft of its Parquet file; duplicates; lines that go to quarantine |
//! | `segment_table`, `vectors` | segments as a table of DuckDB, and its columns |
//! | `lines`, `pieces`, `line_count` | the lines of a segment, read in pieces by several threads |
//! | `verify`, `file_check` | `--verify`: reads published hours again and checks them |
//! | `report`, `listing` | what is printed and said, with what to do about it |

mod args;
mod batches;
mod dedup;
mod file_check;
mod hour;
mod line_count;
mod lines;
mod listing;
mod pieces;
mod plan;
mod quarantine;
mod report;
mod run;
mod scan;
mod segment_table;
mod stream;
mod vectors;
mod verify;

use std::process::ExitCode;

pub use args::Args;

/// The program: reads its arguments and returns its exit status.
pub fn main() -> ExitCode {
    cli::main(log::LevelFilter::Warn, engine::CLEANUP, run::run)
}
