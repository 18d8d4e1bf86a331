//! `--verify`: every way in which a file can be wrong is found, named with a remedy, and nothing is changed.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::common::{HOUR, identity, parquet};
use harness::{DataDir, epoch, reading};
use layout::{Commit, Fingerprint, Lineage, SegmentCount};
use serde_json::Value;

const HOURS: [&str; 4] = ["2025-09-02T08", "2025-09-02T09", HOUR, "2025-09-02T11"];

fn readings(hour: &str, sensors: impl IntoIterator<Item = i64>) -> Vec<String> {
    sensors.into_iter().map(|sensor| reading(epoch(hour) + sensor % 3600, sensor, 20.5)).collect()
}

/// Four compacted hours of telemetry.
fn compacted() -> DataDir {
    let data_dir = DataDir::new();
    for hour in HOURS {
        data_dir.seal("telemetry", hour, &readings(hour, 0..100));
    }
    data_dir.run("compact", "").expect(0);
    data_dir
}

/// What `--verify` says of the hours, by hour: state, problem and remedy.
fn findings(data_dir: &DataDir, flags: &str, status: i32) -> Vec<[String; 4]> {
    let run = data_dir.run("compact", &format!("--verify --format ndjson {flags}")).expect(status);
    let rows = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| ["hour", "state", "problem", "remedy"].map(|key| row[key].as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// Writes a Parquet file of telemetry with another footer or other rows.
fn forge(path: &Path, commit: &Commit, select: &str) {
    let connection = duckdb::Connection::open_in_memory().unwrap();
    let json = commit.to_json();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let sql = format!("COPY ({select}) TO '{}' (FORMAT parquet, KV_METADATA {{commit: '{json}'}})", path.display());
    connection.execute_batch(&sql).unwrap();
}

/// The one problem that is found when the 10 o'clock file is spoilt so.
#[track_caller]
fn problem(spoil: impl FnOnce(&Path, Commit)) -> String {
    let data_dir = compacted();
    let path = parquet(&data_dir, "telemetry", HOUR);
    spoil(&path, Commit::read(&path).unwrap());
    let before = (data_dir.files(), identity(&path));
    let run = data_dir.run("compact", "--verify").expect(3);
    assert!(run.stderr.contains("1 of 4 hours is not as it should be"), "{}", run.stderr);
    assert_eq!(run.stdout.lines().count(), 2, "{}", run.stdout);
    let all = findings(&data_dir, "", 3);
    assert_eq!(all.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), HOURS);
    let states: Vec<_> = all.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(states, ["ok", "ok", "wrong", "ok"], "{all:?}");
    let [.., problem, remedy] = &all[2];
    // Tables escape control characters.
    let escape = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
    for words in [path.to_str().unwrap(), problem, remedy] {
        let words: String = words.chars().map(escape).collect();
        assert!(run.stdout.contains(&words) && !words.is_empty(), "{words:?} is not in {}", run.stdout);
    }
    assert_eq!((data_dir.files(), identity(&path)), before);
    problem.clone()
}

#[test]
fn a_sound_tree_is_silent() {
    let data_dir = compacted();
    let run = data_dir.run("compact", "--verify").expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    let all = findings(&data_dir, "telemetry --from 2025-09-02T09 --to 2025-09-02T11 --threads 1", 0);
    assert_eq!(all.iter().map(|row| (&*row[0], &*row[1])).collect::<Vec<_>>(), [(HOURS[1], "ok"), (HOURS[2], "ok")]);
    let run = data_dir.run("compact", "--verify -v").expect(0);
    assert!(run.stderr.contains("4 hours, 400 rows") && run.stderr.lines().count() == 1, "{}", run.stderr);
    data_dir.run("compact", "--verify telemtry").expect(2);
    DataDir::new().run("compact", "--verify").expect(0);
}

#[test]
fn every_way_in_which_a_file_can_be_wrong_is_found() {
    let cut = problem(|path, _| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    });
    assert!(cut.contains("not a Parquet file, or a damaged one"), "{cut}");

    let pages = problem(|path, _| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[4..200].fill(0xff);
        std::fs::write(path, &bytes).unwrap();
    });
    assert!(pages.contains("cannot be read to its end"), "{pages}");

    let foreign = problem(|path, _| {
        let sql = format!("COPY (SELECT 1 AS x) TO '{}' (FORMAT parquet)", path.display());
        duckdb::Connection::open_in_memory().unwrap().execute_batch(&sql).unwrap();
    });
    assert!(foreign.contains("no commit record"), "{foreign}");

    let copy = |path: &Path| format!("SELECT * FROM '{}'", path.display());
    let spoilt = |path: &Path, commit: Commit, select: String| {
        let old = path.with_file_name("old.parquet");
        std::fs::copy(path, &old).unwrap();
        forge(path, &commit, &select.replace(path.to_str().unwrap(), old.to_str().unwrap()));
        std::fs::remove_file(&old).unwrap();
    };
    let fingerprint = problem(|path, commit| {
        let fingerprint = Fingerprint::from_text("0123456789abcdef0123456789abcdef");
        spoilt(path, Commit { fingerprint, ..commit }, copy(path));
    });
    assert!(fingerprint.contains("fingerprint"), "{fingerprint}");

    let rows = problem(|path, commit| spoilt(path, commit, copy(path) + " LIMIT 99"));
    assert!(rows.contains("has 99 rows, and its commit record accounts for 100"), "{rows}");

    let impossible = problem(|path, _| {
        let name = "01K4Z0000000000000000000A0".parse().unwrap();
        let counts = vec![SegmentCount { name, lines: 1, damaged: 2 }];
        spoilt(path, Commit::new(Lineage::Segments(counts)), copy(path));
    });
    assert!(impossible.contains("cannot be"), "{impossible}");

    let elsewhere = problem(|path, commit| {
        let select = copy(path)
            .replace('*', "* REPLACE (timestamp + CAST(sensor_id / 99 AS INT) * INTERVAL 1 HOUR AS timestamp)");
        spoilt(path, commit, select);
    });
    assert!(elsewhere.contains("in other hours"), "{elsewhere}");

    let aggregate = problem(|path, _| {
        let query = Lineage::Query { query: Fingerprint::of(b"x"), inputs: [].into(), tables: [].into() };
        spoilt(path, Commit::new(query), copy(path));
    });
    assert!(aggregate.contains("an aggregate's"), "{aggregate}");
}

#[test]
fn a_link_to_nothing_is_wrong_and_what_nobody_published_is_no_hour() {
    let data_dir = compacted();
    let path = parquet(&data_dir, "telemetry", HOUR);
    std::fs::rename(&path, data_dir.path().join("away")).unwrap();
    std::os::unix::fs::symlink(data_dir.path().join("not mounted"), &path).unwrap();
    std::fs::write(path.with_file_name(".12.parquet.01K4Z0000000000000000000A0.tmp"), "half").unwrap();
    let all = findings(&data_dir, "", 3);
    assert_eq!(all.iter().map(|row| &*row[1]).collect::<Vec<_>>(), ["ok", "ok", "wrong", "ok"]);
}

#[test]
fn segments_that_only_wait_to_be_removed_are_reported_and_no_failure() {
    let data_dir = DataDir::new();
    let segment = data_dir.seal("telemetry", HOUR, &readings(HOUR, 0..5));
    let bytes = std::fs::read(&segment).unwrap();
    data_dir.run("compact", "").expect(0);
    data_dir.seal("telemetry", HOUR, &readings(HOUR, 5..6));
    assert_eq!(data_dir.run("compact", "--verify").expect(0).stdout, "", "a fresh segment is compact's next work");
    std::fs::write(&segment, &bytes).unwrap();
    let run = data_dir.run("compact", "--verify").expect(0);
    assert!(run.stdout.contains("left to remove") && run.stdout.contains("1 segment"), "{}", run.stdout);
    assert_eq!(findings(&data_dir, "", 0)[0][1], "left to remove");
    assert!(segment.exists());
    data_dir.run("compact", "").expect(0);
    assert_eq!(data_dir.run("compact", "--verify").expect(0).stdout, "");
}

#[test]
fn aggregates_are_read_too_and_duplicates_are_accounted_for() {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &[readings(HOUR, [1, 2]), readings(HOUR, [2, 3])].concat());
    data_dir.run("compact", "--dedup").expect(0);
    data_dir.run("aggregate", "temperatures").expect(0);
    assert_eq!(findings(&data_dir, "", 0).len(), 2);
    assert_eq!(findings(&data_dir, "temperatures", 0).len(), 1);
    let path = parquet(&data_dir, "temperatures", HOUR);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4..60].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    let all = findings(&data_dir, "", 3);
    let wrong = all.iter().find(|row| row[1] == "wrong").unwrap();
    assert!(wrong[3].contains("aggregate makes it again"), "{wrong:?}");
}

#[test]
fn files_that_are_replaced_or_removed_meanwhile_are_not_wrong() {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, 0..100_000));
    data_dir.run("compact", "").expect(0);
    let path: PathBuf = parquet(&data_dir, "telemetry", HOUR);
    let mut looked = 0;
    for round in 0..6 {
        data_dir.seal("telemetry", HOUR, &readings(HOUR, 100_000 + round..100_001 + round));
        let mut compact = data_dir.program("compact").stderr(Stdio::null()).spawn().unwrap();
        while compact.try_wait().unwrap().is_none() {
            let run = data_dir.run("compact", "--verify --threads 1").expect(0);
            assert!(!run.stdout.contains("wrong"), "{}", run.stdout);
            looked += 1;
        }
    }
    assert!(looked > 5 && path.exists());
}
