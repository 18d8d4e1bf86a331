//! Many sources at a time: none is turned away, idle ones cost nothing, slow ones little.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::lines;
use harness::{DataDir, Server, reading, skipped, until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sensor `number`'s message of second `second`.
fn message(number: usize, second: i64) -> String {
    reading(second, number.try_into().unwrap(), 1.0)
}

/// Allows this process, and those it starts, so many open files.
fn descriptors(count: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let enough = Rlimit { current: Some(count), ..limit };
    limit.current.is_none_or(|now| now >= count) || setrlimit(Resource::Nofile, enough).is_ok()
}

#[test]
fn sources_that_connect_in_the_same_instant_are_all_served() {
    const SOURCES: usize = 2000;
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "");
    // It does not get to accept any before the last has connected, sent and gone.
    server.signal("-STOP");
    let mut sent: Vec<_> = (0..SOURCES).map(|number| message(number, 0)).collect();
    for line in &sent {
        let mut source = TcpStream::connect_timeout(&server.addresses[0], Duration::from_secs(5)).unwrap();
        source.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    server.signal("-CONT");
    until("all are written", || lines(&data_dir, "raw").len() == SOURCES);
    server.stop();
    sent.sort();
    assert_eq!(lines(&data_dir, "raw"), sent);
}

#[test]
fn ten_thousand_connections_cost_little_idle_or_slow() {
    const SOURCES: usize = 10_000;
    const SECONDS: i64 = 5;
    /// What timers need in the time of a test, however slow the machine is; far less than one for each connection.
    const FEW: u64 = 1000;
    if !descriptors(SOURCES as u64 + 1000) {
        skipped("10,000 connections: the limit of open files (ulimit -Hn) is too low");
        return;
    }
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "--max-connections 10000 --workers 2");
    let mut sources: Vec<_> = (0..SOURCES).map(|_| server.connect()).collect();
    let mut sent = Vec::new();
    let mut second = |second: i64| {
        for (number, source) in sources.iter_mut().enumerate() {
            let line = message(number, second);
            source.write_all(format!("{line}\n").as_bytes()).unwrap();
            sent.push(line);
        }
    };
    second(0);
    until("all are served", || lines(&data_dir, "raw").len() == SOURCES);
    // What the first messages leave to be synced and sealed is done.
    std::thread::sleep(Duration::from_secs(2));

    let before = server.wake_ups();
    std::thread::sleep(Duration::from_secs(3));
    let idle = server.wake_ups() - before;
    assert!(
        idle < FEW,
        "{idle} wake-ups while all connections were idle: some timers need a few, each connection none"
    );
    assert!(server.resident() < 150 << 20, "{} bytes resident", server.resident());

    let (start, before) = (Instant::now(), server.wake_ups());
    for number in 1..=SECONDS {
        second(number);
        std::thread::sleep(
            (start + Duration::from_secs(number.unsigned_abs())).saturating_duration_since(Instant::now()),
        );
    }
    let slow = server.wake_ups() - before;
    let messages = SOURCES as u64 * SECONDS.unsigned_abs();
    assert!(slow < messages + FEW, "{slow} wake-ups for {messages} messages");
    assert!(server.resident() < 150 << 20, "{} bytes resident", server.resident());
    drop(sources);
    until("all is written", || lines(&data_dir, "raw").len() == sent.len());
    server.stop();
    sent.sort();
    assert_eq!(lines(&data_dir, "raw"), sent);
    eprintln!("{idle} wake-ups while idle, {slow} for {messages} messages");
}
