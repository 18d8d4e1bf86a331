//! compact

fn main() {}
