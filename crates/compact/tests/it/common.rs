//! What the tests of compact share: what the tree holds, read independently of the program.

use std::path::{Path, PathBuf};

use duckdb::Connection;
use harness::DataDir;
use layout::{Commit, Lineage, SegmentCount};
use serde_json::Value;

pub(crate) mod truth;

pub(crate) const HOUR: &str = "2025-09-02T10";

/// Every step of a run, in order: points at which it can be killed.
pub(crate) const DEATHS: [&str; 20] = [
    "folder.listed",
    "folder.made",
    "folder.synced",
    "lock.taken",
    "commit.known",
    "segment.opened",
    "segment.passed",
    "compact.counted",
    "draft.made",
    "quarantine.written",
    "compact.copied",
    "publish.written",
    "draft.synced",
    "publish.synced",
    "publish.renamed",
    "publish.done",
    "compact.quarantined",
    "compact.published",
    "segment.removed",
    "copy.written",
];

/// The steps that the system can refuse.
pub(crate) const FAILURES: [&str; 10] = [
    "folder.list",
    "folder.sync",
    "commit.read",
    "segment.open",
    "segment.read",
    "quarantine.write",
    "copy.write",
    "draft.sync",
    "publish.rename",
    "segment.remove",
];

/// The Parquet file of an hour that is written as `2025-09-02T10`.
pub(crate) fn parquet(data_dir: &DataDir, stream: &str, hour: &str) -> PathBuf {
    let tree = layout::Tree::new(data_dir.path());
    tree.parquet(&stream.parse().unwrap(), hour.parse().unwrap())
}

/// The rows of Parquet files as text, in order.
pub(crate) fn rows(path: &Path) -> Vec<String> {
    let connection = Connection::open_in_memory().unwrap();
    let sql = format!("SELECT t::VARCHAR AS row FROM read_parquet('{}') t ORDER BY row", path.display());
    let mut statement = connection.prepare(&sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The values of `sensor_id` in every Parquet file of the stream, in order.
pub(crate) fn sensors(data_dir: &DataDir) -> Vec<i64> {
    let files = data_dir.files_like("parquet/telemetry/", ".parquet");
    if files.is_empty() {
        return Vec::new();
    }
    let connection = Connection::open_in_memory().unwrap();
    let list: Vec<_> = files
        .iter()
        .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'))
        .map(|path| format!("'{}'", path.display()))
        .collect();
    if list.is_empty() {
        return Vec::new();
    }
    let sql = format!("SELECT sensor_id FROM read_parquet([{}]) ORDER BY ALL", list.join(", "));
    let mut statement = connection.prepare(&sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The segments that an hour's commit record lists, and its rows.
pub(crate) fn lineage(path: &Path) -> (Vec<SegmentCount>, u64) {
    let commit = Commit::read(path).unwrap();
    assert_eq!(commit.fingerprint, commit.lineage.fingerprint());
    match commit.lineage {
        Lineage::Segments(segments) => (segments, commit.rows),
        other @ Lineage::Query { .. } => panic!("{other:?}"),
    }
}

/// The records of the quarantine, file by file.
pub(crate) fn quarantine(data_dir: &DataDir) -> Vec<Value> {
    let files = data_dir.files_like("quarantine/", ".json");
    files
        .iter()
        .flat_map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        })
        .collect()
}

/// A file's path relative to the data directory.
pub(crate) fn relative(data_dir: &DataDir, path: &Path) -> String {
    path.strip_prefix(data_dir.path()).unwrap().to_str().unwrap().to_owned()
}

/// What tells whether a file was replaced or written to.
pub(crate) fn identity(path: &Path) -> (u64, std::time::SystemTime) {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.ino(), metadata.modified().unwrap())
}
