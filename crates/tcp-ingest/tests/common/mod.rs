//! What tcp-ingest has written.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::io::Read as _;
use std::path::Path;

use harness::House;

/// The lines of all segments of `area` of a stream, sealed and open.
pub fn lines(house: &House, area: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for suffix in [".json", ".json.open"] {
        for path in house.files_like(&format!("{area}/"), suffix) {
            lines.extend(text(&path).lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

/// A file's text; nothing if it is gone (sealed) meanwhile.
pub fn text(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        file.read_to_string(&mut text).unwrap();
    }
    text
}

/// The `line` and `reason` of each quarantine record.
pub fn quarantined(house: &House) -> Vec<(String, String)> {
    let field = |record: &serde_json::Value, key: &str| record[key].as_str().unwrap_or_default().to_owned();
    lines(house, "quarantine")
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|record: serde_json::Value| (field(&record, "reason"), field(&record, "line")))
        .collect()
}
