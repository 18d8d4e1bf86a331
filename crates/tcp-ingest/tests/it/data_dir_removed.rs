//! The data directory, or a part of it, is removed, moved or unmounted under a running tcp-ingest.

use std::fs;
use std::path::PathBuf;

use crate::common::disk::Bound;
use crate::common::{Source, lines, see_tries_fail};
use harness::{DataDir, Server, SmallDisk, until};

/// A data directory that may go, in a folder that stays.
fn data_dir() -> (harness::tempfile::TempDir, DataDir) {
    let folder = harness::tempfile::tempdir().unwrap();
    let data_dir = DataDir::at(&folder.path().join("data"));
    (folder, data_dir)
}

/// What is removed: the data directory, or a stream's folder, or a day's.
fn parts(data_dir: &DataDir) -> [PathBuf; 3] {
    ["", "raw/telemetry", "raw/telemetry/1970/01/01"].map(|part| data_dir.path().join(part))
}

#[test]
fn what_is_removed_while_it_is_written_is_there_again_with_all_lines() {
    for part in 0..3 {
        let (_folder, data_dir) = data_dir();
        let server = Server::start(&data_dir, &["telemetry"], "");
        let mut source = Source::new(&server);
        source.send_and_see(&data_dir, 0);
        fs::remove_dir_all(&parts(&data_dir)[part]).unwrap();
        // Nobody has seen it yet.
        source.send(0);
        source.see(&data_dir);
        source.send_and_see(&data_dir, 1);
        let log = server.stop();
        assert!(log.contains("is there again"), "{log}");
        source.check(&data_dir);
    }
}

#[test]
fn what_is_removed_just_before_the_end_is_sealed_nevertheless() {
    for part in 0..3 {
        let (_folder, data_dir) = data_dir();
        let server = Server::start(&data_dir, &["telemetry"], "--sync-every 1h");
        let mut source = Source::new(&server);
        source.send_and_see(&data_dir, 0);
        fs::remove_dir_all(&parts(&data_dir)[part]).unwrap();
        source.send(0);
        server.stop();
        source.check(&data_dir);
    }
}

#[test]
fn what_was_removed_under_a_worker_that_died_is_put_back_by_the_next() {
    for part in 0..3 {
        let (_folder, data_dir) = data_dir();
        let server = Server::start(&data_dir, &["telemetry"], "--sync-every 1h");
        let mut source = Source::new(&server);
        source.send_and_see(&data_dir, 0);
        fs::remove_dir_all(&parts(&data_dir)[part]).unwrap();
        source.send(0);
        assert!(server.kill_worker());
        source.see(&data_dir);
        server.stop();
        source.check(&data_dir);
    }
}

#[test]
fn a_data_directory_that_is_moved_away_is_waited_for() {
    let (folder, data_dir) = data_dir();
    let elsewhere = folder.path().join("elsewhere");
    let server = Server::start(&data_dir, &["telemetry"], "-vv --sync-every 50ms --seal-after 300ms --workers 1");
    let mut source = Source::new(&server);
    source.send_and_see(&data_dir, 0);
    fs::rename(data_dir.path(), &elsewhere).unwrap();
    until("it is seen", || server.log().contains("reading waits"));
    let moved = DataDir::at(&elsewhere);
    for hour in [0, 1] {
        source.send(hour);
    }
    see_tries_fail(&server, "still waiting");
    see_tries_fail(&server, "still not sealed");
    assert!(!data_dir.path().exists(), "it was made again");
    assert_eq!(lines(&moved, "raw").len(), 100, "it went on writing");
    assert_eq!(server.log().matches("reading waits").count(), 1, "{}", server.log());
    // A worker that begins in the meantime waits too.
    assert!(server.kill_worker());
    until("the next one waits", || server.log().matches("reading waits").count() == 2);
    assert!(!data_dir.path().exists(), "it was made again");
    fs::rename(&elsewhere, data_dir.path()).unwrap();
    source.see(&data_dir);
    server.stop();
    source.check(&data_dir);
}

#[test]
fn a_folder_of_a_stream_that_is_moved_away_takes_no_line_with_it_twice() {
    let (folder, data_dir) = data_dir();
    let elsewhere = folder.path().join("elsewhere");
    let server = Server::start(&data_dir, &["telemetry"], "--sync-every 50ms");
    let mut source = Source::new(&server);
    source.send_and_see(&data_dir, 0);
    let stream = data_dir.path().join("raw/telemetry");
    fs::rename(&stream, &elsewhere).unwrap();
    source.send(0);
    source.see(&data_dir);
    server.stop();
    source.check(&data_dir);
    let left: u64 =
        fs::read_dir(elsewhere.join("1970/01/01")).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(left, 0);
}

#[test]
fn nothing_is_written_beneath_the_mount_point_of_a_disk_that_is_gone() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    let folder = harness::tempfile::tempdir().unwrap();
    let mount_point = folder.path().join("data");
    fs::create_dir(&mount_point).unwrap();
    let bound = Bound::new(disk.path(), &mount_point);
    let data_dir = DataDir::at(&mount_point);
    let server = Server::start(&data_dir, &["telemetry"], "-vv --sync-every 50ms --seal-after 300ms --workers 1");
    let mut source = Source::new(&server);
    source.send_and_see(&data_dir, 0);
    drop(bound);
    until("it is seen", || server.log().contains("reading waits"));
    for hour in [0, 1] {
        source.send(hour);
    }
    let on_disk = DataDir::at(disk.path());
    see_tries_fail(&server, "still waiting");
    see_tries_fail(&server, "still not sealed");
    assert_eq!(lines(&on_disk, "raw").len(), 100, "it went on writing");
    assert_eq!(server.log().matches("reading waits").count(), 1, "{}", server.log());
    assert!(server.kill_worker());
    until("the next one waits", || server.log().matches("reading waits").count() == 2);
    // Nor does a new keeper take what is there for the data directory.
    server.signal("-USR2");
    until("the keeper is replaced", || server.log().contains("the keeper was replaced"));
    assert!(server.kill_worker());
    until("the next one waits", || server.log().matches("reading waits").count() == 3);
    assert_eq!(fs::read_dir(&mount_point).unwrap().count(), 0, "{}", server.log());
    let _bound = Bound::new(disk.path(), &mount_point);
    source.see(&data_dir);
    server.stop();
    source.check(&data_dir);
}

#[test]
fn a_restart_takes_what_is_there_for_the_data_directory() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    let folder = harness::tempfile::tempdir().unwrap();
    let data_dir = DataDir::at(folder.path());
    let bound = Bound::new(disk.path(), folder.path());
    let server = Server::start(&data_dir, &["telemetry"], "--sync-every 50ms --drain-timeout 100ms");
    let mut source = Source::new(&server);
    source.send_and_see(&data_dir, 0);
    drop(bound);
    until("it is seen", || server.log().contains("reading waits"));
    server.signal("-TERM");
    let (status, log) = server.wait();
    assert_eq!(status, Some(1), "{log}");
    let server = Server::start(&data_dir, &["telemetry"], "");
    let mut source = Source::new(&server);
    source.send_and_see(&data_dir, 0);
    server.stop();
    source.check(&data_dir);
    assert_eq!(lines(&DataDir::at(disk.path()), "raw").len(), 100, "what was written is where it was");
}
