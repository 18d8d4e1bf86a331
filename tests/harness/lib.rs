//! What the tests share: the real binaries, a data directory of their own, and messages to send.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]
#![allow(clippy::missing_panics_doc, clippy::return_self_not_must_use, reason = "tests panic")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

mod disk;
mod mariadb;
mod network;
mod postgres;
mod random;
mod random_stream;
mod server;
mod warehouse;

pub use disk::{SmallDisk, mount, unmount};
pub use mariadb::MariaDb;
pub use network::{Network, within};
pub use postgres::Postgres;
pub use random::{Random, rounds, seed};
pub use random_stream::RandomStream;
pub use server::{Server, is_gone, kill, until};
pub use tempfile;
pub use warehouse::{PASSWORD, USER, certificate, extension_is_missing, signed_certificate};

/// A program of the workspace. Cargo builds it beside the test that runs.
pub fn program(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join(name);
    assert!(path.exists(), "{} is not built: run `cargo test --workspace`", path.display());
    let mut command = Command::new(path);
    command.env_remove("RUST_LOG").env_remove("DATA_DIR");
    command
}

/// A data directory that goes when the test ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl DataDir {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// In a folder of its own in `folder`.
    pub fn within(folder: &Path) -> Self {
        let folder = tempfile::tempdir_in(folder).unwrap();
        Self { path: folder.path().to_owned(), _folder: Some(folder) }
    }

    /// A data directory that is somebody else's to remove.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), _folder: None }
    }

    /// The data directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A program over this data directory.
    pub fn program(&self, name: &str) -> Command {
        let mut command = program(name);
        command.arg("--data-dir").arg(self.path());
        command
    }

    /// Runs a program to its end; `arguments` are split at white space.
    pub fn run(&self, name: &str, arguments: &str) -> Run {
        Run::of(self.program(name).args(arguments.split_whitespace()))
    }

    /// Every file below the data directory, relative to it, in order.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            // A folder may go while it is looked at.
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path.strip_prefix(self.path()).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        files.sort();
        files
    }

    /// The files whose relative path begins with `prefix` and ends with `suffix`.
    pub fn files_like(&self, prefix: &str, suffix: &str) -> Vec<PathBuf> {
        let files = self.files().into_iter();
        files
            .filter(|file| file.starts_with(prefix) && file.ends_with(suffix))
            .map(|file| self.path().join(file))
            .collect()
    }

    /// Puts a sealed segment with `lines` in the tree, as tcp-ingest would have: `hour` is `2025-09-02T10`.
    pub fn seal(&self, stream: &str, hour: &str, lines: &[String]) -> PathBuf {
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        self.seal_bytes(stream, hour, text.as_bytes())
    }

    /// Puts a sealed segment with these bytes in the tree; of lines that are not whole, as no correct writer would.
    pub fn seal_bytes(&self, stream: &str, hour: &str, bytes: &[u8]) -> PathBuf {
        let hour: layout::Hour = hour.parse().unwrap();
        let tree = layout::Tree::new(self.path());
        let mut segment = layout::OpenSegment::create(
            &tree,
            layout::Area::Raw,
            &stream.parse().unwrap(),
            hour,
            layout::StreamVersion::of(""),
        )
        .unwrap();
        segment.append(&mut [std::io::IoSlice::new(bytes)]).unwrap();
        layout::seal(vec![segment]).unwrap().remove(0).path
    }
}

/// A finished run of a program.
#[derive(Debug)]
pub struct Run {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    /// Fails the test unless the run ended with `status`.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A telemetry message with a temperature in degrees Celsius.
pub fn reading(timestamp: i64, sensor: i64, value: f64) -> String {
    format!(
        r#"{{"timestamp": {timestamp}, "sensor_id": {sensor}, "measurement": {{"kind": "Temperature", "value": {value:?}, "unit": "Celcius"}}}}"#
    )
}

/// Seconds since 1970 at the start of an hour written as `2025-09-02T10`.
pub fn epoch(hour: &str) -> i64 {
    hour.parse::<layout::Hour>().unwrap().start_micros() / 1_000_000
}

/// Says that a test is skipped and why; a failure where everything is required (`PIPELINE_REQUIRE_SERVERS`).
pub fn skipped(why: &str) {
    assert!(std::env::var_os("PIPELINE_REQUIRE_SERVERS").is_none(), "must not be skipped here: {why}");
    // Straight to the terminal: the test harness would hide it.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
