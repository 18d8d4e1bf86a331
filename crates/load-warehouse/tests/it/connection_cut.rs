//! A connection that is cut in the middle of a load: packets vanish, and neither side is told.

use std::process::{Child, Stdio};

use harness::{DataDir, MariaDb, Network, Postgres, Run, within};
use layout::Tree;

use crate::cells::{Cells, samples};
use crate::hours::publish;
use crate::target::Target;

const HOUR: &str = "2025-09-02T10";
/// How many loads may find the lock of the dead one: each waits ten seconds for it, and the server notices after thirty.
const MOST_REFUSED: usize = 6;

#[test]
fn a_load_into_mariadb_that_is_cut_off_ends_and_its_lock_is_given_free() {
    let Some(network) = Network::new("a connection cut on MariaDB") else { return };
    let Some(server) = MariaDb::within("a connection cut", &network) else { return };
    let server: &'static MariaDb = Box::leak(Box::new(server));
    let (database, loading) = (server.database(), "WHERE info LIKE 'LOAD DATA%'");
    let port = || {
        let host = server.sql(&format!("SELECT host FROM information_schema.processlist {loading}")).concat();
        host.first().map(|host| host.rsplit_once(':').unwrap().1.parse().unwrap())
    };
    let target = Target::MariaDb { server, database };
    cut_off(&network, &target, port);
    server.stop();
}

#[test]
fn a_load_into_postgresql_that_is_cut_off_ends_and_its_lock_is_given_free() {
    let Some(network) = Network::new("a connection cut on PostgreSQL") else { return };
    let Some(server) = Postgres::within("a connection cut", &network) else { return };
    let server: &'static Postgres = Box::leak(Box::new(server));
    let port = || {
        let sql = "SELECT client_port FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active'";
        server.sql("postgres", sql).concat().first().map(|port| port.parse().unwrap())
    };
    cut_off(&network, &Target::Postgres { server, database: server.database() }, port);
    server.stop();
}

/// Cuts a load off, whose client's port is known once it is in the middle of its work.
fn cut_off(network: &Network, target: &Target, port: impl Fn() -> Option<u16>) {
    let (data_dir, cells) = (DataDir::new(), Cells::new());
    let load = || {
        let mut load = target.program(&data_dir);
        load.arg("samples").env("DB_HOST", Network::SERVER);
        within(&network.client(), &load)
    };
    let holds = || Cells::of_table(target, &data_dir).remove("2025-09-02 10:00:00").unwrap();
    let published = |version: usize, rows: u64| {
        publish(&data_dir, "samples", HOUR, &version.to_string(), &samples(HOUR, version, rows, 0));
        cells.of_parquet(&Tree::new(data_dir.path()).parquet(&"samples".parse().unwrap(), HOUR.parse().unwrap()))
    };
    published(0, 10);
    Run::of(&mut load()).expect(0);
    // A load may be over before it is caught: then there is another.
    let caught = (1..10).find_map(|version| {
        let (before, due) = (holds(), published(version, 400_000));
        let (cut, client) = caught(load().stderr(Stdio::piped()).spawn().unwrap(), &port)?;
        Some((before, due, cut, client))
    });
    let (before, due, cut, client) = caught.expect("no load was met in the middle of its work");
    network.cut(client);
    assert!(harness::kill("-CONT", cut.id()));
    let run = Run::from(cut.wait_with_output().unwrap()).expect(75);
    assert!(!run.stderr.contains("--timeout"), "only its limit of ten minutes ended it: {}", run.stderr);
    assert_eq!(holds(), before, "something is half loaded");
    let refused = (0..).map(|_| Run::of(&mut load())).take_while(|run| run.status != Some(0));
    for (number, run) in (1..).zip(refused) {
        assert_eq!(run.status, Some(75), "{}", run.stderr);
        assert!(number <= MOST_REFUSED, "the server still waits for a client that is gone: {}", run.stderr);
    }
    let found = holds();
    assert_eq!(found.len(), due.len());
    assert!(found.iter().zip(&due).all(|((_, found), due)| found == due));
}

/// Stops a load in the middle of its rows; none if it was over before that.
fn caught(mut load: Child, port: impl Fn() -> Option<u16>) -> Option<(Child, u16)> {
    while port().is_none() {
        if load.try_wait().unwrap().is_some() {
            Run::from(load.wait_with_output().unwrap()).expect(0);
            return None;
        }
    }
    assert!(harness::kill("-STOP", load.id()));
    if let Some(port) = port() {
        return Some((load, port));
    }
    assert!(harness::kill("-CONT", load.id()));
    Run::from(load.wait_with_output().unwrap()).expect(0);
    None
}
