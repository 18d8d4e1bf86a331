//! A warehouse, reached through DuckDB's ATTACH: its tables, and the load log that says which version of which hour it
//! holds.
//!
//! What the programs may rely on:
//! - rows and load log change in one transaction, so that they never disagree;
//! - a data set in it belongs to one data directory, and any other one that loads it is refused;
//! - one load at a time writes to a warehouse; whoever finds it busy or away gets a [`cli::TryAgain`];
//! - reading creates nothing;
//! - no password is in any error.
//!
//! Everything in which kinds of warehouses differ is behind one trait (`backend`), with a module per kind: `file` for the
//! embedded DuckDB file, `sqlite`, `mysql` for MariaDB and MySQL, `postgres`.

mod args;
mod attach;
mod backend;
mod column;
mod extension;
mod failure;
mod file;
mod file_path;
mod log;
mod mysql;
mod postgres;
mod runner;
mod server;
mod server_errors;
mod sqlite;
mod warehouse;
mod watchdog;

pub use args::{WarehouseArgs, WarehouseKind};
pub use column::{SqlType, TableColumn};
pub use failure::{BrokenOff, Unanswered};
pub use log::{LoadLog, LoadedHours, LoggedHour, NotOurs};
pub use warehouse::{LogEntry, Warehouse, read_load_log};
