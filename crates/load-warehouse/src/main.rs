//! load-warehouse: data sets into a warehouse, transactionally and repeatably.
//!
//! Promises:
//! - what the load log says is loaded is in the table exactly once; a load that is repeated changes nothing;
//! - an hour that changed since shows its new version as a whole; a row that is in both versions keeps its id, and a new
//!   one gets an id that no row has had before;
//! - an hour that retention has removed from the tree stays in the warehouse;
//! - killed at any instruction, the next run goes on from what was committed.

mod args;
mod execute;
mod key;
mod loader;
mod plan;
mod rows;
mod schema;
mod table;
mod target;
mod unchanged;
mod verify;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(log::LevelFilter::Warn, engine::CLEANUP, execute::run)
}
