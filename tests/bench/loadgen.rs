//! A source of telemetry that is never the bottleneck: the bytes are prepared first, then sent over N connections at once,
//! and the clock runs until all of them are in the receiver's files.
//!
//! `loadgen ADDRESS CONNECTIONS MEGABYTES FOLDER [KIND]` prints `seconds bytes messages`. `loadgen - CONNECTIONS MEGABYTES
//! FILE [KIND]` writes the same bytes to a file instead. The kinds of messages are
//!
//! - `telemetry`: as one kind of device sends them, all numbers of nearly the same length
//! - `one`: of one shape, with numbers of any length
//! - `mixed`: of 12 shapes in turns on each connection
//! - `devices`: of 100 shapes, one on each connection
//! - `wide`: of 60 members, for a stream that `loadgen --wide` describes
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

/// What the messages are like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Telemetry,
    One,
    Mixed,
    Devices,
    Wide,
}

/// A message in one of 108 shapes: the order of its members, and how they are spaced.
fn shaped(text: &mut String, shape: u64, second: u64, random: u64) {
    const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let digits = |random: u64| random % 10_u64.pow(1 + u32::try_from(random >> 8 & 3).unwrap());
    let (comma, colon) = [(",", ":"), (", ", ": "), (" ,", " : ")][usize::try_from(shape / 36 % 3).unwrap()];
    let value = format!("{}.{}", digits(random >> 20), digits(random >> 40));
    let inner = [
        format!("\"kind\"{colon}\"Temperature\""),
        format!("\"value\"{colon}{value}"),
        format!("\"unit\"{colon}\"Celcius\""),
    ];
    let order = |index: u64| ORDERS[usize::try_from(index % 6).unwrap()];
    let inner = order(shape / 6).map(|index| inner[index].as_str()).join(comma);
    let outer = [
        format!("\"timestamp\"{colon}{}", HOUR + second),
        format!("\"sensor_id\"{colon}{}", digits(random)),
        format!("\"measurement\"{colon}{{{inner}}}"),
    ];
    let outer = order(shape).map(|index| outer[index].as_str()).join(comma);
    writeln!(text, "{{{outer}}}").unwrap();
}

/// The stream file of wide messages.
fn wide_file() -> String {
    let mut file = String::from("time = \"t\"\n[columns]\nt = { type = \"timestamp\", format = \"epoch_s\" }\n");
    for column in 0..59 {
        let of =
            ["\"int\"", "\"float\"", "{ type = \"float\", range = [0, 1000000] }", "\"text\"", "\"bool\""][column % 5];
        writeln!(file, "c{column} = {of}").unwrap();
    }
    file
}

fn wide(text: &mut String, second: u64, random: u64) {
    write!(text, "{{\"t\":{}", HOUR + second).unwrap();
    for column in 0..59_u64 {
        let bits = random.rotate_left(u32::try_from(column).unwrap());
        match column % 5 {
            0 => write!(text, ",\"c{column}\":{}", bits % 1000),
            1 | 2 => write!(text, ",\"c{column}\":{}.{}", bits % 500, bits % 7),
            3 => write!(text, ",\"c{column}\":\"state {}\"", bits % 9),
            _ => write!(text, ",\"c{column}\":{}", bits % 2 == 0),
        }
        .unwrap();
    }
    text.push_str("}\n");
}

/// About `size` bytes of messages, as a gateway of 500 sensors sends them over an hour: times that go on, and values that
/// no compression can guess.
fn messages(gateway: u64, size: usize, kind: Kind) -> String {
    let mut text = String::with_capacity(size + 2048);
    let mut random = gateway + 1;
    while text.len() < size {
        // xorshift64: fast, and the same bytes on every machine.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let second = (text.len() * 3600 / (size + 1)) as u64;
        match kind {
            Kind::Telemetry => {}
            Kind::One => {
                shaped(&mut text, 36, second, random);
                continue;
            }
            Kind::Mixed => {
                shaped(&mut text, (random >> 50) % 12 * 9, second, random);
                continue;
            }
            Kind::Devices => {
                shaped(&mut text, gateway % 100, second, random);
                continue;
            }
            Kind::Wide => {
                wide(&mut text, second, random);
                continue;
            }
        }
        let (sensor, value) = (random % 500, (random >> 32) % 600);
        writeln!(
            text,
            r#"{{"timestamp": {}, "sensor_id": {}, "measurement": {{"kind": "Temperature", "value": {}.{}, "unit": "Celcius"}}}}"#,
            HOUR + second,
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
            if path.extension().is_some_and(|extension| extension == "toml") {
                return None;
            }
            // A file that is renamed meanwhile is counted the next time.
            let metadata = fs::metadata(&path).ok()?;
            Some(if metadata.is_dir() { bytes_below(&path) } else { metadata.len() })
        })
        .sum()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--wide"] {
        return print!("{}", wide_file());
    }
    let (arguments, kind) = match arguments.as_slice() {
        [most @ .., kind] if most.len() == 4 => (most, kind.as_str()),
        all => (all, "telemetry"),
    };
    let kind = match kind {
        "telemetry" => Kind::Telemetry,
        "one" => Kind::One,
        "mixed" => Kind::Mixed,
        "devices" => Kind::Devices,
        "wide" => Kind::Wide,
        _ => panic!("no such kind of messages: {kind}"),
    };
    let [address, connections, megabytes, folder] = arguments else {
        panic!("usage: loadgen ADDRESS|- CONNECTIONS MEGABYTES FOLDER|FILE [KIND]")
    };
    let (connections, megabytes): (usize, usize) = (connections.parse().unwrap(), megabytes.parse().unwrap());
    let parts: Vec<String> =
        (0..connections).map(|gateway| messages(gateway as u64, megabytes * 1_000_000 / connections, kind)).collect();
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
