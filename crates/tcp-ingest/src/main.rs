//! tcp-ingest

fn main() {}
