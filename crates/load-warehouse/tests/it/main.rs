//! load-warehouse over real trees, into a real DuckDB file and a real MariaDB.
//!
//! Histories are the same for both; where there is no MariaDB or no extension, its share is left out, loudly.

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
mod histories;
mod hours;
mod refused;
mod server;
mod target;
mod values;
