//! The tests of housekeep: the real program over real directories.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod clean;
mod common;
mod status;
mod windows;
