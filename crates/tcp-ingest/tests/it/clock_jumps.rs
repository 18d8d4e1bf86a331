//! The clock jumps under a running tcp-ingest, as when a machine that boots without a battery reaches a time server.
//!
//! What the clock decides is where a message belongs: its hour in quarantine/, in raw/ too where the stream has no event
//! time, and what event times are believed. What is to happen when, it does not decide: that follows the monotonic clock.
//! The program sees a clock of its own, the machine's stays as it is.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use crate::common::{lines, quarantined};
use chrono::{DateTime, Utc};
use harness::{DataDir, Server, epoch, reading, until};

const NOW: &str = "2025-09-02T10:30:00Z";
/// Where the clock goes: an hour and a year, ahead and back, and far away.
const JUMPS: [&str; 8] = [
    "2025-09-02T11:30:00Z",
    "2025-09-02T09:30:00Z",
    "2026-09-02T10:30:00Z",
    "2024-09-02T10:30:00Z",
    "2025-09-02T10:59:59Z",
    "1970-01-01T00:00:01Z",
    "2037-12-31T23:59:59Z",
    NOW,
];

/// Stands in front of the C library's function: the time of day is what a file says, in seconds since 1970. (libfaketime
/// does the same with a semaphore that a process which is killed may keep.)
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("CLOCK_FILE");
    if (result == 0 && clock == CLOCK_REALTIME && path) {
        int before = errno, file = open(path, O_RDONLY | O_CLOEXEC);
        char text[32] = {0};
        if (file >= 0 && read(file, text, sizeof text - 1) > 0) {
            now->tv_sec = atoll(text);
            now->tv_nsec = 0;
        }
        if (file >= 0) close(file);
        errno = before;
    }
    return result;
}
"#;

/// A clock that stands until it is set.
struct Clock(harness::tempfile::TempDir);

impl Clock {
    fn new() -> Option<Self> {
        let clock = Self(harness::tempfile::tempdir().unwrap());
        fs::write(clock.path("clock.c"), SHIM).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(clock.path("clock.so")).arg(clock.path("clock.c"));
        if !compiler.status().is_ok_and(|status| status.success()) {
            harness::skipped("a clock that jumps needs a C compiler");
            return None;
        }
        clock.set(NOW);
        Some(clock)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// By rename: nobody reads half a time.
    fn set(&self, time: &str) {
        let seconds = time.parse::<DateTime<Utc>>().unwrap().timestamp();
        fs::write(self.path("draft"), seconds.to_string()).unwrap();
        fs::rename(self.path("draft"), self.path("time")).unwrap();
    }

    fn start(&self, data_dir: &DataDir, streams: &[&str], arguments: &str) -> Server {
        let mut command = data_dir.program("tcp-ingest");
        command.env("LD_PRELOAD", self.path("clock.so")).env("CLOCK_FILE", self.path("time"));
        Server::start_command(command, streams, arguments)
    }
}

/// A device whose messages have no event time.
struct Device {
    socket: TcpStream,
    sent: u64,
}

impl Device {
    fn new(server: &Server) -> Self {
        Self { socket: server.connect(), sent: 0 }
    }

    /// Sends fifty messages and waits until they are written.
    fn send(&mut self, data_dir: &DataDir) {
        let line = |n| format!("{{\"kind\":\"Temperature\",\"value\":{n},\"unit\":\"Celsius\"}}\n");
        let text: String = (self.sent..self.sent + 50).map(line).collect();
        self.socket.write_all(text.as_bytes()).unwrap();
        self.sent += 50;
        until("it is written", || written(data_dir).values().map(Vec::len).sum::<usize>() as u64 == self.sent);
    }

    /// Each message is in a sealed segment once.
    #[track_caller]
    fn check(&self, data_dir: &DataDir) {
        assert!(data_dir.files_like("", ".open").is_empty());
        let mut values: Vec<_> = written(data_dir).into_values().flatten().collect();
        values.sort_unstable();
        assert_eq!(values, (0..self.sent).collect::<Vec<_>>());
        assert!(quarantined(data_dir).is_empty());
    }
}

/// The values in raw/ by the time of arrival that they were stamped with, in seconds.
fn written(data_dir: &DataDir) -> BTreeMap<i64, Vec<u64>> {
    let mut written = BTreeMap::<_, Vec<_>>::new();
    for line in lines(data_dir, "raw") {
        // One that is just being written is not there yet.
        let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        let stamp = line["arrival_time_us"].as_i64().unwrap() / 1_000_000;
        written.entry(stamp).or_default().push(line["message"]["value"].as_u64().unwrap());
    }
    written
}

/// How many segments there are, open or sealed.
fn segments(data_dir: &DataDir) -> usize {
    data_dir.files_like("raw/", ".json").len() + data_dir.files_like("raw/", ".open").len()
}

#[test]
fn each_message_is_in_the_hour_that_the_clock_said_once_however_it_jumps() {
    let Some(clock) = Clock::new() else { return };
    let data_dir = DataDir::new();
    let server = clock.start(&data_dir, &["measurement"], "--workers 1");
    let mut device = Device::new(&server);
    for time in JUMPS {
        clock.set(time);
        device.send(&data_dir);
        let (day, hour) = (&time[..10].replace('-', "/"), &time[11..13]);
        assert!(!data_dir.files_like(&format!("raw/measurement/{day}/{hour}."), ".open").is_empty(), "{time}");
        // Sealing goes by the age of segments, and none is old.
        assert!(data_dir.files_like("raw/", ".json").is_empty(), "{time}");
    }
    // That of 10:59 is that of 10:30.
    assert_eq!(segments(&data_dir), JUMPS.len() - 1, "{:?}", data_dir.files());
    server.stop();
    device.check(&data_dir);
}

#[test]
fn a_worker_that_resumes_another_one_s_work_at_another_time_does_it_once() {
    let Some(clock) = Clock::new() else { return };
    let data_dir = DataDir::new();
    let server = clock.start(&data_dir, &["measurement"], "");
    let mut device = Device::new(&server);
    for time in JUMPS {
        device.send(&data_dir);
        clock.set(time);
        assert!(server.kill_worker());
        device.send(&data_dir);
    }
    server.stop();
    device.check(&data_dir);
}

#[test]
fn a_clock_that_goes_to_and_fro_makes_no_more_segments_than_hours() {
    let Some(clock) = Clock::new() else { return };
    let data_dir = DataDir::new();
    let server = clock.start(&data_dir, &["measurement"], "--workers 1");
    let mut device = Device::new(&server);
    for round in 0..20 {
        clock.set(JUMPS[round % 4]);
        device.send(&data_dir);
    }
    assert_eq!(segments(&data_dir), 4);
    server.stop();
    device.check(&data_dir);
}

#[test]
fn segments_are_sealed_by_their_age_whatever_the_clock_says() {
    let Some(clock) = Clock::new() else { return };
    let data_dir = DataDir::new();
    let server = clock.start(&data_dir, &["measurement"], "--workers 1 --seal-after 200ms --sync-every 20ms");
    let mut device = Device::new(&server);
    for (round, time) in JUMPS.into_iter().enumerate() {
        device.send(&data_dir);
        clock.set(time);
        until("it is sealed", || data_dir.files_like("raw/", ".json").len() > round);
    }
    server.stop();
    device.check(&data_dir);
}

#[test]
fn what_a_crash_left_is_recovered_when_the_clock_was_set_back_or_ahead_meanwhile() {
    let Some(clock) = Clock::new() else { return };
    let data_dir = DataDir::new();
    let mut sent = 0;
    for time in JUMPS {
        let server = clock.start(&data_dir, &["measurement"], "");
        let mut device = Device { socket: server.connect(), sent };
        device.send(&data_dir);
        server.crash();
        clock.set(time);
        let server = clock.start(&data_dir, &["measurement"], "");
        until("it recovers", || server.log().contains("recovered"));
        device.socket = server.connect();
        device.send(&data_dir);
        server.stop();
        device.check(&data_dir);
        sent = device.sent;
    }
}

#[test]
fn event_times_are_believed_by_the_clock_of_the_moment_and_none_is_lost() {
    let Some(clock) = Clock::new() else { return };
    let data_dir = DataDir::new();
    let server = clock.start(&data_dir, &["telemetry"], "");
    let mut socket = server.connect();
    let event = epoch("2025-09-02T10");
    let (mut accepted, mut rejected) = (0, 0);
    for (round, time) in JUMPS.into_iter().enumerate() {
        clock.set(time);
        socket.write_all((reading(event, i64::try_from(round).unwrap(), 1.0) + "\n").as_bytes()).unwrap();
        if event > epoch(&time[..10]) + 48 * 3600 {
            rejected += 1;
        } else {
            accepted += 1;
        }
        until("it is kept", || lines(&data_dir, "raw").len() + lines(&data_dir, "quarantine").len() == round + 1);
    }
    server.stop();
    assert_eq!((accepted, rejected), (6, 2), "the clock was more than a day behind twice");
    assert_eq!((lines(&data_dir, "raw").len(), quarantined(&data_dir).len()), (accepted, rejected));
    assert!(
        quarantined(&data_dir).iter().all(|(reason, _)| reason == "time_out_of_bounds"),
        "{:?}",
        quarantined(&data_dir)
    );
    for day in ["2024/09/02/10.", "1970/01/01/00."] {
        assert_eq!(data_dir.files_like(&format!("quarantine/telemetry/{day}"), ".json").len(), 1, "{day}");
    }
}
