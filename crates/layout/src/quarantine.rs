//! The quarantine: what cannot be used is not dropped but kept, with the reason.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;

/// A rejected line, with why it was rejected.
#[derive(Debug, Clone, Copy)]
pub struct QuarantineRecord<'a> {
    /// When it was rejected.
    pub time: DateTime<Utc>,
    /// Where it came from: a peer's address, `stdin`, or a file and line of raw/.
    pub source: &'a str,
    /// The class of the rejection.
    pub reason: &'a str,
    /// The field and what was found.
    pub detail: &'a str,
    /// The original bytes.
    pub line: &'a [u8],
}

/// The record's JSON.
#[derive(Serialize)]
struct Json<'a> {
    time: String,
    source: &'a str,
    reason: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_base64: Option<String>,
}

impl QuarantineRecord<'_> {
    /// Appends the record to `out` as one line of JSON: `time`, `source`, `reason`, `detail` and the original bytes as
    /// `line`, or as `line_base64` when they are not UTF-8.
    pub fn write(&self, out: &mut Vec<u8>) {
        let line = std::str::from_utf8(self.line).ok();
        let record = Json {
            time: self.time.to_rfc3339_opts(SecondsFormat::Micros, true),
            source: self.source,
            reason: self.reason,
            detail: self.detail,
            line,
            line_base64: line.is_none().then(|| BASE64.encode(self.line)),
        };
        // Writing strings to memory cannot fail; if it did, the record would be an empty line.
        let _ = serde_json::to_writer(&mut *out, &record);
        out.push(b'\n');
    }
}

/// Counts the records of a quarantine file by reason. The file may still be written: an unfinished last line is not
/// counted. A line that is no record counts as `unreadable`.
pub fn count_rejected(path: &Path) -> Result<BTreeMap<String, u64>> {
    #[derive(Deserialize)]
    struct OnlyReason<'a> {
        #[serde(borrow)]
        reason: Cow<'a, str>,
    }
    let mut lines = BufReader::with_capacity(256 * 1024, files::open(path)?.0);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).map_err(Error::at("read", path))? > 0 && line.ends_with(b"\n") {
        let record: Option<OnlyReason<'_>> = serde_json::from_slice(&line).ok();
        let reason = record.map_or(Cow::Borrowed("unreadable"), |record| record.reason);
        match counts.get_mut(reason.as_ref()) {
            Some(count) => *count += 1,
            None => _ = counts.insert(reason.into_owned(), 1),
        }
        line.clear();
    }
    Ok(counts)
}
