//! What tcp-ingest makes of what sources send.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::process::Stdio;
use std::time::Duration;

use common::{lines, quarantined};
use harness::{House, Run, Server, epoch, reading, until};

#[test]
fn messages_go_to_the_segment_of_their_hour_byte_for_byte() {
    let house = House::new();
    let server = Server::start(&house, &["telemetry"], "");
    let (one, two) = (epoch("2025-09-02T10"), epoch("2025-09-02T11"));
    let sent = [reading(one, 1, 20.5), reading(two, 1, 21.0), reading(one + 3599, 2, -3.25)];
    server.send(format!("{}\n{}\r\n{}\n", sent[0], sent[1], sent[2]));
    until("it is written", || lines(&house, "raw").len() == 3);
    assert!(house.files_like("raw/", ".json").is_empty(), "nothing is sealed yet");
    server.stop();
    assert!(house.files_like("raw/", ".open").is_empty());
    let ten = house.files_like("raw/telemetry/2025/09/02/10.", ".json");
    assert_eq!(std::fs::read_to_string(&ten[0]).unwrap(), format!("{}\n{}\n", sent[0], sent[2]));
    let eleven = house.files_like("raw/telemetry/2025/09/02/11.", ".json");
    assert_eq!(std::fs::read_to_string(&eleven[0]).unwrap(), format!("{}\n", sent[1]));
    assert!(house.files_like("quarantine/", "").is_empty());
}

#[test]
fn a_message_may_arrive_in_any_two_pieces() {
    let house = House::new();
    let server = Server::start(&house, &["telemetry"], "");
    let mut connection = server.connect();
    connection.set_nodelay(true).unwrap();
    let mut sent = Vec::new();
    for split in 1..=reading(0, 1000, 20.5).len() {
        let line = reading(0, 1000 + i64::try_from(split).unwrap(), 20.5) + "\n";
        let (first, second) = line.as_bytes().split_at(split.min(line.len()));
        connection.write_all(first).unwrap();
        // So that the pieces do arrive apart.
        std::thread::sleep(Duration::from_millis(1));
        connection.write_all(second).unwrap();
        sent.push(line.trim_end().to_owned());
    }
    drop(connection);
    until("all is written", || lines(&house, "raw").len() == sent.len());
    server.stop();
    assert_eq!(lines(&house, "raw"), sent);
}

#[test]
fn what_is_rejected_is_kept_with_the_reason_and_the_rest_goes_on() {
    let house = House::new();
    let server = Server::start(&house, &["telemetry"], "--max-line 1KiB");
    let good = reading(epoch("2025-09-02T10"), 1, 20.5);
    let long = "x".repeat(300_000);
    let far = reading(4_102_444_800, 1, 1.0);
    let old = reading(-1, 1, 1.0);
    let mut bytes = Vec::new();
    for line in ["hello", &good, "", &long, &good, "{\"timestamp\": 1.0}", &far, &old, &good] {
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(b"\xff\xfe\n{\"unfinished");
    server.send(bytes);
    until("all is judged", || quarantined(&house).iter().any(|(reason, _)| reason == "unfinished"));
    server.stop();
    assert_eq!(lines(&house, "raw"), vec![good.clone(), good.clone(), good]);
    let records = quarantined(&house);
    let of = |wanted: &str| -> Vec<&str> {
        records.iter().filter(|(reason, _)| reason == wanted).map(|(_, line)| line.as_str()).collect()
    };
    assert_eq!(of("not_json"), ["", "hello"]);
    assert_eq!(of("wrong_type"), ["{\"timestamp\": 1.0}"]);
    assert_eq!(of("time_out_of_bounds"), [old, far]);
    assert_eq!(of("unfinished"), ["{\"unfinished"]);
    assert_eq!(of("not_utf8"), [""], "its bytes are in line_base64");
    assert!(lines(&house, "quarantine").iter().any(|line| line.contains("\"line_base64\":\"//4=\"")));
    assert_eq!(of("too_long").concat(), long, "a line over the limit is kept, in pieces");
    assert!(lines(&house, "quarantine").iter().all(|line| line.contains("\"source\":\"tcp 127.0.0.1:")));
}

#[test]
fn an_endless_line_needs_no_memory_and_loses_no_byte() {
    let house = House::new();
    let server = Server::start(&house, &["telemetry"], "");
    let mut connection = server.connect();
    let block = vec![b'x'; 1 << 20];
    for _ in 0..48 {
        connection.write_all(&block).unwrap();
    }
    connection.write_all(format!("\n{}\n", reading(0, 1, 1.0)).as_bytes()).unwrap();
    until("the line after it is written", || lines(&house, "raw").len() == 1);
    assert!(server.resident() < 40 << 20, "{} bytes", server.resident());
    server.stop();
    let kept: usize = quarantined(&house).iter().map(|(_, line)| line.len()).sum();
    assert_eq!(kept, 48 << 20);
}

#[test]
fn a_long_line_in_tiny_segments_fits_into_the_receive_queue() {
    let house = House::new();
    let server = Server::start(&house, &["telemetry"], "--max-line 256KiB");
    let mut connection = server.connect();
    connection.set_nodelay(true).unwrap();
    let line = reading(0, 1, 1.0).replacen('{', &format!("{{\"padding\": \"{}\", ", "p".repeat(250_000)), 1) + "\n";
    for piece in line.as_bytes().chunks(97) {
        connection.write_all(piece).unwrap();
    }
    until("it is written", || lines(&house, "raw").len() == 1);
    server.stop();
    assert_eq!(lines(&house, "raw")[0].len() + 1, line.len());
}

#[test]
fn a_stream_without_event_time_is_stamped_with_the_time_of_arrival() {
    let house = House::new();
    let server = Server::start(&house, &["telemetry", "measurement"], "");
    let message = r#"{"kind": "Temperature", "value": 7, "unit": "Celsius"}"#;
    let before = chrono::Utc::now().timestamp_micros();
    let mut connection = TcpStream::connect(server.addresses[1]).unwrap();
    connection.write_all(format!("{message}\r\nnonsense\n{message}\n").as_bytes()).unwrap();
    until("it is written", || lines(&house, "raw").len() == 2);
    server.stop();
    let after = chrono::Utc::now().timestamp_micros();
    for line in lines(&house, "raw") {
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!((before..=after).contains(&record["arrival_time_us"].as_i64().unwrap()), "{line}");
        assert!(line.ends_with(&format!(",\"message\":{message}}}")), "{line}");
    }
    assert_eq!(house.files_like("raw/measurement/", ".json").len(), house.files_like("raw/", ".json").len());
}

#[test]
fn a_reset_connection_keeps_what_it_brought() {
    let house = House::new();
    let server = Server::start(&house, &["telemetry"], "");
    let connection = server.connect();
    let socket = socket2::SockRef::from(&connection);
    (&connection).write_all(format!("{}\n{{\"half", reading(0, 1, 1.0)).as_bytes()).unwrap();
    until("the line is written", || lines(&house, "raw").len() == 1);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(connection);
    until("it is over", || server.log().contains("reset") || !quarantined(&house).is_empty());
    server.send(format!("{}\n", reading(0, 2, 1.0)));
    until("others are served", || lines(&house, "raw").len() == 2);
    server.stop();
}

#[test]
fn urgent_data_cuts_a_line_and_stops_nothing() {
    let house = House::new();
    let server = Server::start(&house, &["telemetry"], "");
    let connection = server.connect();
    let line = reading(0, 1, 1.0) + "\n";
    (&connection).write_all(format!("{line}{}", &line[..20]).as_bytes()).unwrap();
    until("the first line is written", || lines(&house, "raw").len() == 1);
    socket2::SockRef::from(&connection).send_out_of_band(b"!").unwrap();
    (&connection).write_all(&line.as_bytes()[20..]).unwrap();
    (&connection).write_all(line.repeat(97).as_bytes()).unwrap();
    drop(connection);
    until("the rest is written", || lines(&house, "raw").len() == 98);
    server.stop();
    let kept: String = quarantined(&house).iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(kept, format!("{}!{}", &line[..20], line[20..].trim_end()));
}

#[test]
fn more_connections_than_descriptors_wait_and_none_is_lost() {
    let house = House::new();
    let mut limited = std::process::Command::new("prlimit");
    limited.args(["--nofile=150", "--"]).arg(house.program("tcp-ingest").get_program());
    limited.arg("--data-dir").arg(house.path());
    let server = Server::start_command(limited, &["telemetry"], "--max-open 16");
    assert!(server.log().contains("allows only 38 of 10000 connections"), "{}", server.log());
    let mut connections: Vec<_> = (0..120).map(|_| server.connect()).collect();
    for (sensor, connection) in (0..).zip(&mut connections) {
        connection.write_all((reading(0, sensor, 1.0) + "\n").as_bytes()).unwrap();
    }
    until("the first are served", || lines(&house, "raw").len() >= 38);
    server.stop();
    assert_eq!(lines(&house, "raw").len(), 120);
}

#[test]
fn a_pipe_that_pauses_is_sealed_and_a_reader_that_stalls_can_be_left() {
    let house = House::new();
    let mut command = house.program("tcp-ingest");
    command.args(["--stdin", "telemetry", "--stdout", "--seal-after", "200ms", "--sync-every", "50ms"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all((reading(0, 1, 1.0) + "\n").as_bytes()).unwrap();
    until("it is sealed", || house.files_like("raw/", ".json").len() == 1);
    // Nobody reads its output: it fills, and then it may only be left by a signal.
    let feeder =
        std::thread::spawn(
            move || while input.write_all((reading(0, 2, 1.0) + "\n").repeat(1000).as_bytes()).is_ok() {},
        );
    until("the output is full", || {
        let before = lines(&house, "raw").len();
        std::thread::sleep(Duration::from_millis(100));
        before > 1000 && lines(&house, "raw").len() == before
    });
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    feeder.join().unwrap();
}

#[test]
fn a_reader_that_stalls_after_the_end_of_the_input_can_be_left_too() {
    let house = House::new();
    let mut command = house.program("tcp-ingest");
    command.args(["--stdin", "telemetry", "--stdout"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // More than a pipe holds, and less than is held for the reader.
    child.stdin.take().unwrap().write_all((reading(0, 1, 1.0) + "\n").repeat(2000).as_bytes()).unwrap();
    until("all is sealed", || house.files_like("raw/", ".open").is_empty() && lines(&house, "raw").len() == 2000);
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none(), "it waits for the reader");
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    until("it ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130), "all is written, but not all is passed on");
}

#[test]
fn open_segments_are_bounded_and_sealed_by_size_and_age() {
    let house = House::new();
    let server = Server::start(&house, &["telemetry"], "--max-open 16 --workers 1 --seal-after 300ms --seal-size 1KiB");
    let start = epoch("2025-01-01");
    let hours: Vec<_> = (0..100).map(|hour| reading(start + hour * 3600, 1, 1.0)).collect();
    server.send(hours.join("\n") + "\n");
    until("all hours are written", || lines(&house, "raw").len() == 100);
    assert!(house.files_like("raw/", ".open").len() <= 48, "those beyond the bound are being sealed");
    until("all are sealed by age", || house.files_like("raw/", ".open").is_empty());
    let many: Vec<_> = (0..1000).map(|second| reading(start + second, 2, 1.0)).collect();
    for part in many.chunks(10) {
        server.send(part.join("\n") + "\n");
    }
    until("all is written", || lines(&house, "raw").len() == 1100);
    server.stop();
    assert!(house.files_like("raw/telemetry/2025/01/01/00.", ".json").len() > 10, "sealed by size");
    let mut sent = [hours, many].concat();
    sent.sort();
    assert_eq!(lines(&house, "raw"), sent);
}

#[test]
fn connections_over_the_limit_wait_their_turn_and_idle_ones_are_closed() {
    let house = House::new();
    let server = Server::start(&house, &["telemetry"], "--max-connections 2 --idle-timeout 500ms");
    let mut idle = [server.connect(), server.connect()];
    idle[0].write_all(b"{\"half").unwrap();
    server.send(format!("{}\n", reading(0, 1, 1.0)));
    until("it is told", || server.log().contains("--max-connections"));
    assert_eq!(idle[0].read(&mut [0]).unwrap(), 0, "the idle connection is closed");
    until("the third is served", || lines(&house, "raw").len() == 1);
    server.stop();
    assert_eq!(quarantined(&house), [("unfinished".to_owned(), "{\"half".to_owned())]);
}

#[test]
fn sigterm_takes_what_the_kernel_holds() {
    for round in 0..5 {
        let house = House::new();
        let server = Server::start(&house, &["telemetry"], "");
        let line = reading(0, round, 1.0) + "\n";
        let mut connections: Vec<_> = (0..20).map(|_| server.connect()).collect();
        for connection in &mut connections {
            connection.write_all(line.repeat(2000).as_bytes()).unwrap();
        }
        // No waiting: most of it is still in the kernel, some connections are not even accepted.
        let log = server.stop();
        assert_eq!(lines(&house, "raw").len(), 40_000, "{log}");
    }
}

/// How many bytes of data the receiver's kernel has acknowledged (`tcpi_bytes_acked` of linux/tcp.h, which counts the SYN).
fn acknowledged(source: &TcpStream) -> usize {
    const BYTES_ACKED: usize = 120;
    let mut info = [0_u8; BYTES_ACKED + 8];
    let mut length = u32::try_from(info.len()).unwrap();
    // SAFETY: the kernel writes no more than `length` bytes, and the buffer has as many.
    let done = unsafe {
        let buffer = info.as_mut_ptr().cast();
        libc::getsockopt(source.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, buffer, &raw mut length)
    };
    assert_eq!(done, 0);
    usize::try_from(u64::from_ne_bytes(info[BYTES_ACKED..].try_into().unwrap())).unwrap() - 1
}

#[test]
fn of_a_source_that_never_pauses_sigterm_takes_every_byte_that_was_acknowledged() {
    for pause in [Duration::ZERO, Duration::from_micros(200), Duration::from_millis(5)] {
        let house = House::new();
        let server = Server::start(&house, &["telemetry"], "");
        let mut source = server.connect();
        let sender = std::thread::spawn(move || {
            let mut sent = 0;
            while source.write_all((reading(0, sent, 1.0) + "\n").repeat(50).as_bytes()).is_ok() {
                sent += 1;
                std::thread::sleep(pause);
            }
            source
        });
        until("it is served", || lines(&house, "raw").len() > 200);
        let log = server.stop();
        let acknowledged = acknowledged(&sender.join().unwrap());
        let raw: usize = lines(&house, "raw").iter().map(|line| line.len() + 1).sum();
        // The pieces of a line that was cut; the last may have had a terminator.
        let cut: usize = quarantined(&house).iter().map(|(_, line)| line.len() + 1).sum();
        assert!(
            raw + cut >= acknowledged,
            "{} of {acknowledged} bytes are lost: {log}",
            acknowledged.saturating_sub(raw + cut)
        );
    }
}

#[test]
fn a_pipe_is_read_to_its_end_and_passed_on() {
    let house = House::new();
    let good: Vec<_> = (0..3).map(|sensor| reading(0, sensor, 1.0)).collect();
    let run = |input: String| {
        let mut child = house
            .program("tcp-ingest")
            .args(["--stdin", "telemetry", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Run::from(child.wait_with_output().unwrap())
    };
    let clean = run(format!("{}\n{}", good[0], good[1])).expect(0);
    assert_eq!(clean.stdout, format!("{}\n{}\n", good[0], good[1]), "a complete last line needs no terminator");
    assert_eq!(clean.stderr, "");
    let torn = run(format!("nonsense\n{}\n{}", good[2], &good[0][..20])).expect(3);
    assert_eq!(torn.stdout, format!("{}\n", good[2]));
    assert!(torn.stderr.contains("2 lines were rejected"), "{}", torn.stderr);
    assert_eq!(lines(&house, "raw"), good);
    assert!(house.files_like("raw/", ".open").is_empty());
    assert_eq!(quarantined(&house).len(), 2);
}

#[test]
fn statistics_are_logged_on_request_and_written_as_metrics() {
    let house = House::new();
    let file = harness::tempfile::NamedTempFile::new().unwrap();
    let server = Server::start(&house, &["telemetry"], &format!("--metrics-file {}", file.path().display()));
    server.send(format!("{}\nnonsense\n", reading(0, 1, 1.0)));
    until("it is written", || !quarantined(&house).is_empty());
    server.signal("-USR1");
    until("it is logged", || server.log().contains("telemetry: 1 line accepted"));
    assert!(server.log().contains("not_json 1"));
    server.stop();
    let metrics = std::fs::read_to_string(file.path()).unwrap();
    for line in [
        "tcp_ingest_lines_total{stream=\"telemetry\"} 1",
        "tcp_ingest_rejected_lines_total{stream=\"telemetry\",reason=\"not_json\"} 1",
        "tcp_ingest_connections_total 1",
        "tcp_ingest_open_segments 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn a_thousand_connections_under_load_need_little_memory() {
    let house = House::new();
    let server = Server::start(&house, &["telemetry"], "");
    let line = reading(0, 1, 1.0) + "\n";
    let mut connections: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    let mut peak = 0;
    for _ in 0..20 {
        for connection in &mut connections {
            connection.write_all(line.repeat(20).as_bytes()).unwrap();
        }
        peak = peak.max(server.resident());
    }
    drop(connections);
    until("all is written", || lines(&house, "raw").len() == 400_000);
    peak = peak.max(server.resident());
    server.stop();
    assert!(peak < 100 << 20, "{peak} bytes resident");
}

#[test]
fn mistakes_on_the_command_line_are_explained() {
    let house = House::new();
    for (arguments, words) in [
        ("", "--listen"),
        ("--listen telemetry", "STREAM=ADDRESS:PORT"),
        ("--listen ../x=127.0.0.1:1", "is not a name"),
        ("--listen telemetry=localhost", "is not an IP address with a port"),
        ("--stdin telemetry --max-line 1GiB", "1KiB to 1MiB"),
    ] {
        let run = house.run("tcp-ingest", arguments).expect(2);
        assert!(run.stderr.contains(words), "{arguments}: {}", run.stderr);
    }
    let run = house.run("tcp-ingest", "--stdin humidity").expect(2);
    assert!(run.stderr.contains("there are telemetry and measurement"), "{}", run.stderr);
}
