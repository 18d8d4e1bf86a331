//! What the decoder accepts and rejects, in which words, and that what it has learnt changes nothing of that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod properties;
mod shape;
mod strict;
