//! The real `aggregate` over real trees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod batch;
mod check;
mod crash;
mod freshness;
mod queries;
mod refused;
mod retention;
mod tables;
mod temperatures;
mod tree;
mod windows;
