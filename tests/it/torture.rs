//! Many sources send numbered messages at a steady rate while the worker is killed, upgraded and denied its disk. In the
//! end sealed ∪ quarantine holds every message exactly once, byte for byte, and no source saw a reset or a close.
//!
//! `KILLS`, `UPGRADES` and `FULL_DISKS` in the environment say how much of each (the long form: scripts/torture.sh).

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use harness::{DataDir, Random, Server, SmallDisk, until};

const SOURCES: u64 = 8;

/// Message `number` of a source: spread over five hours, every hundredth one that is rejected.
fn message(source: u64, number: u64) -> String {
    let (second, key) = ((number % 5) * 3600, source << 40 | number);
    let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 1;
    let kind = if number % 100 == 99 { "Pressure" } else { "Temperature" };
    format!(
        r#"{{"timestamp":{second},"sensor_id":{key},"hash":{hash},"measurement":{{"kind":"{kind}","value":21.5,"unit":"Celcius"}}}}"#
    )
}

/// What a source has seen: how many messages it sent, and whether its connection held.
struct Sent {
    messages: u64,
    held: bool,
}

fn send(mut connection: TcpStream, source: u64, stop: &AtomicBool) -> Sent {
    let mut messages = 0;
    while !stop.load(Relaxed) {
        let block: String = (messages..messages + 10).map(|number| message(source, number) + "\n").collect();
        if connection.write_all(block.as_bytes()).is_err() {
            return Sent { messages, held: false };
        }
        messages += 10;
        std::thread::sleep(Duration::from_millis(3));
    }
    connection.set_nonblocking(true).unwrap();
    let held = connection.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    Sent { messages, held }
}

/// Counts what is in the tree: per message, and what is no message.
fn count(data_dir: &DataDir) -> (HashMap<u64, u32>, Vec<String>) {
    let (mut found, mut torn) = (HashMap::new(), Vec::new());
    let mut add = |line: &str| {
        let key = line.split("\"sensor_id\":").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u64>().ok());
        match key.filter(|key| line == message(key >> 40, key & ((1 << 40) - 1))) {
            Some(key) => *found.entry(key).or_insert(0) += 1,
            None => torn.push(line.to_owned()),
        }
    };
    for path in data_dir.files_like("raw/", ".json") {
        std::fs::read_to_string(path).unwrap().lines().for_each(&mut add);
    }
    for path in data_dir.files_like("quarantine/", ".json") {
        for record in std::fs::read_to_string(path).unwrap().lines() {
            add(serde_json::from_str::<serde_json::Value>(record).unwrap()["line"].as_str().unwrap());
        }
    }
    (found, torn)
}

fn setting(name: &str, usual: u32) -> u32 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn nothing_is_lost_or_doubled_whatever_happens_to_the_worker() {
    let mut left = [("KILLS", 25), ("UPGRADES", 3), ("FULL_DISKS", 2)].map(|(name, usual)| setting(name, usual));
    let [kills, upgrades, full_disks] = left;
    let Some(disk) = SmallDisk::mount("size=3g") else { return };
    let mut random = Random::seeded();
    let data_dir = DataDir::at(&disk.path().join("data"));
    let server = Server::start(&data_dir, &["telemetry"], "--seal-size 4MiB --seal-after 2s");
    let (stop, start) = (AtomicBool::new(false), Instant::now());
    let sent: Vec<Sent> = std::thread::scope(|scope| {
        let sources: Vec<_> = (0..SOURCES)
            .map(|source| {
                let (connection, stop) = (server.connect(), &stop);
                scope.spawn(move || send(connection, source, stop))
            })
            .collect();
        let torture = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while left.iter().any(|left| *left > 0) {
                // In proportion to what is left of each.
                let mut choice = random.below(left.iter().sum::<u32>());
                let what = left.iter().position(|left| choice.checked_sub(*left).map(|rest| choice = rest).is_none());
                let what = what.unwrap();
                match what {
                    0 => {
                        std::thread::sleep(Duration::from_millis(random.below(400)));
                        left[0] -= u32::from(server.kill_worker());
                    }
                    1 => {
                        upgrade(&server);
                        left[1] -= 1;
                    }
                    _ => {
                        full(&disk, &server, random.below(2) == 0);
                        left[2] -= 1;
                    }
                }
            }
        }));
        stop.store(true, Relaxed);
        let sent = sources.into_iter().map(|source| source.join().unwrap()).collect();
        if let Err(panic) = torture {
            std::panic::resume_unwind(panic);
        }
        sent
    });
    let log = server.stop();
    let seconds = start.elapsed().as_secs();
    let (found, torn) = count(&data_dir);
    let mut lost = 0;
    for (source, sent) in (0..SOURCES).zip(&sent) {
        lost += (0..sent.messages).filter(|number| !found.contains_key(&(source << 40 | number))).count();
    }
    let total: u64 = sent.iter().map(|sent| sent.messages).sum();
    let doubled: u32 = found.values().map(|count| count - 1).sum();
    let cut = sent.iter().filter(|sent| !sent.held).count();
    // Straight to the terminal: these are the figures.
    let _ = writeln!(
        std::io::stderr(),
        "torture: {total} messages over {SOURCES} connections in {seconds} s; survived {kills} kills -9, {upgrades} upgrades, \
         {full_disks} full disks; lost {lost}, doubled {doubled}, torn {}; connections reset or closed {cut}",
        torn.len()
    );
    assert_eq!((lost, doubled, torn.len(), cut), (0, 0, 0, 0), "{torn:?}\n{log}");
    assert!(total > 1000, "the sources were held all the time");
    assert!(data_dir.files_like("", ".open").is_empty(), "all is sealed");
}

/// Has a new worker take over; waits until it has.
fn upgrade(server: &Server) {
    let replaced = || server.log().matches("was replaced by a new one").count();
    let before = replaced();
    server.signal("-HUP");
    until("the worker is replaced", || replaced() > before);
}

/// Fills the disk until writing fails, perhaps kills the worker then, and makes room again.
fn full(disk: &SmallDisk, server: &Server, killed: bool) {
    let waiting = || server.log().matches("reading waits").count();
    let before = waiting();
    let ballast = disk.fill();
    until("the disk is full", || {
        // The last bytes that are free go to whoever writes first.
        let _ = std::fs::OpenOptions::new().append(true).open(&ballast).and_then(|mut file| file.write_all(&[0; 4096]));
        waiting() > before
    });
    std::thread::sleep(Duration::from_millis(300));
    if killed {
        server.kill_worker();
        std::thread::sleep(Duration::from_millis(300));
    }
    remove(&ballast);
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}
