//! The quarantine: what cannot be used is not dropped but kept, with the reason.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::files;

/// A rejected line, with why it was rejected.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct QuarantineRecord<'a> {
    /// When it was rejected.
    #[serde(serialize_with = "to_microseconds")]
    pub time: DateTime<Utc>,
    /// Where it came from: a peer's address, `stdin`, or a file and line of raw/.
    pub source: &'a str,
    /// The class of the rejection.
    pub reason: &'a str,
    /// The field and what was found.
    pub detail: &'a str,
    /// The original bytes: as `line`, or as `line_base64` when they are not UTF-8.
    #[serde(flatten, serialize_with = "as_text_or_base64")]
    pub line: &'a [u8],
}

fn to_microseconds<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

fn as_text_or_base64<S: Serializer>(line: &&[u8], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    match str::from_utf8(line) {
        Ok(text) => serializer.collect_map([("line", text)]),
        Err(_) => serializer.collect_map([("line_base64", BASE64.encode(line))]),
    }
}

impl QuarantineRecord<'_> {
    /// Appends the record to `out` as one line of JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing strings to memory cannot fail; if it did, the record would be an empty line.
        let _ = serde_json::to_writer(&mut *out, self);
        out.push(b'\n');
    }
}

/// Counts the records by reason, `unreadable` for what is none; without an unfinished last line, which may be written now.
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
        *counts.entry(reason.into_owned()).or_default() += 1;
        line.clear();
    }
    Ok(counts)
}
