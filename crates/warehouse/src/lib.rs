//! A warehouse, reached through DuckDB's ATTACH: its tables, and the load log that says which version of which hour it
//! holds.
//!
//! What the programs may rely on:
//! - rows and load log change in one transaction, so that they never disagree;
//! - one load at a time writes to a warehouse; whoever finds it busy or away gets a [`cli::TryAgain`];
//! - reading creates nothing;
//! - no password is in any error.
//!
//! Everything in which kinds of warehouses differ is behind one trait (`kind`), with a module per kind: `file` for the
//! embedded DuckDB file, `sqlite`, `mysql` for MariaDB and MySQL, `postgres`.

mod args;
mod attach;
mod column;
mod extension;
mod file;
mod kind;
mod log;
mod mysql;
mod postgres;
mod server;
mod session;
mod sqlite;
mod trouble;
mod warehouse;
mod watchdog;

pub use args::{Target, WarehouseArgs};
pub use column::{Column, ColumnType};
pub use log::{LoadLog, LoggedWindow, read_load_log};
pub use warehouse::{BrokenOff, LogEntry, Unanswered, Warehouse};
pub use watchdog::give_up;
