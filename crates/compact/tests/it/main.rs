//! The tests of compact: the real program over real directories.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests"
)]

mod common;
mod crash;
mod damage;
mod data_dir;
mod dedup;
mod hours;
mod late;
mod output;
mod power_cut;
mod random_histories;
mod verify;
