//! Damaged lines: they go to quarantine with file, line and reason, and take no other line with them.

use std::collections::HashSet;
use std::path::Path;

use crate::common::{HOUR, lineage, parquet, quarantine, relative, rows, sensors};
use harness::{DataDir, epoch, reading};
use serde_json::Value;

fn line(sensor: i64) -> String {
    reading(epoch(HOUR) + sensor % 3600, sensor, 20.5)
}

/// Source, reason and bytes of a record.
fn record(record: &Value) -> (&str, &str, &str) {
    let text = |key: &str| record[key].as_str().unwrap_or_default();
    (text("source"), text("reason"), if record["line"].is_string() { text("line") } else { text("line_base64") })
}

fn source(data_dir: &DataDir, segment: &Path, line: i64) -> String {
    format!("{}:{line}", relative(data_dir, segment))
}

#[test]
fn a_damaged_line_in_the_middle_goes_to_quarantine_alone() {
    let data_dir = DataDir::new();
    let wrong = line(2).replace("Celcius", "Kelvin");
    let segment = data_dir.seal("telemetry", HOUR, &[line(1), wrong.clone(), line(3)]);
    let good = data_dir.seal("telemetry", HOUR, &[line(4)]);
    let run = data_dir.run("compact", "").expect(3);
    assert!(run.stderr.contains(segment.to_str().unwrap()) && run.stderr.contains("line 2"), "{}", run.stderr);
    assert!(run.stderr.contains("measurement.unit") && !run.stderr.contains(good.to_str().unwrap()), "{}", run.stderr);

    assert_eq!(sensors(&data_dir), [1, 3, 4]);
    let records = quarantine(&data_dir);
    assert_eq!(records.len(), 1);
    assert_eq!(record(&records[0]), (&*source(&data_dir, &segment, 2), "unknown_value", &*wrong));
    assert!(records[0]["detail"].as_str().unwrap().contains("Kelvin"));
    let (segments, count) = lineage(&parquet(&data_dir, "telemetry", HOUR));
    assert_eq!(segments.iter().map(|s| (s.lines, s.damaged)).collect::<Vec<_>>(), [(3, 1), (1, 0)]);
    assert_eq!(count, 3);
    assert_eq!(data_dir.files_like("raw/", ".json").len(), 0);
    // Done is done.
    data_dir.run("compact", "").expect(0);
    assert_eq!(quarantine(&data_dir).len(), 1);
}

#[test]
fn every_kind_of_damage_is_found_at_its_line() {
    let data_dir = DataDir::new();
    let mut bytes = Vec::new();
    bytes.extend(format!("{}\n", line(1)).bytes());
    bytes.extend([0; 4096]);
    bytes.extend(format!("\n{}\r\n", line(2)).bytes());
    bytes.extend(b"{\"timestamp\": \xff}\n\n\r\n");
    bytes.extend(format!("{} {}\n", line(3), line(4)).bytes());
    bytes.extend(format!("{}\n", &line(5)[..40]).bytes());
    bytes.extend(b"42\n[1,2]\n");
    bytes.extend(line(6).bytes());
    let segment = data_dir.seal_bytes("telemetry", HOUR, &bytes);
    data_dir.run("compact", "").expect(3);
    assert_eq!(sensors(&data_dir), [1, 2, 6]);
    let records = quarantine(&data_dir);
    let found: Vec<_> = records.iter().map(record).map(|(source, reason, _)| (source, reason)).collect();
    let sources: Vec<_> = [2, 4, 5, 6, 7, 8, 9, 10].map(|line| source(&data_dir, &segment, line)).to_vec();
    let reasons = ["not_json", "not_utf8", "not_json", "not_json", "not_json", "not_json", "wrong_type", "wrong_type"];
    assert_eq!(found, sources.iter().map(String::as_str).zip(reasons).collect::<Vec<_>>());
    assert_eq!(record(&records[0]).2, "\0".repeat(4096));
    assert_eq!(records[1]["line_base64"].as_str().unwrap(), "eyJ0aW1lc3RhbXAiOiD/fQ==");
    let (segments, count) = lineage(&parquet(&data_dir, "telemetry", HOUR));
    assert_eq!((segments[0].lines, segments[0].damaged, count), (11, 8, 3));
}

#[test]
fn a_last_line_without_a_terminator_is_a_line() {
    for (tail, rows, damaged) in [(line(2), 2, 0), (line(2)[..50].to_owned(), 1, 1)] {
        let data_dir = DataDir::new();
        data_dir.seal_bytes("telemetry", HOUR, format!("{}\n{tail}", line(1)).as_bytes());
        data_dir.run("compact", "").expect(if damaged == 0 { 0 } else { 3 });
        assert_eq!((sensors(&data_dir).len(), quarantine(&data_dir).len()), (rows, damaged));
        let (segments, _) = lineage(&parquet(&data_dir, "telemetry", HOUR));
        assert_eq!((segments[0].lines, segments[0].damaged), (2, damaged as u64));
    }
}

#[test]
fn line_numbers_are_right_across_the_pieces_of_a_large_segment() {
    let data_dir = DataDir::new();
    let bad: Vec<i64> = vec![0, 77_777, 123_456, 199_999];
    let lines: Vec<_> = (0..200_000).map(|n| if bad.contains(&n) { format!("bad {n}") } else { line(n) }).collect();
    let segment = data_dir.seal("telemetry", HOUR, &lines);
    data_dir.run("compact", "").expect(3);
    let records = quarantine(&data_dir);
    let found: Vec<_> =
        records.iter().map(record).map(|(source, _, line)| (source.to_owned(), line.to_owned())).collect();
    let expected: Vec<_> = bad.iter().map(|n| (source(&data_dir, &segment, n + 1), format!("bad {n}"))).collect();
    assert_eq!(found, expected);
    assert_eq!(sensors(&data_dir), (0..200_000).filter(|n| !bad.contains(n)).collect::<Vec<_>>());
}

#[test]
fn an_absurdly_long_line_goes_to_quarantine_in_pieces() {
    let data_dir = DataDir::new();
    // One that is still held whole, and one that is not.
    let (long, longer) = ("x".repeat(3 << 20), "y".repeat(40 << 20));
    let segment =
        data_dir.seal_bytes("telemetry", HOUR, format!("{}\n{long}\n{longer}\n{}\n", line(1), line(2)).as_bytes());
    data_dir.run("compact", "").expect(3);
    assert_eq!(sensors(&data_dir), [1, 2]);
    for (number, reason, line) in [(2, "not_json", long), (3, "too_long", longer)] {
        let source = source(&data_dir, &segment, number);
        let records = quarantine(&data_dir);
        let parts: Vec<_> = records.iter().map(record).filter(|(place, ..)| *place == source).collect();
        assert!(parts.len() > 1 && parts.iter().all(|part| part.1 == reason && part.2.len() <= 1 << 20));
        assert!(parts.iter().map(|part| part.2).collect::<String>() == line);
    }
    let (segments, count) = lineage(&parquet(&data_dir, "telemetry", HOUR));
    assert_eq!((segments[0].lines, segments[0].damaged, count), (4, 2, 2));
}

#[test]
fn a_segment_of_nothing_but_damage_leaves_an_hour_without_rows() {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &["a".to_owned(), "b".to_owned()]);
    data_dir.run("compact", "").expect(3);
    let (segments, count) = lineage(&parquet(&data_dir, "telemetry", HOUR));
    assert_eq!((segments[0].lines, segments[0].damaged, count), (2, 2, 0));
    assert_eq!(data_dir.files_like("raw/", ".json").len(), 0);
    data_dir.seal("telemetry", HOUR, &[line(1)]);
    data_dir.run("compact", "").expect(0);
    assert_eq!(sensors(&data_dir), [1]);
}

#[test]
fn a_segment_that_cannot_be_read_fails_its_hour_only() {
    let data_dir = DataDir::new();
    let beside = data_dir.seal("telemetry", "2025-09-02T09", &[reading(epoch("2025-09-02T09"), 0, 1.0)]);
    let good = data_dir.seal("telemetry", HOUR, &[line(1)]);
    // A link to itself: root could read a file without permissions.
    let link = good.with_file_name(good.file_name().unwrap().to_str().unwrap().replace("10.", "09."));
    std::os::unix::fs::symlink(&link, &link).unwrap();
    let run = data_dir.run("compact", "").expect(3);
    assert!(run.stderr.contains("2025-09-02T09") && run.stderr.contains(link.to_str().unwrap()), "{}", run.stderr);
    assert_eq!(sensors(&data_dir), [1]);
    assert!(beside.exists());
    std::fs::remove_file(&link).unwrap();
    data_dir.run("compact", "").expect(0);
    assert_eq!(sensors(&data_dir), [0, 1]);
}

#[test]
fn a_line_of_another_hour_than_its_segment_is_damage() {
    let data_dir = DataDir::new();
    let (first, last) = (epoch(HOUR), epoch(HOUR) + 3599);
    let lines = [first - 1, first, last, last + 1].map(|time| reading(time, time - first, 1.0));
    data_dir.seal("telemetry", HOUR, &lines);
    let record = |micros: i64| {
        format!(r#"{{"arrival_time_us":{micros},"message":{{"kind":"Temperature","value":1,"unit":"Celsius"}}}}"#)
    };
    let records = [first * 1_000_000 - 1, first * 1_000_000].map(record);
    data_dir.seal("measurement", HOUR, &records);
    let run = data_dir.run("compact", "").expect(3);
    assert!(run.stderr.contains("the line is of 2025-09-02T09, and its segment of 2025-09-02T10"), "{}", run.stderr);
    assert_eq!(sensors(&data_dir), [0, 3599]);
    assert_eq!(rows(&parquet(&data_dir, "measurement", HOUR)).len(), 1);
    let records: Vec<_> =
        quarantine(&data_dir).iter().map(|record| record["line"].as_str().unwrap().to_owned()).collect();
    assert_eq!(records.len(), 3);
    for line in [&lines[0], &lines[3]] {
        assert!(records.contains(line), "{records:?}");
    }
    assert!(quarantine(&data_dir).iter().all(|record| record["reason"] == "time_out_of_bounds"));
    data_dir.run("compact", "--verify").expect(0);
}

#[test]
fn a_segment_that_was_moved_to_another_hour_is_left_and_named() {
    let data_dir = DataDir::new();
    let right = data_dir.seal("telemetry", HOUR, &[line(1), line(2), "damaged".to_owned()]);
    let wrong = right.with_file_name(right.file_name().unwrap().to_str().unwrap().replace("10.", "11."));
    std::fs::rename(&right, &wrong).unwrap();
    let run = data_dir.run("compact", "").expect(3);
    let advice = format!("move it to {}, or remove it if it is a copy", relative(&data_dir, &right));
    assert!(run.stderr.contains(&advice) && run.stderr.contains(wrong.to_str().unwrap()), "{}", run.stderr);
    assert_eq!(data_dir.files(), [relative(&data_dir, &wrong)]);
    std::fs::rename(&wrong, &right).unwrap();
    data_dir.run("compact", "").expect(3);
    assert_eq!((sensors(&data_dir), quarantine(&data_dir).len()), (vec![1, 2], 1));
}

#[test]
fn damage_of_two_segments_with_one_name_is_all_kept() {
    let data_dir = DataDir::new();
    let one = data_dir.seal("telemetry", HOUR, &[line(1), "one".to_owned()]);
    let other = one.with_file_name(one.file_name().unwrap().to_str().unwrap().replace("10.", "11."));
    let good = reading(epoch("2025-09-02T11"), 2, 1.0);
    std::fs::write(&other, format!("{good}\nother\n")).unwrap();
    data_dir.run("compact", "").expect(3);
    let kept: HashSet<_> = quarantine(&data_dir).iter().map(|found| record(found).2.to_owned()).collect();
    assert_eq!(kept, ["one", "other"].map(str::to_owned).into());
}

#[test]
fn texts_of_damaged_lines_take_no_memory_and_those_of_good_ones_are_spilled() {
    let text = |length: usize, unit: &str| {
        let text = "x".repeat(length);
        reading(epoch(HOUR), 7, 1.0).replace("1.0", &format!("\"{text}\"")).replace("Celcius", unit)
    };
    // 60 MB of damage, with a good line now and then.
    let data_dir = DataDir::new();
    let lines: Vec<_> = (0..60_000).map(|n| text(1000, if n % 1000 == 0 { "Celsius" } else { "Kelvin" })).collect();
    data_dir.seal("telemetry", HOUR, &lines);
    data_dir.run("compact", "--threads 1 --memory-limit 40MB").expect(3);
    assert_eq!(quarantine(&data_dir).len(), 60_000 - 60);
    data_dir.run("compact", "--verify").expect(0);

    // Several times the memory of texts that are taken.
    let data_dir = DataDir::new();
    for _ in 0..4 {
        data_dir.seal("telemetry", HOUR, &vec![text(100_000, "Celsius"); 1000]);
    }
    data_dir.run("compact", "--threads 1 --memory-limit 150MB").expect(0);
    data_dir.run("compact", "--verify").expect(0);
}
