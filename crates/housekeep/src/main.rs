//! housekeep

fn main() {}
