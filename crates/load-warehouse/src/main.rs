//! load-warehouse

fn main() {}
