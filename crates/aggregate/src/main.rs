//! aggregate

fn main() {}
