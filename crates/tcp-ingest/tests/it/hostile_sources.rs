//! Sources that are broken or mean harm: whatever they send is kept once, byte for byte, and nobody else notices.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::common::lines;
use harness::{DataDir, Random, Server, epoch, reading, until};
use models::Decoder;
use serde_json::Value;
use socket2::SockRef;

/// The outcome of a line that goes to raw/; that of others is the reason in the quarantine.
const ACCEPTED: &str = "accepted";

/// A line that the tree holds.
struct Kept {
    outcome: String,
    /// Whose it was; empty in raw/.
    source: String,
    line: Vec<u8>,
}

/// All segments of an area, those of one worker in the order of their writing.
fn segments(data_dir: &DataDir, area: &str) -> Vec<PathBuf> {
    data_dir.files_like(&format!("{area}/"), ".json")
}

/// All that the tree holds once the server has stopped, in the order of its writing as far as it has one.
fn kept(data_dir: &DataDir) -> Vec<Kept> {
    let mut kept = Vec::new();
    for path in segments(data_dir, "raw") {
        for line in std::fs::read(path).unwrap().strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n') {
            kept.push(Kept { outcome: ACCEPTED.into(), source: String::new(), line: line.into() });
        }
    }
    for path in segments(data_dir, "quarantine") {
        for record in std::fs::read_to_string(path).unwrap().lines() {
            let record: Value = serde_json::from_str(record).unwrap();
            let text = |key: &str| record[key].as_str().map(str::to_owned);
            assert_ne!(text("detail").unwrap(), "", "{record}");
            let line = text("line").map_or_else(|| base64(&text("line_base64").unwrap()), String::into_bytes);
            kept.push(Kept { outcome: text("reason").unwrap(), source: text("source").unwrap(), line });
        }
    }
    kept
}

/// The bytes that `text` encodes.
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let decode = |group: &[u8]| {
        let places = group.iter().map(|byte| ALPHABET.iter().position(|known| known == byte).unwrap());
        let bits = places.fold(0, |bits, place| (bits << 6) | place) << (6 * (4 - group.len()));
        bits.to_be_bytes()[5..4 + group.len()].to_vec()
    };
    text.trim_end_matches('=').as_bytes().chunks(4).flat_map(decode).collect()
}

/// What becomes of a line, and the line.
type Line = (String, Vec<u8>);

fn becomes(outcome: &str, line: impl Into<Vec<u8>>) -> Line {
    (outcome.to_owned(), line.into())
}

/// Fails unless the tree holds exactly the lines `expected`, each as often as it stands there, with its outcome.
#[track_caller]
fn check(mut found: Vec<Line>, mut expected: Vec<Line>) {
    found.sort();
    expected.sort();
    let show = |(outcome, line): &Line| format!("{outcome}: {}", line[..line.len().min(300)].escape_ascii());
    for (found, expected) in found.iter().zip(&expected) {
        assert!(found == expected, "found {}\nexpected {}", show(found), show(expected));
    }
    assert_eq!(found.len(), expected.len());
}

fn all(data_dir: &DataDir) -> Vec<Line> {
    kept(data_dir).into_iter().map(|kept| (kept.outcome, kept.line)).collect()
}

/// Sends each line of `expected` over one connection, and a last one that must get through, then checks the tree.
#[track_caller]
fn send_and_check(arguments: &str, mut expected: Vec<Line>) {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], arguments);
    let last = reading(epoch("2025-12-31T23"), 1, 1.0);
    expected.push(becomes(ACCEPTED, last));
    let bytes: Vec<u8> = expected.iter().flat_map(|(_, line)| [line, &b"\n"[..]].concat()).collect();
    server.send(bytes);
    until("the last line is written", || !lines(&data_dir, "raw/telemetry/2025/12/31").is_empty());
    server.stop();
    check(all(&data_dir), expected);
}

/// Somebody who behaves: a message at a time, each of which is to be written before the next is sent.
struct Neighbour {
    connection: TcpStream,
    sent: Vec<String>,
}

impl Neighbour {
    const HOUR: &str = "2025-09-02T10";
    const FOLDER: &str = "raw/telemetry/2025/09/02";

    fn new(server: &Server) -> Self {
        Self { connection: server.connect(), sent: Vec::new() }
    }

    fn message(&mut self, data_dir: &DataDir) {
        let line = reading(epoch(Self::HOUR), self.sent.len().try_into().unwrap(), 1.0);
        self.connection.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.sent.push(line);
        until("the neighbour's message is written", || lines(data_dir, Self::FOLDER).len() == self.sent.len());
    }

    #[track_caller]
    fn check(&self, data_dir: &DataDir) {
        let mut sent = self.sent.clone();
        sent.sort();
        assert_eq!(lines(data_dir, Self::FOLDER), sent);
    }
}

#[test]
fn lines_that_come_byte_by_byte_hold_nobody_up() {
    const SOURCES: i64 = 400;
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "--workers 1");
    let mut slow: Vec<_> = (0..SOURCES)
        .map(|sensor| {
            let connection = server.connect();
            connection.set_nodelay(true).unwrap();
            (connection, reading(0, 1000 + sensor, 1.0))
        })
        .collect();
    let mut neighbour = Neighbour::new(&server);
    for at in 0..slow[0].1.len() {
        for (connection, line) in &mut slow {
            connection.write_all(&line.as_bytes()[at..=at]).unwrap();
        }
        neighbour.message(&data_dir);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(lines(&data_dir, "raw/telemetry/1970").is_empty(), "none is complete");
    for (connection, _) in &mut slow {
        connection.write_all(b"\n").unwrap();
    }
    until("the slow lines are written", || lines(&data_dir, "raw/telemetry/1970").len() == slow.len());
    server.stop();
    let sent: Vec<_> = slow.into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines(&data_dir, "raw/telemetry/1970"), sent);
    assert!(data_dir.files_like("quarantine/", "").is_empty());
    neighbour.check(&data_dir);
}

#[test]
fn a_line_without_end_needs_no_memory_and_holds_nobody_up() {
    const SIZE: usize = 100 << 20;
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "--workers 1");
    let mut neighbour = Neighbour::new(&server);
    let before = server.resident();
    let mut endless = Vec::with_capacity(SIZE + 100);
    for number in 0.. {
        // A piece may end inside a character.
        write!(endless, "{number:é>50}").unwrap();
        if endless.len() >= SIZE {
            break;
        }
    }
    let after = reading(0, 1, 1.0);
    let peak = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut connection = server.connect();
            connection.write_all(&endless).unwrap();
            connection.write_all(format!("\n{after}\n").as_bytes()).unwrap();
        });
        let (mut peak, mut written_meanwhile) = (0, 0);
        while !sender.is_finished() {
            neighbour.message(&data_dir);
            written_meanwhile += u32::from(!sender.is_finished());
            peak = peak.max(server.resident());
        }
        assert!(written_meanwhile > 0, "the neighbour had to wait for all of it");
        peak
    });
    until("the line after it is written", || !lines(&data_dir, "raw/telemetry/1970").is_empty());
    server.stop();
    neighbour.check(&data_dir);
    assert_eq!(lines(&data_dir, "raw/telemetry/1970"), [after]);
    assert!(peak < before + (16 << 20), "{before} bytes resident, then {peak}");
    let pieces = kept(&data_dir).into_iter().filter(|kept| kept.outcome != ACCEPTED);
    let pieces: Vec<_> =
        pieces.inspect(|piece| assert_eq!(piece.outcome, "too_long")).map(|piece| piece.line).collect();
    assert!(pieces.concat() == endless, "it is in the quarantine from its first byte to its last");
}

#[test]
fn a_million_empty_lines_are_counted_and_kept_nowhere() {
    const LINES: usize = 1_000_000;
    let data_dir = DataDir::new();
    let metrics = harness::tempfile::NamedTempFile::new().unwrap();
    let arguments = format!("--workers 1 --metrics-file {}", metrics.path().display());
    let server = Server::start(&data_dir, &["telemetry"], &arguments);
    let mut neighbour = Neighbour::new(&server);
    let before = server.resident();
    let mut connection = server.connect();
    let after = reading(0, 1, 1.0);
    let sender = std::thread::spawn(move || {
        connection.write_all("\n\r\n".repeat(LINES / 2).as_bytes()).unwrap();
        connection.write_all(format!("{after}\n").as_bytes()).unwrap();
    });
    let mut peak = 0;
    while lines(&data_dir, "raw/telemetry/1970").is_empty() {
        neighbour.message(&data_dir);
        peak = peak.max(server.resident());
    }
    sender.join().unwrap();
    server.stop();
    neighbour.check(&data_dir);
    assert!(peak < before + (16 << 20), "{before} bytes resident, then {peak}");
    assert_eq!(lines(&data_dir, "raw/telemetry/1970").len(), 1);
    assert!(data_dir.files_like("quarantine/", "").is_empty());
    let metrics = std::fs::read_to_string(metrics.path()).unwrap();
    let count = format!("tcp_ingest_empty_lines_total{{stream=\"telemetry\"}} {LINES}\n");
    assert!(metrics.contains(&count), "{metrics}");
}

/// A kind of line: its outcome, its terminator, and the line for a sensor.
type Kind<'m> = (&'m str, &'m str, &'m dyn Fn(i64) -> String);

#[test]
fn a_line_may_be_cut_anywhere() {
    let note = |note: &str, sensor| reading(0, sensor, 1.0).replacen('{', &format!(r#"{{"{note}": "{note}", "#), 1);
    let kinds: [Kind<'_>; 6] = [
        (ACCEPTED, "\n", &|sensor| reading(0, sensor, 1.0)),
        (ACCEPTED, "\r\n", &|sensor| reading(0, sensor, 1.0)),
        (ACCEPTED, "\n", &|sensor| note("Grüße, 温度 🌡", sensor)),
        ("wrong_type", "\n", &|sensor| reading(0, sensor, 1.0).replace("1.0", "null")),
        ("unknown_value", "\r\n", &|sensor| reading(0, sensor, 1.0).replace("Celcius", "°🌡")),
        ("too_long", "\n", &|sensor| note(&"温".repeat(200), sensor)),
    ];
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "--max-line 1KiB");
    let (mut expected, mut rest) = (Vec::new(), Vec::new());
    for (number, (outcome, terminator, message)) in (1..).zip(kinds) {
        let length = message(number * 10_000).len() + terminator.len();
        // Of the long one, the cuts around the limit and the end.
        let cuts = (1..length).filter(|cut| length < 1000 || (1020..1030).contains(cut) || *cut > length - 9);
        for (sensor, cut) in (number * 10_000..).zip(cuts) {
            let line = message(sensor);
            let mut bytes = format!("{line}{terminator}").into_bytes();
            let second = bytes.split_off(cut);
            let mut connection = server.connect();
            connection.set_nodelay(true).unwrap();
            connection.write_all(&bytes).unwrap();
            rest.push((connection, second));
            expected.push(becomes(outcome, line));
        }
    }
    // So that the pieces do arrive apart.
    std::thread::sleep(Duration::from_millis(200));
    for (connection, second) in &mut rest {
        let next = reading(3600, expected.len().try_into().unwrap(), 1.0);
        connection.write_all(&[second, next.as_bytes(), b"\r\n"].concat()).unwrap();
        expected.push(becomes(ACCEPTED, next));
    }
    let accepted = expected.iter().filter(|(outcome, _)| outcome == ACCEPTED).count();
    until("all is written", || lines(&data_dir, "raw").len() == accepted);
    server.stop();
    let mut found: BTreeMap<String, Line> = BTreeMap::new();
    let mut whole = Vec::new();
    for Kept { outcome, source, line } in kept(&data_dir) {
        if outcome == "too_long" {
            found.entry(source).or_insert((outcome, Vec::new())).1.extend(line);
        } else {
            whole.push((outcome, line));
        }
    }
    check([whole, found.into_values().collect()].concat(), expected);
}

#[test]
fn bytes_that_are_not_text_are_kept_as_they_came() {
    let mut bad: Vec<Vec<u8>> = (0..=255).filter(|byte| !(0x20..0x80).contains(byte)).map(|byte| vec![byte]).collect();
    bad.retain(|bytes| bytes != b"\n");
    // Overlong, surrogates, beyond U+10FFFF, cut short, and UTF-16.
    for bytes in [
        &b"\xc0\x80"[..],
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\xbd\xed\xb8\x80",
        b"\xf4\x90\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf\xbf",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        b"\xff\xfe{\0}\0",
        b"\0\0\0\0",
    ] {
        bad.push(bytes.to_vec());
    }
    let good = reading(0, 1, 1.0);
    let places: [(&str, &str, bool); 7] = [
        (r#"{"x"#, r#"": 1, "timestamp"#, true),
        (r#"{"x": "x"#, r#"y", "timestamp"#, true),
        (r#"{"x": {"#, r#"}, "timestamp"#, false),
        ("", "", false),
        ("", &good, false),
        (&good, "", false),
        (r#"{"timestamp": 0, "sensor_id": 1, "measurement": {"kind": "Temp"#, r#"erature"}}"#, true),
    ];
    let mut expected = vec![becomes(ACCEPTED, good.clone())];
    for bytes in &bad {
        for (before, after, string) in places {
            // Between values these are white space.
            if !string && matches!(bytes[..], [b'\t' | b'\r']) {
                continue;
            }
            let line = [before.as_bytes(), bytes, after.as_bytes()].concat();
            let outcome = if std::str::from_utf8(&line).is_ok() { "not_json" } else { "not_utf8" };
            expected.push(becomes(outcome, line));
        }
    }
    let every: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    expected.push(becomes("not_utf8", every.clone()));
    expected.push(becomes("not_utf8", every.into_iter().rev().collect::<Vec<u8>>()));
    for length in 1..50 {
        expected.push(becomes("not_utf8", vec![0xff; length]));
        expected.push(becomes("not_json", vec![0; length]));
    }
    send_and_check("", expected);
}

#[test]
fn depth_and_size_of_what_is_in_a_line_do_no_harm() {
    const DEPTH: usize = 100_000;
    let ignored = |value: &str| reading(0, 1, 1.0).replacen('{', &format!(r#"{{"ignored": {value}, "#), 1);
    let measured = |value: &str| reading(0, 1, 1.0).replace("1.0", value);
    let sensor = |value: &str| reading(0, 77, 1.0).replace("77", value);
    let nested = |open: &str, inner: &str, close: &str| open.repeat(DEPTH) + inner + &close.repeat(DEPTH);
    let arrays = nested("[", "", "]");
    let objects = nested(r#"{"a":"#, "1", "}");
    let long = |digits| "9".repeat(digits);
    let expected = vec![
        becomes(ACCEPTED, ignored(&arrays)),
        becomes(ACCEPTED, ignored(&objects)),
        becomes("not_json", ignored(&"[".repeat(DEPTH))),
        becomes("not_json", ignored(&r#"{"a":"#.repeat(DEPTH))),
        becomes("not_json", ignored(&(arrays.clone() + "]"))),
        becomes("wrong_type", measured(&arrays)),
        becomes("wrong_type", measured(&objects)),
        becomes("wrong_type", "[".repeat(DEPTH)),
        becomes("missing_field", objects),
        becomes("not_json", "]".repeat(DEPTH)),
        becomes(ACCEPTED, ignored("1e400")),
        becomes(ACCEPTED, ignored("-1e999999999999999999999")),
        becomes(ACCEPTED, ignored(&long(400))),
        becomes(ACCEPTED, ignored(&long(500_000))),
        becomes("not_json", ignored(&format!("{}.", long(400)))),
        becomes(ACCEPTED, measured("1e-400")),
        becomes(ACCEPTED, measured("1.7976931348623157e308")),
        becomes(ACCEPTED, measured(&long(308))),
        becomes(ACCEPTED, measured(&format!("0.{}", long(500_000)))),
        becomes(ACCEPTED, measured(&format!("\"{}\"", long(500_000)))),
        becomes("out_of_range", measured("1e400")),
        becomes("out_of_range", measured("-1e309")),
        becomes("out_of_range", measured(&long(400))),
        becomes("out_of_range", measured(&long(500_000))),
        becomes("not_json", measured("NaN")),
        becomes("not_json", measured("-Infinity")),
        becomes("not_json", measured("01")),
        becomes(ACCEPTED, sensor("9223372036854775807")),
        becomes(ACCEPTED, sensor("-9223372036854775808")),
        becomes("out_of_range", sensor("9223372036854775808")),
        becomes("out_of_range", sensor("-9223372036854775809")),
        becomes("out_of_range", sensor(&long(300))),
        becomes("out_of_range", sensor(&long(400))),
        becomes("out_of_range", sensor("1e400")),
        becomes("wrong_type", sensor("1e3")),
        becomes("wrong_type", sensor("1e-400")),
    ];
    send_and_check("--max-line 1MiB", expected);
}

#[test]
fn every_time_is_accepted_or_rejected_for_a_reason() {
    const YEAR_10000: i64 = 253_402_300_800;
    const YEAR_1: i64 = -62_135_596_800;
    let at = |outcome: &str, time: &dyn ToString| {
        becomes(
            outcome,
            reading(0, 1, 1.0).replacen("\"timestamp\": 0", &format!("\"timestamp\": {}", time.to_string()), 1),
        )
    };
    let (day, now) = (86_400, chrono::Utc::now().timestamp());
    let never = [
        at("time_out_of_bounds", &YEAR_10000),
        at("time_out_of_bounds", &(YEAR_1 - 1)),
        at("time_out_of_bounds", &(i64::MAX / 1_000_000)),
        at("time_out_of_bounds", &(i64::MIN / 1_000_000)),
        at("out_of_range", &(i64::MAX / 1_000_000 + 1)),
        at("out_of_range", &(i64::MIN / 1_000_000 - 1)),
        at("out_of_range", &i64::MAX),
        at("out_of_range", &i64::MIN),
        at("out_of_range", &(i128::from(i64::MAX) + 1)),
        at("out_of_range", &(i128::from(i64::MIN) - 1)),
        at("out_of_range", &u64::MAX),
        at("out_of_range", &i128::MAX),
        at("out_of_range", &"1e19"),
        at("out_of_range", &"1e400"),
        at("out_of_range", &"9".repeat(400)),
        at("wrong_type", &"1e9"),
        at("wrong_type", &"0.0"),
        at("wrong_type", &"-0"),
    ];
    let usual = [
        at(ACCEPTED, &0),
        at(ACCEPTED, &now),
        at(ACCEPTED, &(now + day)),
        at("time_out_of_bounds", &-1),
        at("time_out_of_bounds", &YEAR_1),
        at("time_out_of_bounds", &(now + day + 60)),
        at("time_out_of_bounds", &(YEAR_10000 - 1)),
    ];
    send_and_check("", [&usual[..], &never].concat());
    let wide = [at(ACCEPTED, &0), at(ACCEPTED, &-1), at(ACCEPTED, &YEAR_1), at(ACCEPTED, &(YEAR_10000 - 1))];
    send_and_check("--earliest 0001 --max-ahead 9000years", [&wide[..], &never].concat());
}

/// The descriptors that the server holds.
fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count()
}

#[test]
fn connections_that_are_made_and_reset_cost_nothing_that_stays() {
    const THREADS: i64 = 3;
    const LONG: Duration = Duration::from_secs(5);
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "");
    let mut neighbour = Neighbour::new(&server);
    neighbour.message(&data_dir);
    let (descriptors_before, memory_before, start) = (descriptors(&server), server.resident(), Instant::now());
    let running = AtomicBool::new(true);
    // Connects, sends a part, a line or both, and resets, until told to stop; returns how often and what it sent.
    let resetter = |thread: i64| {
        let (mut made, mut sent) = (0, Vec::new());
        while running.load(Relaxed) {
            let mut connection = server.connect();
            SockRef::from(&connection).set_linger(Some(Duration::ZERO)).unwrap();
            let number = made * THREADS + thread;
            let (line, part) = (reading(0, number, 1.0), format!("{{\"part of\": {number}, "));
            let bytes = match made % 4 {
                0 => String::new(),
                1 => part.clone(),
                2 => line.clone() + "\n",
                _ => format!("{line}\n{part}"),
            };
            connection.write_all(bytes.as_bytes()).unwrap();
            if made % 2 == 1 {
                sent.push(becomes("unfinished", part));
            }
            if made % 4 >= 2 {
                sent.push(becomes(ACCEPTED, line));
            }
            made += 1;
        }
        (made, sent)
    };
    let (mut made, mut peak, mut sent) = (0, 0, BTreeSet::new());
    std::thread::scope(|scope| {
        let resetters: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || resetter(thread))).collect();
        while start.elapsed() < LONG {
            neighbour.message(&data_dir);
            peak = peak.max(server.resident());
            std::thread::sleep(Duration::from_millis(10));
        }
        running.store(false, Relaxed);
        for resetter in resetters {
            let (count, validated) = resetter.join().unwrap();
            made += count;
            sent.extend(validated);
        }
    });
    let took = start.elapsed();
    neighbour.message(&data_dir);
    until("the descriptors are given back", || descriptors(&server) <= descriptors_before + 12);
    peak = peak.max(server.resident());
    let descriptors_after = descriptors(&server);
    server.stop();
    neighbour.check(&data_dir);
    assert!(peak < memory_before + (64 << 20), "{memory_before} bytes resident, then {peak}");
    sent.extend(neighbour.sent.into_iter().map(|line| becomes(ACCEPTED, line)));
    let (all, before) = (all(&data_dir), sent.len());
    for found in all {
        assert!(sent.remove(&found), "was not sent, or is there twice: {found:?}");
    }
    eprintln!(
        "{made} connections reset in {took:?}, {} a minute; {} of {before} lines and parts arrived; \
         {descriptors_before} descriptors, then {descriptors_after}; {memory_before} bytes resident, at most {peak}",
        made * 60_000 / i64::try_from(took.as_millis()).unwrap(),
        before - sent.len()
    );
}

/// The outcome of a line for a decoder that has seen no other.
fn outcome(line: &[u8]) -> &'static str {
    let latest = chrono::Utc::now().timestamp_micros() + 86_400_000_000;
    match Decoder::new(models::Streams::shipped().get("telemetry").unwrap().unwrap().clone()).message(line) {
        Err(rejection) => rejection.reason.label(),
        Ok(Some(time)) if (0..=latest).contains(&time) => ACCEPTED,
        Ok(_) => "time_out_of_bounds",
    }
}

/// The longest line in the test with random bytes.
const MAX_LINE: usize = 4096;

fn random_bytes(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.number().to_le_bytes()[0]).collect()
}

/// A message, as some device may write it.
fn random_message(random: &mut Random) -> Vec<u8> {
    let value = random.below(2_000_000) - 1_000_000;
    let line = reading(random.below(20_000), random.below(1 << 40), f64::from(value) / 1000.0);
    match random.below(6) {
        0 => line.replace(' ', ""),
        1 => line.replacen('{', "{\"note\": \"温 \\u00e9\", ", 1),
        2 => line.replacen('}', "", 1).replacen("measurement", "x\": null, \"measurement", 1) + "}",
        _ => line,
    }
    .into_bytes()
}

/// A line of any kind with its terminator.
fn random_line(random: &mut Random) -> Vec<u8> {
    const TOKENS: [&[u8]; 14] =
        [b"{", b"}", b"[", b"]", b"\"", b"\\", b",", b":", b"-", b"e999", b"0", b"null", b"\xff", b"\xc3\xa9"];
    let mut line = match random.below(20) {
        0..8 => random_message(random),
        8..14 => {
            let mut line = random_message(random);
            for _ in 0..=random.below(3) {
                let at = random.below(line.len());
                let end = at + random.below((line.len() - at).min(4));
                let new = match random.below(3) {
                    0 => random_bytes(random, 1),
                    1 => TOKENS[random.below(TOKENS.len())].to_vec(),
                    _ => line[at / 2..end].to_vec(),
                };
                line.splice(at..end, new);
            }
            line
        }
        14..16 => {
            let length = random.below(300);
            random_bytes(random, length)
        }
        16 => TOKENS.repeat(2)[random.below(14)..].concat(),
        17 => Vec::new(),
        18 => {
            // Around the limit, where it is the padding that decides.
            let mut line = random_message(random);
            line.resize(MAX_LINE - 3 + random.below(6), b' ');
            line
        }
        _ => {
            // A CR at the end of a piece of a long line may be kept or not, so it has none.
            let bound = if random.below(20) == 0 { 200_000 } else { 10_000 };
            let length = MAX_LINE + 1 + random.below(bound);
            random_bytes(random, length)
                .into_iter()
                .map(|byte| if byte.is_ascii_control() { b'x' } else { byte })
                .collect()
        }
    };
    let crlf = line.len() <= MAX_LINE && random.below(3) == 0;
    line.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
    line
}

/// Sends garbage over some connections, stops the server when it has taken all, and compares.
fn exchange_garbage(random: &mut Random) {
    const CONNECTIONS: usize = 12;
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], &format!("--max-line {MAX_LINE}"));
    let streams: Vec<Vec<u8>> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = (0..2000).flat_map(|_| random_line(random)).collect::<Vec<_>>();
            stream.truncate(stream.len() - random.below(300));
            stream
        })
        .collect();
    // Of each connection, what is in pieces: lines over the limit and the last one without an end.
    let (mut whole, mut pieces) = (Vec::new(), BTreeMap::new());
    std::thread::scope(|scope| {
        for stream in &streams {
            let mut connection = server.connect();
            connection.set_nodelay(true).unwrap();
            let mut in_pieces = Vec::new();
            let mut lines: Vec<_> = stream.split(|byte| *byte == b'\n').collect();
            let unfinished = lines.pop().unwrap();
            for line in lines {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if line.len() > MAX_LINE {
                    in_pieces.extend_from_slice(line);
                } else if !line.is_empty() {
                    whole.push(becomes(outcome(line), line));
                }
            }
            if unfinished != b"\r" {
                in_pieces.extend_from_slice(unfinished);
            }
            pieces.insert(format!("tcp {}", connection.local_addr().unwrap()), in_pieces);
            let mut cuts: Vec<_> = (0..500).map(|_| random.below(stream.len())).collect();
            cuts.sort_unstable();
            scope.spawn(move || {
                let mut start = 0;
                for end in cuts.into_iter().chain([stream.len()]) {
                    connection.write_all(&stream[start..end]).unwrap();
                    start = end;
                    if end % 8 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                connection.shutdown(Shutdown::Write).unwrap();
                assert_eq!(connection.read(&mut [0]).unwrap(), 0, "the server has taken all and closes");
            });
        }
    });
    server.stop();
    let (mut found, mut found_pieces) = (Vec::new(), BTreeMap::new());
    for Kept { outcome, source, line } in kept(&data_dir) {
        if ["too_long", "unfinished"].contains(&outcome.as_str()) {
            found_pieces.entry(source).or_insert_with(Vec::new).extend(line);
        } else {
            found.push((outcome, line));
        }
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (outcome, _) in &whole {
        *counts.entry(outcome).or_default() += 1;
    }
    eprintln!("{} bytes in lines of {counts:?}", streams.concat().len());
    check(found, whole);
    assert!(found_pieces == pieces, "what is in pieces is not what was sent");
}

#[test]
fn of_any_garbage_each_line_is_kept_once() {
    exchange_garbage(&mut Random::seeded());
}
