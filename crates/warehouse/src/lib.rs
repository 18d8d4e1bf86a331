//! A warehouse, reached through DuckDB's ATTACH: its tables, and the load log that says which version of which hour it
//! holds.
//!
//! What the programs may rely on:
//! - rows and load log change in one transaction, so that they never disagree;
//! - a data set in it belongs to one data directory, and any other one that loads it is refused;
//! - one load at a time writes to a warehouse; a warehouse that is busy or away gives a [`cli::TryAgain`];
//! - reading creates nothing;
//! - no password is in any error.
//!
//! Everything in which kinds of warehouses differ is behind one trait (`backend`), with a module per kind: `file` for the
//! embedded DuckDB file, `sqlite`, `mysql` for MariaDB and MySQL, `postgres`.
//!
//! The same files may go into several warehouses, and a warehouse may lack what a file has. Which types a column gets, and
//! what is stored instead of a value that a warehouse cannot hold, `docs/warehouses.md` says.

mod args;
mod attach;
mod backend;
mod column;
mod file;
mod file_path;
mod log;
mod mysql;
mod postgres;
mod rows;
mod runner;
mod server;
mod server_errors;
mod sqlite;
mod warehouse;
mod watchdog;

pub use args::{WarehouseArgs, WarehouseKind};
pub use column::{HeldColumn, Limit, SqlType, StoredColumn, TableColumn};
pub use log::{LoadLog, LoadedHours, LogEntry, LoggedHour, NotOurs, NothingLoaded};
pub use runner::{BrokenOff, Unanswered};
pub use warehouse::{Warehouse, read_load_log};
