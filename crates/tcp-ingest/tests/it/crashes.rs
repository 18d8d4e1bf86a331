//! tcp-ingest when it is killed, when the disk is full, and when its files are taken away.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Duration;

use crate::common::{check_written, lines, quarantined, see_tries_fail};
use harness::{DataDir, Random, Server, SmallDisk, reading, until};

#[test]
fn after_kill_9_what_was_written_is_recovered_once_and_whole() {
    let mut random = Random::seeded();
    let data_dir = DataDir::new();
    let mut sensor = 0;
    for round in 0..15 {
        let server = Server::start(&data_dir, &["telemetry"], "--seal-size 200KiB");
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let mut connection = server.connect();
                let first = sensor;
                sensor += 1_000_000;
                std::thread::spawn(move || {
                    for n in 0..5_000 {
                        let line = reading((n % 3) * 3600, first + n, 1.0) + "\n";
                        if connection.write_all(line.as_bytes()).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        until("something is written", || {
            data_dir.files_like("raw/", ".open").iter().any(|path| path.metadata().is_ok_and(|file| file.len() > 0))
        });
        std::thread::sleep(Duration::from_millis(random.below(128)));
        server.crash();
        for sender in senders {
            sender.join().unwrap();
        }
        // What was in complete lines before the restart is there after it; a torn tail went to quarantine.
        let written: BTreeSet<_> = lines(&data_dir, "raw").into_iter().filter(|line| line.ends_with("}}")).collect();
        let next = Server::start(&data_dir, &["telemetry"], "");
        if round % 5 == 0 {
            until("it recovers", || next.log().contains("recovered"));
        }
        next.stop();
        assert!(data_dir.files_like("raw/", ".open").is_empty());
        assert_eq!(check_written(&data_dir), written);
    }
    for (reason, _) in quarantined(&data_dir) {
        assert!(["torn", "unfinished"].contains(&reason.as_str()));
    }
}

#[test]
fn a_second_server_leaves_the_segments_of_the_first_alone() {
    let data_dir = DataDir::new();
    let first = Server::start(&data_dir, &["telemetry"], "");
    first.send(format!("{}\n", reading(0, 1, 1.0)));
    until("it is written", || lines(&data_dir, "raw").len() == 1);
    let second = Server::start(&data_dir, &["telemetry"], "");
    assert!(!second.log().contains("recovered"));
    second.send(format!("{}\n", reading(0, 2, 1.0)));
    first.send(format!("{}\n", reading(0, 3, 1.0)));
    until("both write", || lines(&data_dir, "raw").len() == 3);
    second.stop();
    first.stop();
    assert_eq!(check_written(&data_dir).len(), 3);
}

/// Messages that do not fit on the small disk.
const LINES: i64 = 25_000;

#[test]
fn a_full_disk_holds_the_sources_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    let data_dir = DataDir::at(&disk.path().join("data"));
    let server = Server::start(&data_dir, &["telemetry"], "-vv");
    let mut connection = server.connect();
    let sender = std::thread::spawn(move || {
        for n in 0..LINES {
            connection.write_all((reading((n % 5) * 3600, n, 1.0) + "\n").as_bytes()).unwrap();
        }
    });
    until("the disk is full", || server.log().contains("reading waits"));
    let memory = server.resident();
    // Several tries to write pass, none of which may leave or double anything.
    see_tries_fail(&server, "still waiting");
    assert!(server.resident() < memory + (8 << 20), "memory grows while it waits");
    assert_eq!(server.log().matches("reading waits").count(), 1, "one message an outage:\n{}", server.log());
    std::fs::remove_file(&ballast).unwrap();
    sender.join().unwrap();
    until("all is written", || lines(&data_dir, "raw").len() == usize::try_from(LINES).unwrap());
    let log = server.stop();
    assert!(log.contains("writing works again"), "{log}");
    assert_eq!(check_written(&data_dir).len(), usize::try_from(LINES).unwrap());
    assert!(quarantined(&data_dir).is_empty());
}

#[test]
fn a_disk_without_inodes_is_waited_for_too() {
    let Some(disk) = SmallDisk::mount("size=8m,nr_inodes=40") else { return };
    let data_dir = DataDir::at(&disk.path().join("data"));
    let server = Server::start(&data_dir, &["telemetry"], "--max-open 16 --workers 1");
    let extra: Vec<_> = (0..1000)
        .map(|n| disk.path().join(format!("extra{n}")))
        .take_while(|path| std::fs::write(path, "").is_ok())
        .collect();
    server.send(format!("{}\n", reading(0, 1, 1.0)));
    until("it waits", || server.log().contains("reading waits"));
    for path in extra {
        std::fs::remove_file(path).unwrap();
    }
    until("it is written", || lines(&data_dir, "raw").len() == 1);
    server.stop();
}
