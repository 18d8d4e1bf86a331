//! The tests of the workspace as a whole: programs that meet over a tree, under damage, under cron, and beside readers that
//! are not ours; and rules that hold for all crates.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod crash;
mod cron;
mod demo;
mod docs;
mod imports;
mod readers;
mod streams;
mod torture;
mod workspace;
