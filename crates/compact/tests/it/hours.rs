//! From sealed segments to Parquet files: what is written, what is removed, what is left alone.

use std::collections::BTreeSet;

use crate::common::{HOUR, identity, lineage, parquet, quarantine, relative, rows, sensors};
use harness::{DataDir, SmallDisk, epoch, reading};

/// A row of telemetry.
type Row = (i64, String, String, Option<f64>, Option<String>, String);

fn readings(hour: &str, sensors: impl IntoIterator<Item = i64>) -> Vec<String> {
    sensors.into_iter().map(|sensor| reading(epoch(hour) + sensor, sensor, 20.5)).collect()
}

#[test]
fn a_first_compaction_writes_typed_rows_and_their_lineage_and_removes_the_segments() {
    let data_dir = DataDir::new();
    let first = data_dir.seal("telemetry", HOUR, &readings(HOUR, [1, 2]));
    let text = reading(epoch(HOUR) + 3, 3, 1.0).replace("1.0", r#""a\u0000 \"very\" hot day, ä""#);
    let second = data_dir.seal("telemetry", HOUR, &[text]);

    let run = data_dir.run("compact", "").expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));

    let path = parquet(&data_dir, "telemetry", HOUR);
    assert_eq!(data_dir.files(), [relative(&data_dir, &path)]);
    let connection = duckdb::Connection::open_in_memory().unwrap();
    let sql = format!(
        "SELECT string_agg(name || ' ' || type, ', ') FROM (SELECT column_name AS name, column_type AS type FROM (DESCRIBE FROM '{}'))",
        path.display()
    );
    let columns: String = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
    assert_eq!(
        columns,
        "timestamp TIMESTAMP, sensor_id BIGINT, measurement_kind VARCHAR, measurement_value DOUBLE, \
         measurement_text VARCHAR, measurement_unit VARCHAR"
    );
    let sql = format!(
        "SELECT sensor_id, timestamp::VARCHAR, measurement_kind, measurement_value, measurement_text, measurement_unit \
         FROM '{}' ORDER BY sensor_id",
        path.display()
    );
    let mut statement = connection.prepare(&sql).unwrap();
    let found: Vec<Row> = statement
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let row = |sensor: i64, value, text: Option<&str>| {
        let time = format!("2025-09-02 10:00:0{sensor}");
        (sensor, time, "Temperature".to_owned(), value, text.map(str::to_owned), "Celcius".to_owned())
    };
    assert_eq!(
        found,
        [row(1, Some(20.5), None), row(2, Some(20.5), None), row(3, None, Some("a\0 \"very\" hot day, ä"))]
    );

    let (segments, count) = lineage(&path);
    assert_eq!(count, 3);
    let listed: Vec<_> = segments.iter().map(|s| (format!("10.{}.json", s.name), s.lines, s.damaged)).collect();
    let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(listed, [(name(&first), 2, 0), (name(&second), 1, 0)]);
}

#[test]
fn a_second_run_touches_nothing() {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, 0..10));
    data_dir.run("compact", "").expect(0);
    let path = parquet(&data_dir, "telemetry", HOUR);
    let before = (data_dir.files(), identity(&path));
    let run = data_dir.run("compact", "").expect(0);
    assert_eq!(run.stderr, "");
    assert_eq!((data_dir.files(), identity(&path)), before);
}

#[test]
fn an_empty_data_directory_is_nothing_to_do_and_a_missing_one_a_mistake() {
    let data_dir = DataDir::new();
    let run = DataDir::at(&data_dir.path().join("misspelt")).run("compact", "").expect(1);
    assert!(run.stderr.contains("there is no such data directory"), "{}", run.stderr);
    let run = data_dir.run("compact", "--from 2025-09-03 --to 2025-09-02").expect(2);
    assert!(run.stderr.contains("there is no hour in between"), "{}", run.stderr);
    let run = data_dir.run("compact", "").expect(0);
    assert!(run.stderr.contains("there is nothing of a data directory in it"), "{}", run.stderr);
    std::fs::create_dir(data_dir.path().join("raw")).unwrap();
    data_dir.run("compact", "telemetry measurement --dry-run").expect(0);
    assert_eq!(data_dir.run("compact", "telemtry").expect(0).stderr, "");
    assert_eq!(data_dir.files(), [] as [&str; 0]);
}

#[test]
fn late_segments_rebuild_the_hour_from_the_old_file_and_themselves() {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, 0..3000));
    data_dir.run("compact", "").expect(0);
    data_dir.seal("telemetry", HOUR, &readings(HOUR, 3000..3005));
    data_dir.seal("telemetry", HOUR, &readings(HOUR, 3005..3006));
    data_dir.run("compact", "").expect(0);
    assert_eq!(sensors(&data_dir), (0..3006).collect::<Vec<_>>());
    let (segments, count) = lineage(&parquet(&data_dir, "telemetry", HOUR));
    // Two segments of the same millisecond may stand in either order.
    assert_eq!((segments.iter().map(|s| s.lines).collect::<BTreeSet<_>>(), count), ([1, 5, 3000].into(), 3006));
    assert!(segments.is_sorted_by(|a, b| a.name < b.name));
    assert_eq!(data_dir.files().len(), 1);
}

#[test]
fn a_segment_that_was_restored_from_a_backup_is_only_removed() {
    let data_dir = DataDir::new();
    let segment = data_dir.seal("telemetry", HOUR, &readings(HOUR, 0..5));
    let bytes = std::fs::read(&segment).unwrap();
    data_dir.run("compact", "").expect(0);
    let before = identity(&parquet(&data_dir, "telemetry", HOUR));

    std::fs::write(&segment, &bytes).unwrap();
    let run = data_dir.run("compact", "-v").expect(0);
    assert!(run.stderr.contains("is in the Parquet file already"), "{}", run.stderr);
    assert!(run.stderr.contains(segment.to_str().unwrap()), "{}", run.stderr);
    assert!(!segment.exists());
    assert_eq!(identity(&parquet(&data_dir, "telemetry", HOUR)), before);

    // Beside late data, too.
    std::fs::write(&segment, &bytes).unwrap();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, 5..6));
    data_dir.run("compact", "").expect(0);
    assert_eq!(sensors(&data_dir), (0..6).collect::<Vec<_>>());
    assert_eq!(data_dir.files().len(), 1);
}

#[test]
fn a_measurement_is_stamped_with_the_time_in_its_envelope() {
    let data_dir = DataDir::new();
    let record = |micros: i64, value: &str| {
        format!(
            r#"{{"arrival_time_us":{micros},"message":{{"kind": "Temperature", "value": {value}, "unit": "Fahrenheit"}}}}"#
        )
    };
    let start = epoch(HOUR) * 1_000_000;
    data_dir.seal("measurement", HOUR, &[record(start + 1, "70"), record(start + 2_500_000, "\"off\"")]);
    data_dir.run("compact", "measurement").expect(0);
    assert_eq!(
        rows(&parquet(&data_dir, "measurement", HOUR)),
        [
            "{'arrival_time': '2025-09-02 10:00:00.000001', 'measurement_kind': Temperature, 'measurement_value': 70.0, \
             'measurement_text': NULL, 'measurement_unit': Fahrenheit}",
            "{'arrival_time': '2025-09-02 10:00:02.5', 'measurement_kind': Temperature, 'measurement_value': NULL, \
             'measurement_text': off, 'measurement_unit': Fahrenheit}",
        ]
    );
}

#[test]
fn the_current_hour_and_later_ones_wait_unless_asked_for() {
    let data_dir = DataDir::new();
    // So far ahead that the hour cannot end while the test runs; and the current hour, whichever it is.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let hour =
        |hours: i64| layout::Hour::of_micros(i64::try_from(now).unwrap() * 1_000_000).unwrap().plus(hours).to_string();
    for hours in [0, 1, 20] {
        data_dir.seal("telemetry", &hour(hours), &readings(&hour(hours), [hours]));
    }
    data_dir.seal("telemetry", &hour(-2), &readings(&hour(-2), [2]));
    data_dir.run("compact", "").expect(0);
    let done = sensors(&data_dir);
    assert!(done == [2] || done == [0, 2], "the hour may have ended meanwhile: {done:?}");
    data_dir.run("compact", "--include-current").expect(0);
    assert_eq!(sensors(&data_dir), [0, 1, 2, 20]);
}

#[test]
fn from_and_to_choose_hours() {
    let data_dir = DataDir::new();
    for (sensor, hour) in (0..).zip(["2025-09-01T23", "2025-09-02T00", "2025-09-02T01", "2025-09-03T00"]) {
        data_dir.seal("telemetry", hour, &readings(hour, [sensor]));
    }
    data_dir.run("compact", "--from 2025-09-02 --to 2025-09-02T01").expect(0);
    assert_eq!(sensors(&data_dir), [1]);
    data_dir.run("compact", "telemetry --from 2025-09-02").expect(0);
    assert_eq!(sensors(&data_dir), [1, 2, 3]);
    data_dir.run("compact", "--to 2025-09-02").expect(0);
    assert_eq!(sensors(&data_dir), [0, 1, 2, 3]);
}

#[test]
fn a_dry_run_shows_the_plan_and_does_nothing() {
    let data_dir = DataDir::new();
    let listed = data_dir.seal("telemetry", "2025-09-02T09", &readings("2025-09-02T09", [1]));
    let bytes = std::fs::read(&listed).unwrap();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, [2]));
    data_dir.run("compact", "").expect(0);
    std::fs::write(&listed, &bytes).unwrap();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, [3]));
    data_dir.seal("telemetry", "2025-09-02T11", &readings("2025-09-02T11", [4]));
    data_dir.seal("telemetry", "2025-09-02T11", &readings("2025-09-02T11", [5]));
    let before = data_dir.files();

    let run = data_dir.run("compact", "--dry-run").expect(0);
    let n = bytes.len();
    assert_eq!(
        run.stdout,
        format!(
            "stream     hour           segments  bytes  action\n\
             telemetry  2025-09-02T09         1    {n}  delete listed\n\
             telemetry  2025-09-02T10         1    {n}  rebuild\n\
             telemetry  2025-09-02T11         2    {}  compact\n",
            2 * n
        )
    );
    let run = data_dir.run("compact", "--dry-run --format ndjson --to 2025-09-02T10").expect(0);
    assert_eq!(
        run.stdout,
        format!(
            "{{\"stream\":\"telemetry\",\"hour\":\"2025-09-02T09\",\"segments\":1,\"bytes\":{n},\
             \"action\":\"delete listed\"}}\n"
        )
    );
    assert_eq!(data_dir.files(), before);
    data_dir.run("compact", "").expect(0);
    assert_eq!(sensors(&data_dir), [1, 2, 3, 4, 5]);
}

#[test]
fn a_stream_without_a_model_is_named_and_the_others_are_done() {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, [1]));
    let foreign = data_dir.seal("vibration", HOUR, &["{}".to_owned()]);
    let run = data_dir.run("compact", "").expect(3);
    assert!(run.stderr.contains("vibration"), "{}", run.stderr);
    assert!(foreign.exists());
    assert_eq!(sensors(&data_dir), [1]);
    data_dir.run("compact", "telemetry").expect(0);
    data_dir.run("compact", "../telemetry").expect(2);
    data_dir.run("compact", "vibration").expect(3);
    for arguments in ["telemtry", "telemetry telemtry -n"] {
        let run = data_dir.run("compact", arguments).expect(2);
        let message = "telemtry: there is no such stream: the tree has telemetry, vibration\n";
        assert!(run.stderr.contains(message), "{}", run.stderr);
    }
}

#[test]
fn an_hour_with_a_damaged_parquet_file_is_left_as_it_is_and_the_others_are_done() {
    let data_dir = DataDir::new();
    for hour in ["2025-09-02T08", "2025-09-02T09", HOUR] {
        data_dir.seal("telemetry", hour, &readings(hour, [1]));
    }
    data_dir.run("compact", "").expect(0);
    let (cut, foreign) =
        (parquet(&data_dir, "telemetry", "2025-09-02T08"), parquet(&data_dir, "telemetry", "2025-09-02T09"));
    let whole = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let sql = format!("COPY (SELECT 1 AS x) TO '{}' (FORMAT parquet)", foreign.display());
    duckdb::Connection::open_in_memory().unwrap().execute_batch(&sql).unwrap();
    let kept: Vec<_> =
        ["2025-09-02T08", "2025-09-02T09"].map(|hour| data_dir.seal("telemetry", hour, &readings(hour, [2]))).to_vec();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, [2]));
    data_dir.seal("telemetry", "2025-09-02T11", &readings("2025-09-02T11", [1]));
    let before = (identity(&cut), identity(&foreign));

    for _ in 0..2 {
        let run = data_dir.run("compact", "").expect(3);
        for path in [&cut, &foreign] {
            assert!(run.stderr.contains(path.to_str().unwrap()), "{}", run.stderr);
        }
        assert!(kept.iter().all(|segment| segment.exists()));
        assert_eq!((identity(&cut), identity(&foreign)), before);
        assert_eq!(rows(&parquet(&data_dir, "telemetry", HOUR)).len(), 2);
        assert_eq!(rows(&parquet(&data_dir, "telemetry", "2025-09-02T11")).len(), 1);
    }
    // With the file back, the hour is done.
    std::fs::write(&cut, &whole).unwrap();
    std::fs::remove_file(&foreign).unwrap();
    data_dir.run("compact", "").expect(0);
    assert_eq!(rows(&cut).len(), 2);
}

#[test]
fn an_hour_whose_data_pages_are_damaged_is_left_as_it_is() {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, 0..100));
    data_dir.run("compact", "").expect(0);
    let path = parquet(&data_dir, "telemetry", HOUR);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4..200].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    let late = data_dir.seal("telemetry", HOUR, &readings(HOUR, 100..101));
    let run = data_dir.run("compact", "").expect(3);
    assert!(run.stderr.contains(path.to_str().unwrap()) && run.stderr.contains("--verify tells"), "{}", run.stderr);
    assert_eq!(data_dir.files(), [relative(&data_dir, &path), relative(&data_dir, &late)]);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn one_hour_that_cannot_be_published_does_not_hold_up_its_batch() {
    let data_dir = DataDir::new();
    let hours = ["2025-09-02T08", "2025-09-02T09", "2025-09-02T10", "2025-09-02T11"];
    for hour in hours {
        data_dir.seal("telemetry", hour, &readings(hour, [1]));
    }
    // A folder stands where the file should be: COPY to the draft succeeds, the rename fails.
    let blocked = parquet(&data_dir, "telemetry", "2025-09-02T09");
    std::fs::create_dir_all(blocked.join("x")).unwrap();
    let run = data_dir.run("compact", "").expect(3);
    assert!(run.stderr.contains("2025-09-02T09") && run.stderr.contains(blocked.to_str().unwrap()), "{}", run.stderr);
    for hour in ["2025-09-02T08", "2025-09-02T10", "2025-09-02T11"] {
        assert_eq!(rows(&parquet(&data_dir, "telemetry", hour)).len(), 1);
    }
    assert_eq!(data_dir.files_like("raw/", ".json").len(), 1);
    assert_eq!(data_dir.files_like("parquet/", ".tmp").len(), 0);
}

#[test]
fn a_locked_stream_is_for_another_time_and_the_others_are_done() {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, [1]));
    let record = r#"{"arrival_time_us":1756807200000000,"message":{"kind":"Temperature","value":1,"unit":"Celsius"}}"#;
    data_dir.seal("measurement", HOUR, &[record.to_owned()]);
    let tree = layout::Tree::new(data_dir.path());
    let lock = layout::DatasetLock::try_acquire(&tree, &"telemetry".parse().unwrap()).unwrap();
    let run = data_dir.run("compact", "").expect(75);
    assert!(run.stderr.contains("telemetry"), "{}", run.stderr);
    assert_eq!(rows(&parquet(&data_dir, "measurement", HOUR)).len(), 1);
    assert_eq!(data_dir.files_like("raw/", ".json").len(), 1);
    drop(lock);
    data_dir.run("compact", "").expect(0);
    assert_eq!(sensors(&data_dir), [1]);
}

#[test]
fn many_hours_and_a_large_one_are_all_there() {
    let data_dir = DataDir::new();
    let mut expected = Vec::new();
    for number in 0..100 {
        let hour = "2025-03-01T00".parse::<layout::Hour>().unwrap().plus(number).to_string();
        data_dir.seal("telemetry", &hour, &readings(&hour, [number]));
        expected.push(number);
    }
    // 300,000 lines in two segments: several pieces, several row groups, both threads.
    for part in [1000..151_000, 151_000..301_000] {
        let lines: Vec<_> = part.clone().map(|n| reading(epoch(HOUR) + n % 3600, n, 1.0)).collect();
        data_dir.seal("telemetry", HOUR, &lines);
        expected.extend(part);
    }
    let run = data_dir.run("compact", "-v --threads 2 --memory-limit 500MB").expect(0);
    assert!(run.stderr.contains("101 hours, 300100 rows"), "{}", run.stderr);
    assert_eq!(sensors(&data_dir), expected);
    assert_eq!(data_dir.files_like("raw/", ".json").len(), 0);
    assert_eq!(quarantine(&data_dir).len(), 0);
}

#[test]
fn a_parquet_file_of_another_hour_or_stream_is_not_added_to() {
    let data_dir = DataDir::new();
    for hour in [HOUR, "2025-09-02T11"] {
        data_dir.seal("telemetry", hour, &readings(hour, 0..5));
    }
    data_dir.run("compact", "").expect(0);
    let (right, wrong) = (parquet(&data_dir, "telemetry", HOUR), parquet(&data_dir, "telemetry", "2025-09-02T11"));
    let away = data_dir.path().join("away");
    std::fs::rename(&wrong, &away).unwrap();
    std::fs::copy(&right, &wrong).unwrap();
    let late = data_dir.seal("telemetry", "2025-09-02T11", &readings("2025-09-02T11", 5..6));
    let before = std::fs::read(&wrong).unwrap();
    let run = data_dir.run("compact", "").expect(3);
    assert!(run.stderr.contains("was made for telemetry 2025-09-02T10"), "{}", run.stderr);
    assert!(run.stderr.contains("move it to parquet/telemetry/2025/09/02/10.parquet"), "{}", run.stderr);
    assert!(late.exists() && std::fs::read(&wrong).unwrap() == before);
    let run = data_dir.run("aggregate", "temperatures").expect(3);
    assert!(run.stderr.contains("was made for telemetry 2025-09-02T10"), "{}", run.stderr);
    let run = data_dir.run("compact", "--verify").expect(3);
    assert!(run.stdout.contains("was made for telemetry 2025-09-02T10"), "{}", run.stdout);
    // Under the name of another stream.
    let foreign = parquet(&data_dir, "measurement", HOUR);
    std::fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    std::fs::copy(&right, &foreign).unwrap();
    let run = data_dir.run("compact", "--verify measurement").expect(3);
    assert!(run.stdout.contains("was made for telemetry"), "{}", run.stdout);
    std::fs::rename(&away, &wrong).unwrap();
    data_dir.run("compact", "telemetry").expect(0);
    assert_eq!(sensors(&data_dir), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
}

#[test]
fn an_hour_on_a_disk_that_is_not_there_is_not_replaced_by_its_late_lines() {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, 0..5));
    data_dir.run("compact", "").expect(0);
    let (path, away) = (parquet(&data_dir, "telemetry", HOUR), data_dir.path().join("away"));
    std::fs::rename(&path, &away).unwrap();
    std::os::unix::fs::symlink(data_dir.path().join("not mounted"), &path).unwrap();
    let late = data_dir.seal("telemetry", HOUR, &readings(HOUR, 5..6));
    let run = data_dir.run("compact", "").expect(3);
    assert!(run.stderr.contains(path.to_str().unwrap()), "{}", run.stderr);
    assert!(late.exists() && path.is_symlink());
    std::fs::rename(&away, &path).unwrap();
    data_dir.run("compact", "").expect(0);
    assert_eq!(sensors(&data_dir), (0..6).collect::<Vec<_>>());
}

#[test]
fn what_one_cause_does_to_many_hours_is_told_once_with_a_remedy() {
    let Some(disk) = SmallDisk::mount("size=8m") else { return };
    let data_dir = DataDir::within(disk.path());
    data_dir.seal("telemetry", HOUR, &readings(HOUR, [0]));
    data_dir.run("compact", "").expect(0);
    for number in 0..40 {
        let hour = "2025-03-01T00".parse::<layout::Hour>().unwrap().plus(number).to_string();
        data_dir.seal("telemetry", &hour, &readings(&hour, [number]));
    }
    assert!(disk.remount("ro"));
    let run = data_dir.run("compact", "").expect(3);
    let errors: Vec<_> = run.stderr.lines().filter(|line| line.contains("error: ")).collect();
    assert_eq!(errors.len(), 1, "{}", run.stderr);
    let hours = "telemetry 2025-03-01T00 to 2025-03-02T15: ";
    assert!(errors[0].contains(hours) && errors[0].contains("make it writable"), "{}", errors[0]);
    let run = data_dir.run("compact", "-v").expect(3);
    assert_eq!(
        run.stderr.lines().filter(|line| line.contains("its segments are kept: ")).count(),
        40,
        "{}",
        run.stderr
    );
    assert!(disk.remount("rw"));
    let run = data_dir.run("compact", "-vv").expect(0);
    assert!(run.stderr.contains("telemetry 2025-03-02T15: compact, 1 row"), "{}", run.stderr);
    assert_eq!(sensors(&data_dir).len(), 41);
}
