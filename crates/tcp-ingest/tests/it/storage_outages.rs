//! tcp-ingest on storage that refuses: each time the source is held, one message says so, and it goes on by itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::disk::Bound;
use crate::common::{Source, lines, see_tries_fail};
use harness::{DataDir, Server, SmallDisk, until};

/// Waits until reading has stopped, and several tries to write have passed that changed nothing.
#[track_caller]
fn see_it_wait(server: &Server, data_dir: &DataDir, written: usize) {
    until("it waits", || server.log().contains("reading waits"));
    see_tries_fail(server, "still waiting");
    assert_eq!(lines(data_dir, "raw").len(), written, "{}", server.log());
    assert_eq!(server.log().matches("reading waits").count(), 1, "one message an outage:\n{}", server.log());
}

/// Stops a server that was in trouble and is not any more.
#[track_caller]
fn stop(server: Server) {
    until("it says that it is over", || server.log().contains("writing works again"));
    let log = server.stop();
    assert_eq!(log.matches("writing works again").count(), 1, "{log}");
    assert!(!log.contains("resumes where it was"), "the worker is not to die of it:\n{log}");
}

#[test]
fn errors_of_writing_are_waited_for_and_what_a_failed_write_left_is_cut_off() {
    for point in ["segment.write", "segment.short"] {
        let data_dir = DataDir::new();
        let outage = data_dir.path().join("outage");
        let mut command = data_dir.program("tcp-ingest");
        command.env("FAULT", point).env("FAULT_WHILE", &outage);
        let server = Server::start_command(command, &["telemetry"], "-vv");
        let mut source = Source::new(&server);
        source.send_and_see(&data_dir, 0);
        fs::write(&outage, "").unwrap();
        source.send(0);
        source.send(1);
        see_it_wait(&server, &data_dir, 100);
        assert!(server.log().contains("Input/output error"), "{}", server.log());
        fs::remove_file(&outage).unwrap();
        source.see(&data_dir);
        stop(server);
        source.check(&data_dir);
    }
}

#[test]
fn a_disk_that_becomes_read_only_is_waited_for() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    let data_dir = DataDir::at(&disk.path().join("data"));
    let server = Server::start(&data_dir, &["telemetry"], "-vv --seal-after 10ms --sync-every 10ms");
    let mut source = Source::new(&server);
    source.send_and_see(&data_dir, 0);
    // While a file is open for writing, the kernel refuses.
    until("it is read-only", || disk.remount("ro"));
    source.send(0);
    see_it_wait(&server, &data_dir, 100);
    assert!(disk.remount("rw"));
    source.see(&data_dir);
    stop(server);
    source.check(&data_dir);
}

#[test]
fn a_mount_that_becomes_read_only_keeps_open_segments_open_until_they_can_be_sealed() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    let data_dir = DataDir::at(&disk.path().join("data"));
    let server = Server::start(&data_dir, &["telemetry"], "-vv --seal-after 1s --sync-every 10ms");
    let mut source = Source::new(&server);
    source.send_and_see(&data_dir, 0);
    // With an open file that can still be written, as when the disk turns read-only on its own.
    let bound = Bound::new(data_dir.path(), data_dir.path());
    assert!(bound.remount("ro"));
    until("it cannot seal", || server.log().contains("cannot seal"));
    source.send(1);
    see_it_wait(&server, &data_dir, 100);
    assert!(bound.remount("rw"));
    source.see(&data_dir);
    until("all is sealed", || server.log().contains("all segments are sealed again"));
    stop(server);
    source.check(&data_dir);
}

fn worker(server: &Server) -> u32 {
    until("there is a worker", || server.workers().len() == 1);
    server.workers()[0]
}

/// Allows a process so many descriptors; those that it has over the limit stay open.
fn limit_descriptors(process: u32, limit: u32) {
    let done = Command::new("prlimit").args([format!("--pid={process}"), format!("--nofile={limit}:")]).status();
    assert!(done.unwrap().success());
}

#[test]
fn without_descriptors_for_segments_the_source_waits() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "-vv --workers 1 --sync-every 50ms");
    let mut source = Source::new(&server);
    source.send_and_see(&data_dir, 0);
    let worker = worker(&server);
    limit_descriptors(worker, 0);
    // What is open can be written and synced.
    source.send_and_see(&data_dir, 0);
    source.send(1);
    see_it_wait(&server, &data_dir, 200);
    assert!(server.log().contains("ulimit -n"), "it says what to do:\n{}", server.log());
    limit_descriptors(worker, 1000);
    source.see(&data_dir);
    stop(server);
    source.check(&data_dir);
}

#[test]
fn a_connection_that_the_worker_has_no_descriptor_for_is_served_nevertheless() {
    let data_dir = DataDir::new();
    let server = Server::start(&data_dir, &["telemetry"], "--workers 1 --sync-every 50ms");
    let mut first = Source::new(&server);
    first.send_and_see(&data_dir, 0);
    limit_descriptors(worker(&server), 0);
    let mut second = Source::new(&server);
    second.sent.clone_from(&first.sent);
    second.send_and_see(&data_dir, 0);
    first.sent.clone_from(&second.sent);
    first.send_and_see(&data_dir, 1);
    let log = server.stop();
    assert!(log.contains("ulimit -n"), "{log}");
    first.check(&data_dir);
}

/// A disk of its own, in memory, on which the file system can break.
struct Breakable {
    memory: SmallDisk,
    device: String,
}

impl Breakable {
    fn new() -> Option<Self> {
        let memory = SmallDisk::mount("size=32m")?;
        let image = memory.path().join("image");
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let made = run("losetup", &["--find", "--show", image.to_str().unwrap()]);
        let Some(device) = made else {
            harness::skipped("a file system that breaks needs root and loop devices");
            return None;
        };
        let disk = Self { memory, device: device.trim().to_owned() };
        fs::create_dir(disk.path()).unwrap();
        run("mkfs.ext4", &["-q", &disk.device]).unwrap();
        disk.mount();
        Some(disk)
    }

    fn path(&self) -> std::path::PathBuf {
        self.memory.path().join("disk")
    }

    fn mount(&self) {
        run("mount", &["-o", "errors=remount-ro", &self.device, self.path().to_str().unwrap()]).unwrap();
    }

    /// What the kernel shows of the file system as long as it is mounted.
    fn state(&self) -> std::path::PathBuf {
        Path::new("/sys/fs/ext4").join(Path::new(&self.device).file_name().unwrap())
    }

    /// What the kernel does when it finds the file system damaged: it is read-only until it is checked and mounted again.
    fn break_down(&self) {
        run("sync", &["--file-system", self.path().to_str().unwrap()]).unwrap();
        fs::write(self.state().join("trigger_fs_error"), "a test").unwrap();
    }

    fn repair(&self) {
        run("umount", &[self.path().to_str().unwrap()]).unwrap();
        // A program that was started in a space of its own meanwhile has it mounted, too.
        until("nobody has it mounted", || !self.state().exists());
        // Status 1: it mended something.
        let _ = Command::new("fsck.ext4").args(["-p", &self.device]).output().unwrap();
        self.mount();
    }
}

impl Drop for Breakable {
    fn drop(&mut self) {
        run("umount", &["-l", self.path().to_str().unwrap()]);
        run("losetup", &["--detach", &self.device]);
    }
}

/// What a program writes to stdout, if it succeeds.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_file_system_that_breaks_under_open_segments_holds_the_sources_and_keeps_what_it_has() {
    let Some(disk) = Breakable::new() else { return };
    let data_dir = DataDir::at(&disk.path().join("data"));
    let server = Server::start(&data_dir, &["telemetry"], "-vv --drain-timeout 100ms");
    let mut source = Source::new(&server);
    source.send_and_see(&data_dir, 0);
    disk.break_down();
    let written = source.sent.clone();
    source.send(0);
    source.send(1);
    see_it_wait(&server, &data_dir, 100);
    // It cannot be mended under it. What the kernel holds is lost then, and that is said.
    server.signal("-TERM");
    let (status, log) = server.wait();
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("lost in all: "), "{log}");
    disk.repair();
    let server = Server::start(&data_dir, &["telemetry"], "");
    let log = server.stop();
    assert!(log.contains("recovered "), "{log}");
    source.sent = written;
    source.check(&data_dir);
}
