//! What compact is measured against: DuckDB's own `COPY (SELECT * FROM read_json(...))` of the same file, to zstd Parquet.
//!
//! `copy INPUT OUTPUT` prints the seconds; the process's start and DuckDB's are not in them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (input, output) = (arguments.next().expect("an input"), arguments.next().expect("an output"));
    let session = duckdb::Connection::open_in_memory().unwrap();
    let start = Instant::now();
    let copy =
        "COPY (SELECT * FROM read_json($1, format = 'newline_delimited')) TO ($2) (FORMAT parquet, COMPRESSION zstd)";
    session.execute(copy, [input, output]).unwrap();
    println!("{:.6}", start.elapsed().as_secs_f64());
}
