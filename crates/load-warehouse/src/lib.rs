//! load-warehouse: data sets into a warehouse, transactionally and repeatably.
//!
//! Promises:
//! - what the load log says is loaded is in the table exactly once; a load that is repeated changes nothing;
//! - an hour that changed since shows its new version as a whole; a row that is in both versions keeps its id, and a new
//!   one gets an id that no row has had before;
//! - an hour that retention has removed from the tree stays in the warehouse;
//! - killed at any instruction, the next run goes on from what was committed.
//!
//! The code, from above: `run` is a whole run; `scan` reads what is there, `plan` decides what is due, `report` prints it.
//! `load_dataset` loads what is due of one data set, and `load_batch` one transaction of it, into the table that
//! `dataset_table` makes fit for it. `rows` has the queries that read the files; `row_diff` finds the rows that stay.
//! `checksum` compares what a table holds with the files, at the end of a load and for `verify`, which does nothing else.

mod args;
mod checksum;
mod dataset_table;
mod load_batch;
mod load_dataset;
mod parquet_schema;
mod plan;
mod primary_key;
mod report;
mod row_diff;
mod rows;
mod run;
mod scan;
mod verify;

use std::process::ExitCode;

pub use args::Args;

/// Runs the program; what it returns is its exit status.
pub fn main() -> ExitCode {
    cli::main(log::LevelFilter::Warn, engine::CLEANUP, run::run)
}
