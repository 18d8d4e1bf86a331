//! tcp-ingest as its users meet it: the real program, real sockets, real folders.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests"
)]

mod clock_jumps;
mod common;
mod crashes;
mod data_dir_removed;
mod declared_streams;
mod hostile_sources;
mod keeper;
mod many_connections;
mod service_manager;
mod serving;
mod stdin;
mod stopping;
mod storage_outages;
