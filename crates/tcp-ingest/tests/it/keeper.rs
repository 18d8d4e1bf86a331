//! The worker dies, or is replaced, or the keeper is: no connection is closed, and each line is written exactly once.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::common::{lines, quarantined};
use harness::{DataDir, Random, Server, is_gone, kill, reading, rounds, until};

/// Every point at which a worker can die between peeking a byte and sealing the segment that it went to.
const POINTS: [&str; 11] = [
    "ingest.opened:1",
    "ingest.begun:1",
    "segment.torn:1",
    "segment.torn:2",
    "segment.part:1",
    "ingest.part:1",
    "ingest.part:2",
    "ingest.written:1",
    "ingest.consumed:1",
    "ingest.committed:1",
    "ingest.committed:2",
];

/// A server whose worker dies once at `point`.
fn fragile(data_dir: &DataDir, streams: &[&str], point: &str, arguments: &str) -> Server {
    let mut command = data_dir.program("tcp-ingest");
    command.env("FAULT", point).env("FAULT_MARK", mark(data_dir));
    Server::start_command(command, streams, arguments)
}

fn mark(data_dir: &DataDir) -> std::path::PathBuf {
    data_dir.path().join("died")
}

/// The connection was neither closed nor reset.
#[track_caller]
fn is_open(connection: &mut TcpStream) {
    connection.set_nonblocking(true).unwrap();
    let error = connection.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    connection.set_nonblocking(false).unwrap();
}

#[test]
fn at_each_point_a_worker_can_die_and_each_line_is_written_once() {
    for point in POINTS {
        let data_dir = DataDir::new();
        let server = fragile(&data_dir, &["telemetry"], point, "--workers 1");
        let mut source = server.connect();
        // Three hours, a rejected line and an unfinished one in one batch.
        let mut sent: Vec<_> = (0..60).map(|n| reading((n % 3) * 3600, n, 1.0)).collect();
        source.write_all((sent.join("\n") + "\nnonsense\n{\"half").as_bytes()).unwrap();
        until(&format!("{point} is passed"), || lines(&data_dir, "raw").len() == sent.len());
        source.write_all(b"\": 1}\n").unwrap();
        until("the rest is written", || lines(&data_dir, "quarantine").len() == 2);
        sent.extend((60..63).map(|n| reading((n % 3) * 3600, n, 1.0)));
        source.write_all((sent[60..].join("\n") + "\n").as_bytes()).unwrap();
        until("more is written", || lines(&data_dir, "raw").len() == sent.len());
        until(&format!("{point} is reached"), || mark(&data_dir).exists());
        is_open(&mut source);
        let log = server.stop();
        assert!(log.contains("resumes where it was"), "{point}: {log}");
        sent.sort();
        assert_eq!(lines(&data_dir, "raw"), sent, "{point}");
        let rejected: Vec<_> = quarantined(&data_dir).into_iter().map(|(_, line)| line).collect();
        assert_eq!(rejected.len(), 2, "{point}: {rejected:?}");
        assert!(data_dir.files_like("", ".open").is_empty(), "{point}");
    }
}

#[test]
fn at_each_point_of_sealing_a_worker_can_die() {
    for point in ["seal.synced:1", "seal.renamed:1"] {
        let data_dir = DataDir::new();
        let server = fragile(&data_dir, &["telemetry"], point, "--seal-after 100ms");
        let mut source = server.connect();
        let mut sent: Vec<_> = (0..3).map(|n| reading(n * 3600, n, 1.0)).collect();
        source.write_all((sent.join("\n") + "\n").as_bytes()).unwrap();
        until(&format!("{point} is reached"), || mark(&data_dir).exists());
        until("all is sealed", || data_dir.files_like("raw/", ".json").len() == 3);
        is_open(&mut source);
        server.stop();
        sent.sort();
        assert_eq!(lines(&data_dir, "raw"), sent, "{point}");
    }
}

#[test]
fn a_line_that_was_stamped_and_written_is_not_stamped_again() {
    for point in POINTS.into_iter().filter(|point| !["ingest.part:2", "segment.torn:2"].contains(point)) {
        let data_dir = DataDir::new();
        let server = fragile(&data_dir, &["measurement"], point, "--workers 1");
        let mut source = server.connect();
        for round in 0..3 {
            let line =
                |n: u32| format!("{{\"kind\":\"Temperature\",\"value\":{},\"unit\":\"Celsius\"}}\n", round * 100 + n);
            source.write_all((0..100).map(line).collect::<String>().as_bytes()).unwrap();
            until("it is written", || lines(&data_dir, "raw").len() == 100 * (round as usize + 1));
        }
        until(&format!("{point} is reached"), || mark(&data_dir).exists());
        server.stop();
        let mut values: Vec<_> = lines(&data_dir, "raw")
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["message"]["value"].as_u64().unwrap())
            .collect();
        values.sort_unstable();
        assert_eq!(values, (0..300).collect::<Vec<_>>(), "{point}");
    }
}

#[test]
fn after_a_failed_sync_what_was_written_is_in_a_new_file() {
    use std::os::unix::fs::MetadataExt as _;
    for point in ["segment.sync:1", "seal.sync:1"] {
        let data_dir = DataDir::new();
        let server = fragile(&data_dir, &["telemetry"], point, "--seal-after 2s");
        let mut source = server.connect();
        let sent: Vec<_> = (0..100).map(|n| reading(0, 100 + n, 1.0)).collect();
        source.write_all((sent.join("\n") + "\n").as_bytes()).unwrap();
        until("it is written", || data_dir.files_like("raw/", ".open").len() == 1);
        let before = data_dir.files_like("raw/", ".open")[0].metadata().unwrap().ino();
        until(&format!("{point} is reached"), || mark(&data_dir).exists());
        until("it is sealed", || data_dir.files_like("raw/", ".json").len() == 1);
        assert_ne!(data_dir.files_like("raw/", ".json")[0].metadata().unwrap().ino(), before, "{point}");
        is_open(&mut source);
        let log = server.stop();
        assert_eq!(log.matches("copied to a new file").count(), 1, "{point}: {log}");
        assert_eq!(lines(&data_dir, "raw"), sent, "{point}");
    }
}

/// Sends numbered messages over `count` connections, numbered from `first`, while `meanwhile` runs; returns them all.
fn send(server: &Server, first: i64, count: i64, meanwhile: impl FnOnce()) -> Vec<String> {
    /// Stops the senders, also when the test fails.
    struct Stop<'s>(&'s AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let senders: Vec<_> = (first..first + count)
            .map(|sender| {
                let (mut source, stop) = (server.connect(), &stop);
                scope.spawn(move || {
                    let mut sent = Vec::new();
                    while !stop.load(Relaxed) {
                        let number = i64::try_from(sent.len()).unwrap();
                        let lines: Vec<_> = (number..number + 50)
                            .map(|n| reading((n % 3) * 3600, sender * 10_000_000 + n, 1.0))
                            .collect();
                        source.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
                        sent.extend(lines);
                        std::thread::sleep(Duration::from_micros(500));
                    }
                    is_open(&mut source);
                    sent
                })
            })
            .collect();
        meanwhile();
        drop(stopping);
        let mut sent: Vec<_> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
        sent.sort();
        sent
    })
}

#[test]
fn workers_killed_at_random_lose_and_double_nothing() {
    let mut random = Random::seeded();
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "--seal-size 1MiB --seal-after 1s");
    let sent = send(&server, 0, 4, || {
        let mut kills = 0;
        while kills < rounds(10) {
            // Some die at once, so that the next one waits; others do not.
            std::thread::sleep(Duration::from_millis(random.below(400)));
            kills += u64::from(server.kill_worker());
        }
    });
    until("all is written", || lines(&data_dir, "raw").len() >= sent.len());
    let log = server.stop();
    assert_eq!(lines(&data_dir, "raw"), sent, "{log}");
    assert!(lines(&data_dir, "quarantine").is_empty());
}

#[test]
fn sighup_brings_a_worker_from_the_binary_on_disk_and_a_broken_one_changes_nothing() {
    let data_dir = DataDir::new();
    let installed = data_dir.path().join("tcp-ingest");
    fs::copy(data_dir.program("tcp-ingest").get_program(), &installed).unwrap();
    let mut command = Command::new(&installed);
    command.arg("--data-dir").arg(data_dir.path());
    let server = Server::start_command(command, &["telemetry"], "");
    let sent = send(&server, 0, 3, || {
        for upgrades in 1..=10 {
            server.signal("-HUP");
            until("the worker is replaced", || server.log().matches("was replaced by a new one").count() == upgrades);
        }
    });
    // What cannot run, and what runs but is something else.
    for broken in ["not a program", "#!/bin/sh\nexit 3\n"] {
        let new = data_dir.path().join("new");
        fs::write(&new, broken).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&new, &installed).unwrap();
        let before = server.log().matches("the old").count();
        server.signal("-HUP");
        until("it is reported", || server.log().matches("the old").count() > before);
    }
    server.kill_worker();
    let more = send(&server, 3, 1, || until("the next one serves", || lines(&data_dir, "raw").len() > sent.len()));
    let log = server.stop();
    let mut all = [sent, more].concat();
    all.sort();
    assert_eq!(lines(&data_dir, "raw"), all, "{log}");
}

#[test]
fn the_keeper_can_be_replaced_with_all_it_holds() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "");
    let sent = send(&server, 0, 3, || {
        for replaced in 1..=10 {
            server.signal("-USR2");
            until("the keeper is replaced", || server.log().matches("the keeper was replaced").count() == replaced);
            server.kill_worker();
            until("the next worker serves", || server.log().matches("a new worker took over").count() == replaced);
        }
    });
    until("all is written", || lines(&data_dir, "raw").len() >= sent.len());
    let log = server.stop();
    assert_eq!(lines(&data_dir, "raw"), sent, "{log}");
}

#[test]
fn a_connection_whose_worker_died_while_it_closed_it_is_read_again() {
    let data_dir = DataDir::new();
    let server = fragile(&data_dir, &["telemetry"], "ingest.closing", "--idle-timeout 2s");
    let mut source = server.connect();
    source.write_all((reading(0, 1, 1.0) + "\n").as_bytes()).unwrap();
    until("the worker has died", || mark(&data_dir).exists());
    source.write_all((reading(0, 2, 1.0) + "\n").as_bytes()).unwrap();
    until("the next one reads it", || lines(&data_dir, "raw").len() == 2);
    server.stop();
}

#[test]
fn signals_that_come_in_one_moment_are_all_obeyed() {
    let orders: [&[&str]; 5] =
        [&["-USR2"], &["-USR2", "-HUP"], &["-HUP", "-USR2"], &["-USR2", "-USR2"], &["-HUP", "-USR2", "-TERM"]];
    for pause in [0, 1, 3] {
        for order in orders {
            let data_dir = DataDir::new();
            let server = Server::start(&data_dir, &["telemetry"], "");
            let mut source = server.connect();
            source.write_all((reading(0, 1, 1.0) + "\n").as_bytes()).unwrap();
            until("it is served", || lines(&data_dir, "raw").len() == 1);
            source.write_all((reading(0, 2, 1.0) + "\n").as_bytes()).unwrap();
            for signal in order {
                server.signal(signal);
                std::thread::sleep(Duration::from_millis(pause));
            }
            // The last of all, or a second one.
            let log = server.stop();
            assert_eq!(lines(&data_dir, "raw").len(), 2, "{order:?} with {pause} ms between: {log}");
        }
    }
}

#[test]
fn a_worker_that_dies_while_the_keeper_is_replaced_has_a_successor() {
    for pause in [0, 1, 2, 4, 8] {
        let data_dir = DataDir::new();
        let server = Server::start(&data_dir, &["telemetry"], "");
        let mut source = server.connect();
        source.write_all((reading(0, 1, 1.0) + "\n").as_bytes()).unwrap();
        until("it is served", || lines(&data_dir, "raw").len() == 1);
        server.signal("-USR2");
        std::thread::sleep(Duration::from_millis(pause));
        server.kill_worker();
        source.write_all((reading(0, 2, 1.0) + "\n").as_bytes()).unwrap();
        until("the next one serves", || lines(&data_dir, "raw").len() == 2);
        server.stop();
    }
}

#[test]
fn when_the_keeper_dies_the_worker_takes_what_there_is_and_ends() {
    let data_dir = DataDir::new();
    let mut server = Server::start(&data_dir, &["telemetry"], "");
    let mut source = server.connect();
    let sent: Vec<_> = (0..1000).map(|n| reading(0, n, 1.0)).collect();
    source.write_all((sent[0].clone() + "\n").as_bytes()).unwrap();
    until("it is served", || lines(&data_dir, "raw").len() == 1);
    let workers = server.workers();
    assert_eq!(workers.len(), 1);
    source.write_all((sent[1..].join("\n") + "\n").as_bytes()).unwrap();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    until("the worker ends", || is_gone(workers[0]));
    let mut expected = sent.clone();
    expected.sort();
    assert_eq!(lines(&data_dir, "raw"), expected);
    assert!(data_dir.files_like("raw/", ".open").is_empty(), "all is sealed");
    assert_eq!(source.read(&mut [0]).unwrap_or(0), 0, "the source is told");
    // Nothing is in the way of the next one.
    Server::start(&data_dir, &["telemetry"], "").stop();
}

#[test]
fn input_that_kills_every_worker_goes_to_quarantine_and_the_rest_goes_on() {
    let data_dir = DataDir::new();
    let mut command = data_dir.program("tcp-ingest");
    command.env("FAULT_POISON", "arsenic");
    let server = Server::start_command(command, &["telemetry"], "");
    let mut good = server.connect();
    let mut bad = server.connect();
    good.write_all((reading(0, 1, 1.0) + "\n").as_bytes()).unwrap();
    bad.write_all((reading(0, 2, 1.0) + "\n").as_bytes()).unwrap();
    until("both are served", || lines(&data_dir, "raw").len() == 2);
    bad.write_all(b"a line with arsenic\nand another\n").unwrap();
    good.write_all((reading(0, 3, 1.0) + "\n").as_bytes()).unwrap();
    until("it is in quarantine", || lines(&data_dir, "quarantine").len() == 2);
    bad.write_all((reading(0, 4, 1.0) + "\n").as_bytes()).unwrap();
    until("both go on", || lines(&data_dir, "raw").len() == 4);
    is_open(&mut bad);
    is_open(&mut good);
    server.stop();
    let poison = |line: &str| ("poison".to_owned(), line.to_owned());
    let mut records = quarantined(&data_dir);
    records.sort();
    assert_eq!(records, [poison("a line with arsenic"), poison("and another")]);
}

#[test]
fn the_kernel_is_told_to_take_the_worker_and_spare_the_keeper() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "");
    until("there is a worker", || !server.workers().is_empty());
    let score =
        |id: u32| -> i32 { fs::read_to_string(format!("/proc/{id}/oom_score_adj")).unwrap().trim().parse().unwrap() };
    until("the worker offers itself", || score(server.workers()[0]) >= score(server.child.id()) + 300);
    server.stop();
}

#[test]
fn a_terminal_that_signals_the_whole_group_ends_it_cleanly() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "");
    server.send(reading(0, 1, 1.0) + "\n");
    until("it is written", || lines(&data_dir, "raw").len() == 1);
    for id in server.workers().into_iter().chain([server.child.id()]) {
        assert!(kill("-INT", id));
    }
    let (status, log) = server.wait();
    assert_eq!(status, Some(0), "{log}");
    assert!(data_dir.files_like("raw/", ".open").is_empty());
}
