//! What the decoder accepts and rejects, in which words, and that what it has learnt changes nothing of that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod declared;
mod properties;
mod pydantic;
mod random;
mod shape;
mod strict;

use std::path::Path;
use std::sync::Arc;

use models::{Model, Problems, Streams};

/// A shipped stream.
fn model(name: &str) -> Arc<Model> {
    Streams::shipped().get(name).unwrap().unwrap().clone()
}

/// The stream that a stream file of this text describes.
fn compile(text: &str) -> Result<Arc<Model>, Problems> {
    let mut streams = Streams::default();
    streams.add("s", Path::new("s.toml"), text);
    streams.get("s").unwrap().cloned().map_err(Clone::clone)
}
