//! The record of a rejected line: whatever was sent comes back.

use crate::common::{TestDir, hour, name, put};
use base64::Engine as _;
use chrono::DateTime;
use layout::{Area, HourRange, QuarantineRecord, count_rejected};
use proptest::collection::vec;
use proptest::prelude::*;

/// The original bytes of a record.
fn original(record: &serde_json::Value) -> Vec<u8> {
    match (record.get("line"), record.get("line_base64")) {
        (Some(line), None) => line.as_str().unwrap().as_bytes().to_vec(),
        (None, Some(line)) => base64::engine::general_purpose::STANDARD.decode(line.as_str().unwrap()).unwrap(),
        both => panic!("the line stands in the record twice or not at all: {both:?}"),
    }
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..200),
        any::<String>().prop_map(String::into_bytes),
        "[\\x00-\\x1f\"\\\\\u{7f}\u{85}\u{2028}\u{feff}]{0,20}".prop_map(String::into_bytes),
        // Text that is cut inside a character.
        ("[äöü€😀]{1,10}", any::<prop::sample::Index>())
            .prop_map(|(text, cut)| text.as_bytes()[..cut.index(text.len())].to_vec()),
    ]
}

proptest! {
    #[test]
    fn every_line_comes_back_as_it_was_sent(
        lines in vec(any_line(), 1..6),
        source in any::<String>(),
        detail in any::<String>(),
        micros in 0i64..4_000_000_000_000_000,
    ) {
        let time = DateTime::from_timestamp_micros(micros).unwrap();
        let mut file = Vec::new();
        for line in &lines {
            QuarantineRecord { time, source: &source, reason: "not_json", detail: &detail, line }.write(&mut file);
        }
        prop_assert_eq!(file.split(|byte| *byte == b'\n').count(), lines.len() + 1);
        prop_assert_eq!(file.last(), Some(&b'\n'));
        for (record, line) in file.split(|byte| *byte == b'\n').zip(&lines) {
            let record: serde_json::Value = serde_json::from_slice(record).unwrap();
            prop_assert_eq!(&original(&record), line);
            prop_assert_eq!(&record["source"], &source);
            prop_assert_eq!(&record["detail"], &detail);
            let text = record["time"].as_str().unwrap();
            prop_assert_eq!(DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros(), micros);
            prop_assert!(text.ends_with('Z'));
        }
    }

    #[test]
    fn records_are_counted_by_reason_whatever_the_lines_were(lines in vec((any_line(), 0..3usize), 0..20)) {
        const REASONS: [&str; 3] = ["not_json", "torn", "wrong_type"];
        let mut file = Vec::new();
        for (line, reason) in &lines {
            QuarantineRecord { time: DateTime::UNIX_EPOCH, source: "x", reason: REASONS[*reason], detail: "", line }.write(&mut file);
        }
        let dir = TestDir::new();
        let path = dir.tree.root().join("records.json");
        put(&path, &file);
        let counts = count_rejected(&path).unwrap();
        for (index, reason) in REASONS.iter().enumerate() {
            let expected = lines.iter().filter(|(_, reason)| *reason == index).count();
            prop_assert_eq!(counts.get(*reason).copied().unwrap_or_default(), expected as u64);
        }
    }
}

#[test]
fn text_is_kept_as_text_for_people_to_read() {
    let mut out = Vec::new();
    let time = DateTime::from_timestamp_micros(1_756_771_200_000_001).unwrap();
    let line = "{\"tempé\": 1,}\r".as_bytes();
    QuarantineRecord { time, source: "10.0.0.7:4711", reason: "not_json", detail: "trailing comma", line }
        .write(&mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\"time\":\"2025-09-02T00:00:00.000001Z\",\"source\":\"10.0.0.7:4711\",\"reason\":\"not_json\",\
         \"detail\":\"trailing comma\",\"line\":\"{\\\"tempé\\\": 1,}\\r\"}\n"
    );
}

#[test]
fn a_file_that_is_still_written_is_counted_up_to_its_last_whole_record() {
    let dir = TestDir::new();
    let path = dir.tree.root().join("records.json");
    put(&path, "{\"reason\":\"torn\"}\nnot a record\n{\"reason\":\"to");
    let counts = count_rejected(&path).unwrap();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("torn".into(), 1), ("unreadable".into(), 1)]);
}

#[test]
fn only_files_of_the_quarantine_are_removed_as_such() {
    let dir = TestDir::new();
    let stream = name("telemetry");
    for area in [Area::Raw, Area::Quarantine] {
        let file = dir.tree.root().join(area.as_str()).join("telemetry/2025/09/02/10.01K4A6Q0000000000000000000.json");
        put(&file, "{}\n");
        let segment = dir.sealed(area, &stream).remove(0);
        assert_eq!(segment.hour, hour("2025-09-02T10"));
        match (area, dir.tree.remove_unneeded(&segment.path)) {
            (Area::Quarantine, Ok(())) => assert!(!file.exists()),
            (Area::Raw, Err(error)) => {
                assert!(file.exists());
                assert!(error.to_string().ends_with("is not in quarantine/ and is not removed"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(dir.tree.sealed_segments(Area::Quarantine, &stream, HourRange::ALL).unwrap().is_empty());
}
