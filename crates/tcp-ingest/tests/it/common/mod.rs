//! What tcp-ingest has written.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use harness::{DataDir, Server, reading, until};

pub(crate) mod disk;

/// The lines of all segments of `area` of a stream, sealed and open.
pub(crate) fn lines(data_dir: &DataDir, area: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for suffix in [".json", ".json.open"] {
        for path in data_dir.files_like(&format!("{area}/"), suffix) {
            lines.extend(text(&path).lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

/// A file's text; nothing if it is gone (sealed) meanwhile.
pub(crate) fn text(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        file.read_to_string(&mut text).unwrap();
    }
    text
}

/// The `line` and `reason` of each quarantine record.
pub(crate) fn quarantined(data_dir: &DataDir) -> Vec<(String, String)> {
    let field = |record: &serde_json::Value, key: &str| record[key].as_str().unwrap_or_default().to_owned();
    lines(data_dir, "quarantine")
        .iter()
        // One that is just being written is not there yet.
        .filter_map(|line| serde_json::from_str(line).ok())
        .map(|record: serde_json::Value| (field(&record, "reason"), field(&record, "line")))
        .collect()
}

/// Everything in raw/, sealed or not, is complete lines, and no line is there twice.
#[track_caller]
pub(crate) fn check_written(data_dir: &DataDir) -> BTreeSet<String> {
    let all = lines(data_dir, "raw");
    for line in &all {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "torn: {line:?}");
    }
    let distinct: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(distinct.len(), all.len(), "a line is there twice");
    distinct
}

/// Waits until several more tries have failed, of which the server (`-vv`) says `what` in detail.
#[track_caller]
pub(crate) fn see_tries_fail(server: &Server, what: &str) {
    let tries = || server.log().matches(what).count();
    let before = tries();
    until("several tries have failed", || tries() >= before + 3);
}

/// A source that sends numbered messages over one connection.
pub(crate) struct Source {
    pub(crate) socket: TcpStream,
    pub(crate) sent: Vec<String>,
}

impl Source {
    pub(crate) fn new(server: &Server) -> Self {
        Self { socket: server.connect(), sent: Vec::new() }
    }

    /// Sends a hundred messages of the hour `hour`, counted from 1970.
    pub(crate) fn send(&mut self, hour: i64) {
        let first = self.sent.len();
        let number = |n| i64::try_from(n).unwrap();
        self.sent.extend((first..first + 100).map(|n| reading(hour * 3600, number(n), 1.0)));
        self.socket.write_all((self.sent[first..].join("\n") + "\n").as_bytes()).unwrap();
    }

    /// As [`send`](Self::send), and waits until all that was sent is written.
    #[track_caller]
    pub(crate) fn send_and_see(&mut self, data_dir: &DataDir, hour: i64) {
        self.send(hour);
        self.see(data_dir);
    }

    #[track_caller]
    pub(crate) fn see(&self, data_dir: &DataDir) {
        until("all that was sent is written", || lines(data_dir, "raw").len() >= self.sent.len());
    }

    /// All that was sent is in sealed segments, once.
    #[track_caller]
    pub(crate) fn check(&self, data_dir: &DataDir) {
        assert!(data_dir.files_like("", ".open").is_empty());
        assert_eq!(check_written(data_dir), self.sent.iter().cloned().collect());
        assert!(quarantined(data_dir).is_empty());
    }
}
