//! A source of telemetry that is never the bottleneck: the bytes are prepared first, then sent over N connections at once,
//! and the clock runs until all of them are in the receiver's files.
//!
//! `loadgen ADDRESS CONNECTIONS MEGABYTES FOLDER` prints `seconds bytes messages`. `loadgen - CONNECTIONS MEGABYTES FILE`
//! writes the same bytes to a file instead.
//!
//! The files below FOLDER are counted before and after, so it may hold other runs. Ends with an error when the files stop
//! growing for a minute.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// 2026-01-15T10:00:00Z; all messages fall into the hour that begins here.
const HOUR: u64 = 1_768_471_200;

/// About `size` bytes of messages, as a gateway of 500 sensors sends them over an hour: times that go on, and values that
/// no compression can guess.
fn messages(gateway: u64, size: usize) -> String {
    let mut text = String::with_capacity(size + 256);
    let mut random = gateway + 1;
    while text.len() < size {
        // xorshift64: fast, and the same bytes on every machine.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (second, sensor, value) = (text.len() * 3600 / (size + 1), random % 500, (random >> 32) % 600);
        writeln!(
            text,
            r#"{{"timestamp": {}, "sensor_id": {}, "measurement": {{"kind": "Temperature", "value": {}.{}, "unit": "Celcius"}}}}"#,
            HOUR + second as u64,
            1000 + gateway * 500 + sensor,
            value / 10,
            value % 10,
        )
        .unwrap();
    }
    text
}

/// The bytes of all files below `folder`.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            // A file that is renamed meanwhile is counted the next time.
            let metadata = fs::metadata(&path).ok()?;
            Some(if metadata.is_dir() { bytes_below(&path) } else { metadata.len() })
        })
        .sum()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, megabytes, folder] = arguments.as_slice() else {
        panic!("usage: loadgen ADDRESS|- CONNECTIONS MEGABYTES FOLDER|FILE")
    };
    let (connections, megabytes): (usize, usize) = (connections.parse().unwrap(), megabytes.parse().unwrap());
    let parts: Vec<String> =
        (0..connections).map(|gateway| messages(gateway as u64, megabytes * 1_000_000 / connections)).collect();
    let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
    let lines: usize = parts.iter().map(|part| memchr::memchr_iter(b'\n', part.as_bytes()).count()).sum();
    if address == "-" {
        fs::write(folder, parts.concat()).unwrap();
        return println!("0 {bytes} {lines}");
    }

    let folder = Path::new(folder);
    let before = bytes_below(folder);
    let barrier = Arc::new(Barrier::new(connections + 1));
    let senders: Vec<_> = parts
        .into_iter()
        .map(|part| {
            let (barrier, mut connection) = (Arc::clone(&barrier), TcpStream::connect(address).unwrap());
            let send = move || {
                barrier.wait();
                connection.write_all(part.as_bytes()).unwrap();
            };
            thread::Builder::new().stack_size(64 * 1024).spawn(send).unwrap()
        })
        .collect();
    barrier.wait();
    let start = Instant::now();
    for sender in senders {
        sender.join().unwrap();
    }
    let mut seen = (0, Instant::now());
    loop {
        let written = bytes_below(folder) - before;
        if written >= bytes {
            break;
        }
        if written > seen.0 {
            seen = (written, Instant::now());
        }
        assert!(seen.1.elapsed() < Duration::from_secs(60), "only {written} of {bytes} bytes are in the files");
        thread::sleep(Duration::from_millis(1));
    }
    println!("{:.6} {bytes} {lines}", start.elapsed().as_secs_f64());
}
