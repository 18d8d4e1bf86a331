//! Late segments of an hour that retention has removed: the hour stays closed, nothing is lost, and the state ends.

use std::path::PathBuf;
use std::process::Command;

use harness::{DataDir, Run, epoch, reading, skipped};
use layout::{Commit, DatasetLock, Name, Tree};

use crate::common::{HOUR, parquet, quarantine, relative, sensors};

fn readings(sensors: impl IntoIterator<Item = i64>) -> Vec<String> {
    sensors.into_iter().map(|sensor| reading(epoch(HOUR) + sensor, sensor, 20.5)).collect()
}

/// A data directory whose only hour retention has removed.
fn expired() -> DataDir {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &readings([1]));
    data_dir.run("compact", "").expect(0);
    let (tree, stream): (_, Name) = (Tree::new(data_dir.path()), "telemetry".parse().unwrap());
    let lock = DatasetLock::try_acquire(&tree, &stream).unwrap().unwrap();
    let commit = Commit::read(&parquet(&data_dir, "telemetry", HOUR)).unwrap();
    tree.expire_parquet(&lock, &stream, &[(HOUR.parse().unwrap(), commit)]).unwrap();
    data_dir
}

fn record(data_dir: &DataDir) -> PathBuf {
    parquet(data_dir, "telemetry", HOUR).with_extension("expired.json")
}

#[test]
fn late_lines_of_an_expired_hour_go_to_quarantine_once_and_the_next_run_has_nothing_to_do() {
    let data_dir = expired();
    let late = data_dir.seal("telemetry", HOUR, &readings([2, 3]));
    let damaged = data_dir.seal_bytes("telemetry", HOUR, b"what is this\n\xff");
    let plan = data_dir.run("compact", "--dry-run --format csv").expect(0).stdout;
    assert!(plan.contains(&format!("telemetry,{HOUR},2,")) && plan.contains(",quarantine\n"), "{plan}");

    let run = data_dir.run("compact", "--print").expect(3);
    assert_eq!(run.stdout, "", "no Parquet file is published");
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    for words in ["4 late lines to quarantine", "retention has removed this hour", "--earliest"] {
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
    assert!(!late.exists() && !damaged.exists() && !parquet(&data_dir, "telemetry", HOUR).exists());
    let records = quarantine(&data_dir);
    let of = |segment: &PathBuf| {
        let file = relative(&data_dir, segment);
        let of = records.iter().filter(|record| record["source"].as_str().unwrap().starts_with(&format!("{file}:")));
        of.map(|record| record["line"].as_str().or(record["line_base64"].as_str()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of(&late), readings([2, 3]));
    assert_eq!(of(&damaged), ["what is this", "/w=="]);
    assert!(records.iter().all(|record| record["reason"] == "expired"), "{records:?}");

    let before = data_dir.files();
    let run = data_dir.run("compact", "").expect(0);
    assert_eq!((run.stderr.as_str(), data_dir.files()), ("", before));
}

#[test]
fn an_empty_late_segment_of_an_expired_hour_holds_no_other_up() {
    let data_dir = expired();
    let emptied = data_dir.seal("telemetry", HOUR, &readings([3]));
    std::fs::write(emptied, "").unwrap();
    data_dir.seal("telemetry", HOUR, &readings([2]));
    let run = data_dir.run("compact", "").expect(3);
    assert!(run.stderr.contains("1 late line to quarantine"), "{}", run.stderr);
    assert_eq!(data_dir.files_like("raw/", ".json").len(), 0);
    assert_eq!(quarantine(&data_dir).len(), 1);
}

#[test]
fn compact_that_dies_while_it_closes_an_hour_loses_no_late_line() {
    let deaths = [
        "segment.opened",
        "draft.made",
        "quarantine.written",
        "draft.synced",
        "publish.renamed",
        "compact.quarantined",
        "compact.published",
        "segment.removed",
    ];
    for death in deaths {
        let data_dir = expired();
        data_dir.seal("telemetry", HOUR, &readings([2, 3]));
        data_dir.seal("telemetry", HOUR, &readings([4]));
        let killed = Run::of(data_dir.program("compact").env("FAULT", death));
        assert_eq!(killed.status, None, "{death} was not reached: {killed:?}");
        let run = data_dir.run("compact", "");
        assert!(matches!(run.status, Some(0 | 3)), "{death}: {run:?}");
        let records = quarantine(&data_dir);
        let mut lines: Vec<_> = records.iter().map(|record| record["line"].as_str().unwrap()).collect();
        lines.sort_unstable();
        assert_eq!(lines, readings([2, 3, 4]), "{death}");
        assert_eq!(data_dir.files_like("raw/", ".json").len(), 0, "{death}");
    }
}

/// The way back, as docs/compact.md has it for another hour of the day.
fn put_back() -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compact.md")).unwrap();
    let block = page.split("```sh\n").find(|block| block.starts_with("rm data/parquet/")).unwrap();
    let commands = block.split("compact --print").next().unwrap();
    commands.replace("2025090212", "2025090210").replace("/12.", "/10.")
}

#[test]
fn an_hour_that_is_opened_again_is_made_of_what_came_late() {
    if Command::new("jq").arg("--version").output().is_err() {
        return skipped("putting late lines back, because there is no jq");
    }
    let data_dir = expired();
    data_dir.seal("telemetry", HOUR, &readings([2, 3]));
    data_dir.seal("telemetry", HOUR, &readings([4]));
    data_dir.run("compact", "").expect(3);
    assert!(record(&data_dir).exists());
    let folder = harness::tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(data_dir.path(), folder.path().join("data")).unwrap();
    let put_back_and_compact = || {
        let run = Run::of(Command::new("bash").args(["-c", &put_back()]).current_dir(folder.path()));
        assert!(run.status.is_some(), "{run:?}");
        data_dir.run("compact", "").expect(0);
    };
    put_back_and_compact();
    assert_eq!(sensors(&data_dir), [2, 3, 4]);
    // Twice is once: the segments have their old names.
    put_back_and_compact();
    assert_eq!(sensors(&data_dir), [2, 3, 4]);
}

#[test]
fn a_part_that_is_put_back_while_the_hour_is_closed_does_not_replace_the_records_of_all() {
    let data_dir = expired();
    let late = data_dir.seal("telemetry", HOUR, &readings([2, 3]));
    data_dir.run("compact", "").expect(3);
    let kept = quarantine(&data_dir);
    std::fs::write(&late, readings([3]).join("\n") + "\n").unwrap();
    for _ in 0..2 {
        let run = data_dir.run("compact", "").expect(3);
        assert!(run.stderr.contains("has only 1 line, and quarantine/telemetry/"), "{}", run.stderr);
        assert!(run.stderr.contains("delete parquet/telemetry/2025/09/02/10.expired.json"), "{}", run.stderr);
        assert_eq!((quarantine(&data_dir), late.exists()), (kept.clone(), true));
    }
    std::fs::write(&late, readings([2, 3]).join("\n") + "\n").unwrap();
    data_dir.run("compact", "").expect(3);
    assert_eq!((quarantine(&data_dir).len(), late.exists()), (2, false), "all of it closes the hour once more");
}
