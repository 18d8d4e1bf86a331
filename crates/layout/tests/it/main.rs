//! The tree on a real disk: what is there at each moment, also when a process dies in between.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod commits;
mod common;
mod data_dir;
mod irregular;
mod listing;
mod lock;
mod names;
mod publish;
mod quarantine;
mod recovery;
mod segments;
mod tree_id;
