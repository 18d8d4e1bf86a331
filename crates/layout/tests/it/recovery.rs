//! Recovery: what a dead writer left is sealed, once; what a living one writes is left alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::IoSlice;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{SetAtEnd, TestDir, hour, kill, name, ready};
use base64::Engine as _;
use chrono::Utc;
use layout::{Area, Hour, OpenSegment, Recovered, seal};
use proptest::prelude::*;

fn recover(dir: &TestDir) -> Vec<Recovered> {
    layout::recover(&dir.tree, Area::Raw, &name("telemetry"), Utc::now()).unwrap()
}

fn abandon(dir: &TestDir, lines: &[u8]) {
    dir.abandon(Area::Raw, &name("telemetry"), hour("2025-09-02T10"), lines);
}

/// The content of all sealed segments of telemetry.
fn sealed(dir: &TestDir) -> Vec<u8> {
    dir.sealed(Area::Raw, &name("telemetry")).iter().flat_map(|segment| fs::read(&segment.path).unwrap()).collect()
}

/// The original bytes in the quarantine, one entry a record.
fn quarantined(dir: &TestDir) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    for segment in dir.sealed(Area::Quarantine, &name("telemetry")) {
        for record in fs::read_to_string(&segment.path).unwrap().lines() {
            let record: serde_json::Value = serde_json::from_str(record).unwrap();
            assert_eq!(record["reason"], "torn");
            assert!(record["source"].as_str().unwrap().starts_with("raw/telemetry/2025/09/02/10."));
            lines.push(match record.get("line") {
                Some(line) => line.as_str().unwrap().as_bytes().to_vec(),
                None => {
                    base64::engine::general_purpose::STANDARD.decode(record["line_base64"].as_str().unwrap()).unwrap()
                }
            });
        }
    }
    lines
}

#[test]
fn a_segment_is_left_alone_as_long_as_this_process_writes_it() {
    let dir = TestDir::new();
    let mut segment = OpenSegment::create(
        &dir.tree,
        Area::Raw,
        &name("telemetry"),
        hour("2025-09-02T10"),
        layout::StreamVersion::of(""),
    )
    .unwrap();
    segment.append(&mut [IoSlice::new(b"{}\n{")]).unwrap();
    assert!(recover(&dir).is_empty());
    // A sync that another thread has yet to do keeps the lock as well: the file is still in use.
    let sync = segment.to_sync();
    drop(segment);
    assert!(recover(&dir).is_empty());
    drop(sync);
    assert_eq!(recover(&dir).len(), 1);
    assert_eq!(sealed(&dir), b"{}\n");
}

#[test]
fn child_writes_and_waits() {
    let Some(dir) = TestDir::of_child() else { return };
    let mut segment = OpenSegment::create(
        &dir.tree,
        Area::Raw,
        &name("telemetry"),
        hour("2025-09-02T10"),
        layout::StreamVersion::of(""),
    )
    .unwrap();
    segment.append(&mut [IoSlice::new(b"{\"a\":1}\n{\"b\":")]).unwrap();
    ready();
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

#[test]
fn a_segment_is_recovered_when_its_writer_is_killed_and_not_before() {
    let dir = TestDir::new();
    let child = dir.start("child_writes_and_waits");
    assert!(recover(&dir).is_empty());
    assert_eq!(sealed(&dir), b"");
    kill(child);
    let recovered = recover(&dir);
    assert_eq!((recovered.len(), recovered[0].torn), (1, 5));
    assert_eq!(recovered[0].sealed.as_ref(), dir.sealed(Area::Raw, &name("telemetry")).first());
    assert_eq!((sealed(&dir), quarantined(&dir)), (b"{\"a\":1}\n".to_vec(), vec![b"{\"b\":".to_vec()]));
}

#[test]
fn a_segment_that_is_let_go_is_free_at_once_although_children_are_being_started() {
    let dir = TestDir::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = SetAtEnd(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                Command::new("true").status().unwrap();
            }
        });
        for _ in 0..300 {
            abandon(&dir, b"{}\n");
            assert_eq!(recover(&dir).len(), 1, "a child that does not know of the segment holds its lock");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whole_lines_are_sealed_and_a_torn_one_is_kept(
        lines in "([a-z]{0,10}\n){0,5}",
        tail in prop_oneof!["[a-z]{0,10}".prop_map(String::into_bytes), proptest::collection::vec(11u8.., 1..20)],
        long in prop_oneof![Just(0usize), 65_000usize..66_100, 131_000usize..131_100],
    ) {
        let dir = TestDir::new();
        let tail = [vec![b'x'; long], tail].concat();
        let text = [lines.as_bytes(), &tail].concat();
        abandon(&dir, &text);
        let recovered = recover(&dir);
        prop_assert_eq!(recovered.len(), 1);
        prop_assert_eq!(recovered[0].torn, tail.len());
        prop_assert_eq!(recovered[0].sealed.is_some(), !lines.is_empty());
        prop_assert_eq!(sealed(&dir), lines.as_bytes());
        let expected = if tail.is_empty() { Vec::new() } else { vec![tail] };
        prop_assert_eq!(quarantined(&dir), expected);
        prop_assert!(recover(&dir).is_empty());
    }
}

#[test]
fn a_file_that_is_one_torn_line_of_many_megabytes_goes_to_quarantine_whole() {
    let dir = TestDir::new();
    let line = vec![b'x'; 40 << 20];
    abandon(&dir, &line);
    let recovered = recover(&dir);
    assert!(recovered[0].sealed.is_none() && recovered[0].torn == line.len());
    assert!(quarantined(&dir) == [line]);
    assert_eq!(dir.files().len(), 1, "{:?}", dir.files());
}

#[test]
fn child_recovers() {
    let Some(dir) = TestDir::of_child() else { return };
    recover(&dir);
}

#[test]
fn a_torn_line_is_quarantined_once_however_often_recovery_dies() {
    let dir = TestDir::new();
    abandon(&dir, b"{\"a\":1}\n{\"b\":");
    for fault in [
        "publish.written",
        "publish.renamed",
        "recover.quarantined",
        "recover.quarantined",
        "seal.synced",
        "seal.renamed",
    ] {
        dir.die_at("child_recovers", fault);
        assert!(sealed(&dir).is_empty() || fault == "seal.renamed");
        assert!(quarantined(&dir).len() <= 1, "{:?}", quarantined(&dir));
    }
    assert!(recover(&dir).is_empty(), "the last one had renamed it");
    assert_eq!((sealed(&dir), quarantined(&dir)), (b"{\"a\":1}\n".to_vec(), vec![b"{\"b\":".to_vec()]));
}

#[test]
fn recovery_of_one_stream_or_area_does_not_touch_another() {
    let dir = TestDir::new();
    abandon(&dir, b"{}\n");
    dir.abandon(Area::Quarantine, &name("telemetry"), hour("2025-09-02T10"), b"{\"reason\":\"torn\"}\n");
    dir.abandon(Area::Raw, &name("measurement"), hour("2025-09-02T10"), b"{}\n");
    assert_eq!(recover(&dir).len(), 1);
    let open: Vec<_> = dir.files().into_iter().filter(|file| file.ends_with("open")).collect();
    assert_eq!(open.len(), 2, "{open:?}");
}

#[test]
fn a_torn_record_of_the_quarantine_is_quarantined_itself() {
    let dir = TestDir::new();
    let stream = name("telemetry");
    dir.abandon(Area::Quarantine, &stream, hour("2025-09-02T10"), b"{\"reason\":\"not_json\"}\n{\"rea");
    let recovered = layout::recover(&dir.tree, Area::Quarantine, &stream, Utc::now()).unwrap();
    assert_eq!((recovered.len(), recovered[0].torn), (1, 5));
    let counts =
        dir.sealed(Area::Quarantine, &stream).into_iter().map(|file| layout::count_rejected(&file.path).unwrap());
    let reasons: Vec<_> = counts.flat_map(BTreeMap::into_keys).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(layout::recover(&dir.tree, Area::Quarantine, &stream, Utc::now()).unwrap().is_empty());
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_that_names_it() {
    let dir = TestDir::new();
    let path = dir.tree.root().join("raw/telemetry/2025/09/02/10.01K4A6Q0000000000000000000.json.open");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("loop.json.open", path.with_file_name("loop.json.open")).unwrap();
    std::os::unix::fs::symlink("loop.json.open", &path).unwrap();
    let error = layout::recover(&dir.tree, Area::Raw, &name("telemetry"), Utc::now()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot open: ", path.display())), "{error}");
}

#[test]
fn two_that_recover_at_once_seal_each_segment_once() {
    const SEGMENTS: usize = 20;
    for _ in 0..5 {
        let dir = TestDir::new();
        for i in 0..SEGMENTS {
            abandon(&dir, format!("{{\"a\":{i}}}\n{{\"torn\":{i}").as_bytes());
        }
        let recovered: usize = std::thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(|| recover(&dir).len()));
            both.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(recovered, SEGMENTS);
        assert_eq!((dir.sealed(Area::Raw, &name("telemetry")).len(), quarantined(&dir).len()), (SEGMENTS, SEGMENTS));
        assert!(recover(&dir).is_empty());
    }
}

#[test]
fn who_creates_a_segment_keeps_it_while_others_recover() {
    const ROUNDS: u32 = 400;
    let dir = TestDir::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let recoverers = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut taken = 0;
                while !done.load(Ordering::Relaxed) {
                    taken += recover(&dir).iter().filter(|one| one.sealed.is_some()).count();
                }
                taken
            })
        });
        let end = SetAtEnd(&done);
        let hour: Hour = hour("2025-09-02T10");
        for round in 0..ROUNDS {
            let mut segment =
                OpenSegment::create(&dir.tree, Area::Raw, &name("telemetry"), hour, layout::StreamVersion::of(""))
                    .unwrap();
            segment.append(&mut [IoSlice::new(format!("{round}\n").as_bytes())]).unwrap();
            assert!(segment.path().exists(), "somebody took a segment from its living writer");
            let sealed = seal(vec![segment]).unwrap();
            assert_eq!(fs::read_to_string(&sealed[0].path).unwrap(), format!("{round}\n"));
        }
        drop(end);
        let taken: usize = recoverers.into_iter().map(|one| one.join().unwrap()).sum();
        assert_eq!(taken, 0, "a recovery sealed a segment with a living writer");
    });
    let mut lines: Vec<u32> =
        String::from_utf8(sealed(&dir)).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    assert!(lines.into_iter().eq(0..ROUNDS));
    assert!(dir.files().iter().all(|file| !file.ends_with("open")));
}
