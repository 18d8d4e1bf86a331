//! Random histories of a data set and its warehouse: hours come, change, grow columns, are put back and expire; loads run
//! alone and side by side and are killed at any moment; the server is killed and comes back, and ends connections. After every
//! step the table is held against the Parquet files, row for row, and ids against those that were seen.
//!
//! `ROUNDS` says how many histories for each kind of warehouse (the long form: scripts/histories.sh). The first is that
//! of `SEED`, the next that of `SEED` + 1, and so on; one that fails is named by its seed, and printed. Two may happen to
//! disturb no load: then more are generated, until one is broken off.

mod servers;
mod steps;
mod world;

use std::time::Instant;

use harness::{MariaDb, Postgres, rounds, seed};

use crate::target::Target;
use steps::generate;
use world::World;

/// How many histories more are generated at most to have a load broken off.
const MORE: u64 = 20;

/// Lives through as many histories as are asked for, each with a warehouse of its own.
fn live(place: &str, is_server: bool, target: impl Fn() -> Target) {
    let (first, asked, started) = (seed(), rounds(2), Instant::now());
    let (mut count, mut loads, mut broken) = (0, 0, 0);
    while count < asked || (broken == 0 && count < asked + MORE) {
        let seed = first + count;
        let target = target();
        let steps = generate(seed, is_server);
        let mut world = World::new(&target);
        let all = steps.iter().map(Some).chain([None]);
        for (number, step) in (1..).zip(all) {
            let done = match step {
                Some(step) => world.step(step),
                None => world.finish(),
            };
            if let Err(error) = done {
                let steps: Vec<_> = (1..).zip(&steps).map(|(number, step)| format!("  {number}. {step:?}\n")).collect();
                panic!("SEED={seed} ROUNDS=1, on {place}, after step {number}: {error}\n{}", steps.concat());
            }
        }
        count += 1;
        loads += world.loads;
        broken += world.broken;
    }
    println!(
        "{count} histories on {place} in {} s: {loads} loads, {broken} of them broken off; lost 0, doubled 0",
        started.elapsed().as_secs()
    );
    assert!(broken > 0, "no load of them was ever broken off");
}

#[test]
fn after_any_history_a_duckdb_file_holds_what_the_tree_holds() {
    live("a DuckDB file", false, || Target::File);
}

#[test]
fn after_any_history_mariadb_holds_what_the_tree_holds() {
    let Some(server) = MariaDb::kept("random histories") else { return };
    live("MariaDB", true, || Target::MariaDb { server, database: server.database() });
}

#[test]
fn after_any_history_postgresql_holds_what_the_tree_holds() {
    let Some(server) = Postgres::kept("random histories") else { return };
    live("PostgreSQL", true, || Target::Postgres { server, database: server.database() });
}

#[test]
fn after_any_history_a_sqlite_file_holds_what_the_tree_holds() {
    live("a SQLite file", false, || Target::Sqlite);
}
