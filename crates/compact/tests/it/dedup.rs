//! `--dedup`: what a source sent twice is in the hour once, and every line is still accounted for.

use crate::common::{HOUR, identity, parquet, quarantine, rows, sensors};
use harness::{DataDir, Run, epoch, reading};
use layout::Commit;

fn readings(sensors: impl IntoIterator<Item = i64>) -> Vec<String> {
    sensors.into_iter().map(|sensor| reading(epoch(HOUR) + sensor % 3600, sensor, 20.5)).collect()
}

/// Lines, damaged lines, duplicates and rows of the hour's commit record, which must add up.
#[track_caller]
fn counts(data_dir: &DataDir) -> [u64; 4] {
    let commit = Commit::read(&parquet(data_dir, "telemetry", HOUR)).unwrap();
    let layout::Lineage::Segments(segments) = &commit.lineage else { panic!("{commit:?}") };
    let lines = segments.iter().map(|segment| segment.lines).sum();
    let damaged = segments.iter().map(|segment| segment.damaged).sum();
    assert!(commit.is_genuine());
    assert_eq!(commit.accounted_rows(), Some(commit.rows));
    assert_eq!(commit.rows, lines - damaged - commit.duplicates);
    [lines, damaged, commit.duplicates, commit.rows]
}

#[test]
fn what_was_sent_twice_is_there_once_and_counted_if_asked_for() {
    let data_dir = DataDir::new();
    let seal = |data_dir: &DataDir| {
        data_dir.seal("telemetry", HOUR, &readings([1, 2, 3]));
        data_dir.seal("telemetry", HOUR, &readings([2, 3, 4, 4]));
    };
    seal(&data_dir);
    let run = data_dir.run("compact", "--dedup -v").expect(0);
    assert!(run.stderr.contains("1 hour, 4 rows") && run.stderr.contains("3 duplicates removed"), "{}", run.stderr);
    assert_eq!(sensors(&data_dir), [1, 2, 3, 4]);
    assert_eq!(counts(&data_dir), [7, 0, 3, 4]);
    assert_eq!(data_dir.files().len(), 1);

    let other = DataDir::new();
    seal(&other);
    let run = other.run("compact", "-v").expect(0);
    assert!(!run.stderr.contains("duplicate"), "{}", run.stderr);
    assert_eq!(counts(&other), [7, 0, 0, 7]);
    other.seal("telemetry", HOUR, &readings([9]));
    assert_eq!(other.run("compact", "--dedup").expect(0).stderr, "", "success is silent");
}

#[test]
fn late_segments_are_held_against_the_old_file() {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &readings(0..3000));
    data_dir.run("compact", "--dedup").expect(0);
    let whole = Commit::read(&parquet(&data_dir, "telemetry", HOUR)).unwrap();
    assert_eq!(whole.fingerprint, whole.lineage.fingerprint(), "without duplicates nothing is different");
    data_dir.seal("telemetry", HOUR, &readings(2000..3001));
    data_dir.run("compact", "--dedup").expect(0);
    assert_eq!(sensors(&data_dir), (0..3001).collect::<Vec<_>>());
    assert_eq!(counts(&data_dir), [4001, 0, 1000, 3001]);
    // Without the flag nothing more is removed, and what was is not forgotten.
    data_dir.seal("telemetry", HOUR, &readings(0..2));
    data_dir.run("compact", "").expect(0);
    assert_eq!(counts(&data_dir), [4003, 0, 1000, 3003]);
    // With it, the whole hour is looked at: also what came twice before.
    data_dir.seal("telemetry", HOUR, &readings(5000..5001));
    data_dir.run("compact", "--dedup").expect(0);
    assert_eq!(counts(&data_dir), [4004, 0, 1002, 3002]);
}

#[test]
fn an_hour_without_fresh_segments_is_left_as_it_is() {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &readings([1, 1]));
    data_dir.run("compact", "").expect(0);
    let before = identity(&parquet(&data_dir, "telemetry", HOUR));
    assert_eq!(data_dir.run("compact", "--dedup -n").expect(0).stdout.lines().count(), 1);
    data_dir.run("compact", "--dedup").expect(0);
    assert_eq!(identity(&parquet(&data_dir, "telemetry", HOUR)), before);
    assert_eq!(counts(&data_dir), [2, 0, 0, 2]);
}

#[test]
fn rows_are_compared_column_by_column_as_sql_does() {
    let data_dir = DataDir::new();
    let line = |value: &str, unit: &str| {
        format!(
            r#"{{"timestamp": {}, "sensor_id": 7, "measurement": {{"kind": "Temperature", "value": {value}, "unit": "{unit}"}}}}"#,
            epoch(HOUR)
        )
    };
    let spaced = line("1.0", "Celsius").replace(' ', "").replace('}', " }").replacen('{', r#"{"note": 3, "#, 1);
    // The same number or text each time, and no value for the other column.
    data_dir.seal("telemetry", HOUR, &[line("1.0", "Celsius"), line("1", "Celsius"), line("10e-1", "Celsius"), spaced]);
    data_dir.seal("telemetry", HOUR, &[line("0.0", "Celsius"), line("-0.0", "Celsius")]);
    data_dir.seal("telemetry", HOUR, &[line("\"off\"", "Celsius"), line("\"o\\u0066f\"", "Celsius")]);
    // Others.
    let long = "x".repeat(100);
    let others = [line("1.0", "Celcius"), line("\"1.0\"", "Celsius"), line("\"\"", "Celsius")];
    data_dir.seal("telemetry", HOUR, &others);
    data_dir.seal(
        "telemetry",
        HOUR,
        &[line(&format!("\"{long}a\""), "Celsius"), line(&format!("\"{long}b\""), "Celsius")],
    );
    data_dir.run("compact", "--dedup").expect(0);
    assert_eq!(counts(&data_dir), [13, 0, 5, 8]);
    let found = rows(&parquet(&data_dir, "telemetry", HOUR));
    assert_eq!(found.iter().filter(|row| row.contains("'measurement_value': 1.0,")).count(), 2, "{found:?}");
}

#[test]
fn damage_and_duplicates_in_a_large_hour_with_little_memory_all_add_up() {
    let data_dir = DataDir::new();
    let mut lines = readings(0..150_000);
    lines[70_000] = "damaged".to_owned();
    data_dir.seal("telemetry", HOUR, &lines);
    data_dir.seal("telemetry", HOUR, &readings(100_000..250_000));
    data_dir.run("compact", "--dedup --threads 2 --memory-limit 60MB").expect(3);
    assert_eq!(counts(&data_dir), [300_000, 1, 50_000, 249_999]);
    assert_eq!(sensors(&data_dir), (0..250_000).filter(|sensor| *sensor != 70_000).collect::<Vec<_>>());
    assert_eq!(quarantine(&data_dir).len(), 1);
    assert_eq!(data_dir.files_like("raw/", ".json").len(), 0);
}

#[test]
fn many_small_hours_each_have_their_own_duplicates() {
    let data_dir = DataDir::new();
    let hours: Vec<_> =
        (0..100).map(|n| "2025-03-01T00".parse::<layout::Hour>().unwrap().plus(n).to_string()).collect();
    for hour in &hours {
        let line = reading(epoch(hour), 1, 1.0);
        data_dir.seal("telemetry", hour, &[line.clone(), reading(epoch(hour), 2, 1.0), line]);
    }
    let run = data_dir.run("compact", "--dedup -v --threads 2").expect(0);
    assert!(run.stderr.contains("100 hours, 200 rows") && run.stderr.contains("100 duplicates"), "{}", run.stderr);
    assert_eq!(sensors(&data_dir).len(), 200);
}

#[test]
fn dying_at_any_point_of_it_leaves_a_tree_from_which_the_next_run_does_the_rest() {
    for point in ["compact.copied", "publish.renamed", "compact.published", "segment.removed"] {
        let data_dir = DataDir::new();
        data_dir.seal("telemetry", HOUR, &readings(0..10));
        data_dir.run("compact", "--dedup").expect(0);
        data_dir.seal("telemetry", HOUR, &readings(5..12));
        data_dir.seal("telemetry", HOUR, &readings(5..13));
        let run = Run::of(data_dir.program("compact").env("FAULT", format!("{point}:1")).arg("--dedup"));
        assert_eq!(run.status, None, "{point}: {}", run.stderr);
        data_dir.run("compact", "--dedup").expect(0);
        assert_eq!(counts(&data_dir), [25, 0, 12, 13], "{point}");
        assert_eq!((sensors(&data_dir), data_dir.files_like("raw/", ".json").len()), ((0..13).collect(), 0), "{point}");
    }
}
