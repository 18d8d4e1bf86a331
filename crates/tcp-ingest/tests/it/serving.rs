//! What tcp-ingest makes of what sources send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::{lines, quarantined};
use harness::{DataDir, Server, epoch, reading, until};

#[test]
fn messages_go_to_the_segment_of_their_hour_byte_for_byte() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "");
    let (one, two) = (epoch("2025-09-02T10"), epoch("2025-09-02T11"));
    let sent = [reading(one, 1, 20.5), reading(two, 1, 21.0), reading(one + 3599, 2, -3.25)];
    server.send(format!("{}\n{}\r\n{}\n", sent[0], sent[1], sent[2]));
    until("it is written", || lines(&data_dir, "raw").len() == 3);
    assert!(data_dir.files_like("raw/", ".json").is_empty(), "nothing is sealed yet");
    server.stop();
    assert!(data_dir.files_like("raw/", ".open").is_empty());
    let ten = data_dir.files_like("raw/telemetry/2025/09/02/10.", ".json");
    assert_eq!(std::fs::read_to_string(&ten[0]).unwrap(), format!("{}\n{}\n", sent[0], sent[2]));
    let eleven = data_dir.files_like("raw/telemetry/2025/09/02/11.", ".json");
    assert_eq!(std::fs::read_to_string(&eleven[0]).unwrap(), format!("{}\n", sent[1]));
    assert!(data_dir.files_like("quarantine/", "").is_empty());
}

#[test]
fn a_message_may_arrive_in_any_two_pieces() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "");
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
    until("all is written", || lines(&data_dir, "raw").len() == sent.len());
    server.stop();
    assert_eq!(lines(&data_dir, "raw"), sent);
}

#[test]
fn what_is_rejected_is_kept_with_the_reason_and_the_rest_goes_on() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "--max-line 1KiB");
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
    until("all is validated", || quarantined(&data_dir).iter().any(|(reason, _)| reason == "unfinished"));
    server.stop();
    assert_eq!(lines(&data_dir, "raw"), vec![good.clone(), good.clone(), good]);
    let records = quarantined(&data_dir);
    let of = |wanted: &str| -> Vec<&str> {
        records.iter().filter(|(reason, _)| reason == wanted).map(|(_, line)| line.as_str()).collect()
    };
    assert_eq!(of("not_json"), ["hello"], "an empty line is kept nowhere");
    assert_eq!(of("wrong_type"), ["{\"timestamp\": 1.0}"]);
    assert_eq!(of("time_out_of_bounds"), [old, far]);
    assert_eq!(of("unfinished"), ["{\"unfinished"]);
    assert_eq!(of("not_utf8"), [""], "its bytes are in line_base64");
    assert!(lines(&data_dir, "quarantine").iter().any(|line| line.contains("\"line_base64\":\"//4=\"")));
    assert_eq!(of("too_long").concat(), long, "a line over the limit is kept, in pieces");
    assert!(lines(&data_dir, "quarantine").iter().all(|line| line.contains("\"source\":\"tcp 127.0.0.1:")));
}

#[test]
fn a_byte_order_mark_is_named() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "");
    let line = reading(0, 1, 1.0);
    let utf_16: Vec<u8> = ['\u{feff}'].into_iter().chain(line.chars()).flat_map(|c| (c as u16).to_le_bytes()).collect();
    server.send(format!("\u{feff}{line}\n{line}\n"));
    server.send([&utf_16[..], b"\n"].concat());
    until("all is validated", || quarantined(&data_dir).len() == 2 && lines(&data_dir, "raw").len() == 1);
    server.stop();
    let records = lines(&data_dir, "quarantine");
    for (encoding, reason) in [("UTF-8", "not_json"), ("UTF-16", "not_utf8")] {
        let named = |record: &String| {
            record.contains(&format!("byte order mark (BOM) of {encoding}: ")) && record.contains(reason)
        };
        assert_eq!(records.iter().filter(|record| named(record)).count(), 1, "{records:?}");
    }
}

#[test]
fn an_endless_line_needs_no_memory_and_loses_no_byte() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "");
    let mut connection = server.connect();
    let block = vec![b'x'; 1 << 20];
    for _ in 0..48 {
        connection.write_all(&block).unwrap();
    }
    connection.write_all(format!("\n{}\n", reading(0, 1, 1.0)).as_bytes()).unwrap();
    until("the line after it is written", || lines(&data_dir, "raw").len() == 1);
    assert!(server.resident() < 40 << 20, "{} bytes", server.resident());
    server.stop();
    let kept: usize = quarantined(&data_dir).iter().map(|(_, line)| line.len()).sum();
    assert_eq!(kept, 48 << 20);
}

#[test]
fn a_long_line_in_tiny_segments_fits_into_the_receive_queue() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "--max-line 256KiB");
    let mut connection = server.connect();
    connection.set_nodelay(true).unwrap();
    let line = reading(0, 1, 1.0).replacen('{', &format!("{{\"padding\": \"{}\", ", "p".repeat(250_000)), 1) + "\n";
    for piece in line.as_bytes().chunks(97) {
        connection.write_all(piece).unwrap();
    }
    until("it is written", || lines(&data_dir, "raw").len() == 1);
    server.stop();
    assert_eq!(lines(&data_dir, "raw")[0].len() + 1, line.len());
}

#[test]
fn a_stream_without_event_time_is_stamped_with_the_time_of_arrival() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry", "measurement"], "");
    let message = r#"{"kind": "Temperature", "value": 7, "unit": "Celsius"}"#;
    let before = chrono::Utc::now().timestamp_micros();
    let mut connection = TcpStream::connect(server.addresses[1]).unwrap();
    connection.write_all(format!("{message}\r\nnonsense\n{message}\n").as_bytes()).unwrap();
    until("it is written", || lines(&data_dir, "raw").len() == 2);
    server.stop();
    let after = chrono::Utc::now().timestamp_micros();
    for line in lines(&data_dir, "raw") {
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!((before..=after).contains(&record["arrival_time_us"].as_i64().unwrap()), "{line}");
        assert!(line.ends_with(&format!(",\"message\":{message}}}")), "{line}");
    }
    assert_eq!(data_dir.files_like("raw/measurement/", ".json").len(), data_dir.files_like("raw/", ".json").len());
}

#[test]
fn a_reset_connection_keeps_what_it_brought() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "");
    let connection = server.connect();
    let socket = socket2::SockRef::from(&connection);
    (&connection).write_all(format!("{}\n{{\"half", reading(0, 1, 1.0)).as_bytes()).unwrap();
    until("the line is written", || lines(&data_dir, "raw").len() == 1);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(connection);
    until("it is over", || server.log().contains("reset") || !quarantined(&data_dir).is_empty());
    server.send(format!("{}\n", reading(0, 2, 1.0)));
    until("others are served", || lines(&data_dir, "raw").len() == 2);
    server.stop();
}

#[test]
fn urgent_data_cuts_a_line_and_stops_nothing() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "");
    let connection = server.connect();
    let line = reading(0, 1, 1.0) + "\n";
    (&connection).write_all(format!("{line}{}", &line[..20]).as_bytes()).unwrap();
    until("the first line is written", || lines(&data_dir, "raw").len() == 1);
    socket2::SockRef::from(&connection).send_out_of_band(b"!").unwrap();
    (&connection).write_all(&line.as_bytes()[20..]).unwrap();
    (&connection).write_all(line.repeat(97).as_bytes()).unwrap();
    drop(connection);
    until("the rest is written", || lines(&data_dir, "raw").len() == 98);
    server.stop();
    let kept: String = quarantined(&data_dir).iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(kept, format!("{}!{}", &line[..20], line[20..].trim_end()));
}

#[test]
fn more_connections_than_descriptors_wait_and_none_is_lost() {
    let data_dir = DataDir::new();
    let mut limited = std::process::Command::new("prlimit");
    limited.args(["--nofile=150", "--"]).arg(data_dir.program("tcp-ingest").get_program());
    limited.arg("--data-dir").arg(data_dir.path());
    let server = Server::start_command(limited, &["telemetry"], "--max-open 16");
    assert!(server.log().contains("allows only 38 of 10000 connections"), "{}", server.log());
    let mut connections: Vec<_> = (0..120).map(|_| server.connect()).collect();
    for (sensor, connection) in (0..).zip(&mut connections) {
        connection.write_all((reading(0, sensor, 1.0) + "\n").as_bytes()).unwrap();
    }
    until("the first are served", || lines(&data_dir, "raw").len() >= 38);
    server.stop();
    assert_eq!(lines(&data_dir, "raw").len(), 120);
}

#[test]
fn open_segments_are_bounded_and_sealed_by_size_and_age() {
    let data_dir = DataDir::new();
    let server =
        Server::start(&data_dir, &["telemetry"], "--max-open 16 --workers 1 --seal-after 300ms --seal-size 1KiB");
    let start = epoch("2025-01-01");
    let hours: Vec<_> = (0..100).map(|hour| reading(start + hour * 3600, 1, 1.0)).collect();
    server.send(hours.join("\n") + "\n");
    until("all hours are written", || lines(&data_dir, "raw").len() == 100);
    assert!(data_dir.files_like("raw/", ".open").len() <= 48, "those beyond the bound are being sealed");
    until("all are sealed by age", || data_dir.files_like("raw/", ".open").is_empty());
    let many: Vec<_> = (0..1000).map(|second| reading(start + second, 2, 1.0)).collect();
    for part in many.chunks(10) {
        server.send(part.join("\n") + "\n");
    }
    until("all is written", || lines(&data_dir, "raw").len() == 1100);
    server.stop();
    assert!(data_dir.files_like("raw/telemetry/2025/01/01/00.", ".json").len() > 10, "sealed by size");
    let mut sent = [hours, many].concat();
    sent.sort();
    assert_eq!(lines(&data_dir, "raw"), sent);
}

#[test]
fn connections_over_the_limit_wait_their_turn_and_idle_ones_are_closed() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "--max-connections 2 --idle-timeout 500ms");
    let mut idle = [server.connect(), server.connect()];
    idle[0].write_all(b"{\"half").unwrap();
    server.send(format!("{}\n", reading(0, 1, 1.0)));
    until("it is reported", || server.log().contains("--max-connections"));
    assert_eq!(idle[0].read(&mut [0]).unwrap(), 0, "the idle connection is closed");
    until("the third is served", || lines(&data_dir, "raw").len() == 1);
    server.stop();
    assert_eq!(quarantined(&data_dir), [("unfinished".to_owned(), "{\"half".to_owned())]);
}

#[test]
fn statistics_are_logged_on_request_and_written_as_metrics() {
    let data_dir = DataDir::new();
    let file = harness::tempfile::NamedTempFile::new().unwrap();
    let server = Server::start(&data_dir, &["telemetry"], &format!("--metrics-file {}", file.path().display()));
    server.send(format!("\n{}\r\n\r\nnonsense\n", reading(0, 1, 1.0)));
    until("it is written", || !quarantined(&data_dir).is_empty());
    server.signal("-USR1");
    until("it is logged", || server.log().contains("telemetry: 1 line accepted"));
    assert!(server.log().contains("2 empty lines, rejected: not_json 1"), "{}", server.log());
    server.stop();
    let metrics = std::fs::read_to_string(file.path()).unwrap();
    for line in [
        "tcp_ingest_lines_total{stream=\"telemetry\"} 1",
        "tcp_ingest_rejected_lines_total{stream=\"telemetry\",reason=\"not_json\"} 1",
        "tcp_ingest_empty_lines_total{stream=\"telemetry\"} 2",
        "tcp_ingest_connections_total 1",
        "tcp_ingest_open_segments 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn a_thousand_connections_under_load_need_little_memory() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "");
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
    until("all is written", || lines(&data_dir, "raw").len() == 400_000);
    peak = peak.max(server.resident());
    server.stop();
    assert!(peak < 100 << 20, "{peak} bytes resident");
}

#[test]
fn mistakes_on_the_command_line_are_explained() {
    let data_dir = DataDir::new();
    for (arguments, words) in [
        ("", "--listen"),
        ("--listen telemetry", "STREAM=ADDRESS:PORT"),
        ("--listen ../x=127.0.0.1:1", "is not a name"),
        ("--listen telemetry=localhost", "is not an IP address with a port"),
        ("--stdin telemetry --max-line 1GiB", "1KiB to 1MiB"),
    ] {
        let run = data_dir.run("tcp-ingest", arguments).expect(2);
        assert!(run.stderr.contains(words), "{arguments}: {}", run.stderr);
    }
    let run = data_dir.run("tcp-ingest", "--stdin humidity").expect(2);
    assert!(run.stderr.contains("there are measurement, telemetry"), "{}", run.stderr);
}
