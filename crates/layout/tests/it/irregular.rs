//! A FIFO, a socket or a folder that is named like a file of the tree: nobody waits for it, and nobody takes it for one.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::common::{TestDir, hour, name, put};
use layout::{Area, Commit, HourRange, SealedSegment, Tree};

const HOUR: &str = "2025-09-02T10";

const SEGMENT: &str = "01K3ZZZZZZZZZZZZZZZZZZZZZZ";

/// Makes one thing of each kind that is no regular file at `path`, one after the other, and calls `check` for each.
fn irregular(path: &Path, mut check: impl FnMut(&str)) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let elsewhere = path.with_file_name("elsewhere");
    let fifo = |path: &Path| rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0);
    fifo(path).unwrap();
    check("a FIFO");
    fs::remove_file(path).unwrap();
    drop(UnixListener::bind(path).unwrap());
    check("a socket");
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
    check("a folder");
    fs::remove_dir(path).unwrap();
    fifo(&elsewhere).unwrap();
    symlink(&elsewhere, path).unwrap();
    check("a FIFO");
    fs::remove_file(path).unwrap();
    fs::remove_file(&elsewhere).unwrap();
}

fn segment(tree: &Tree, area: Area, ending: &str) -> SealedSegment {
    let path = tree.folder(area, &name("telemetry")).join(format!("2025/09/02/10.{SEGMENT}.{ending}"));
    SealedSegment { hour: hour(HOUR), name: SEGMENT.parse().unwrap(), path }
}

#[test]
fn every_listing_passes_over_what_is_no_regular_file() {
    let (dir, data) = (TestDir::new(), name("telemetry"));
    let tree = &dir.tree;
    for area in [Area::Raw, Area::Quarantine] {
        irregular(&segment(tree, area, "json").path, |kind| assert_eq!(dir.sealed(area, &data), [], "{kind}"));
        irregular(&segment(tree, area, "json.open").path, |kind| {
            assert_eq!(tree.open_segments(area, &data).unwrap(), [], "{kind}");
            assert!(layout::recover(tree, area, &data, chrono::Utc::now()).unwrap().is_empty(), "{kind}");
        });
    }
    let parquet = tree.parquet(&data, hour(HOUR));
    irregular(&parquet, |kind| {
        assert_eq!(tree.parquet_files(&data, HourRange::ALL).unwrap(), [], "{kind}");
        let hours = tree.hours(&data, HourRange::ALL).unwrap();
        assert!(hours.published.is_empty() && hours.expired.is_empty(), "{kind}");
    });
    irregular(&parquet.with_extension("expired.json"), |kind| {
        assert!(tree.hours(&data, HourRange::ALL).unwrap().expired.is_empty(), "{kind}");
        assert!(!tree.is_expired(&data, hour(HOUR)).unwrap(), "{kind}");
    });
    irregular(&parquet.with_file_name(".10.parquet.01K3.tmp"), |kind| {
        assert!(tree.unpublished(Area::Parquet, &data).unwrap().is_empty(), "{kind}");
    });
}

#[track_caller]
fn refused<T: std::fmt::Debug>(kind: &str, result: layout::Result<T>) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(&format!("is {kind}, and no regular file: move it out of the tree")), "{error}");
}

#[test]
fn nothing_waits_for_what_is_no_regular_file_and_the_error_says_what_it_is() {
    let (dir, data) = (TestDir::new(), name("telemetry"));
    let tree = &dir.tree;
    let sealed = segment(tree, Area::Raw, "json");
    irregular(&sealed.path, |kind| {
        refused(kind, sealed.open());
        refused(kind, layout::count_rejected(&sealed.path));
    });
    let parquet = tree.parquet(&data, hour(HOUR));
    irregular(&parquet, |kind| {
        refused(kind, Commit::read(&parquet));
        refused(kind, tree.commit(&data, hour(HOUR)));
        refused(kind, layout::sync_published(&parquet));
        let lock = layout::DatasetLock::try_acquire(tree, &data).unwrap().unwrap();
        refused(kind, tree.draft_parquet(&lock, &data, hour(HOUR)));
    });
    irregular(&parquet.with_extension("expired.json"), |kind| refused(kind, tree.expired_record(&data, hour(HOUR))));
    irregular(&tree.root().join("tree-id"), |kind| refused(kind, tree.id()));
}

#[test]
fn a_link_to_a_regular_file_is_one_and_a_link_to_nothing_is_an_hour_on_a_disk_that_is_not_there() {
    let (dir, data) = (TestDir::new(), name("telemetry"));
    let elsewhere = dir.tree.root().join("elsewhere");
    put(&elsewhere, "{}\n");
    let sealed = segment(&dir.tree, Area::Raw, "json");
    fs::create_dir_all(sealed.path.parent().unwrap()).unwrap();
    symlink(&elsewhere, &sealed.path).unwrap();
    assert_eq!(dir.sealed(Area::Raw, &data), std::slice::from_ref(&sealed));
    assert_eq!(std::io::read_to_string(sealed.open().unwrap()).unwrap(), "{}\n");
    fs::remove_file(&elsewhere).unwrap();
    assert_eq!(dir.sealed(Area::Raw, &data), std::slice::from_ref(&sealed));
    assert!(sealed.open().unwrap_err().is_not_found());
    let parquet = dir.tree.parquet(&data, hour(HOUR));
    fs::create_dir_all(parquet.parent().unwrap()).unwrap();
    symlink(&elsewhere, &parquet).unwrap();
    assert!(dir.tree.hours(&data, HourRange::ALL).unwrap().published[0].1.is_err());
    put(&parquet.with_extension("expired.json"), "{}");
    assert!(!dir.tree.is_expired(&data, hour(HOUR)).unwrap());
}
