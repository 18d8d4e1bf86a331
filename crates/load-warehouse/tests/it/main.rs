//! load-warehouse over real trees, into real DuckDB and SQLite files and real servers of MariaDB and PostgreSQL.
//!
//! Histories are the same for all; where there is no server or no extension, its share is skipped, loudly.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod cells;
mod connection_cut;
mod crash;
mod edges;
mod file_path;
mod file_warehouses;
mod histories;
mod hours;
mod mariadb;
mod names;
mod network;
mod ownership;
mod postgres;
mod proxy;
mod random_histories;
mod refused;
mod row_ids;
mod settings;
mod target;
mod triggers;
mod unexpected;
mod values;
mod verify;
