//! load-warehouse over real trees, into real DuckDB and SQLite files and real servers of MariaDB and PostgreSQL.
//!
//! Histories are the same for all; where there is no server or no extension, its share is left out, loudly.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod cells;
mod crash;
mod cut;
mod drawn;
mod file;
mod file_path;
mod histories;
mod hours;
mod identity;
mod names;
mod network;
mod ownership;
mod postgres;
mod proxy;
mod refused;
mod server;
mod target;
mod unexpected;
mod values;
mod verify;
