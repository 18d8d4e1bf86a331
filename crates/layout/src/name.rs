//! Names of streams, data sets and segments.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::hour::Hour;

/// The name of a stream or data set: `[a-z][a-z0-9_]{0,62}`. No other name exists, so none can leave the tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
        if starts && text.len() <= 63 && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is not a name: use a lower-case letter, then up to 62 lower-case letters, digits and underscores"
            ))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The part of a segment's file name that is unique: a ULID, with a suffix for a file derived from another segment. Names
/// sort by age, and none is used twice. So a segment whose name is in a commit record is in that Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SegmentName(String);

impl SegmentName {
    /// A new name, which no other segment has or will have.
    pub(crate) fn unique() -> Self {
        Self(Ulid::generate().to_string())
    }

    /// The name of a file that is derived from this segment of `hour`; the same each time, so that it is replaced.
    pub(crate) fn derived(&self, suffix: &str, hour: Hour) -> Self {
        Self(format!("{}-{suffix}{}", self.0, hour.start().format("%Y%m%d%H")))
    }

    /// Whether it names a file that was derived from a segment, and so is younger than the name says.
    pub fn is_derived(&self) -> bool {
        self.0.contains('-')
    }

    /// The name as a number; 0 for one that is derived from another.
    pub fn number(&self) -> u128 {
        Ulid::from_string(&self.0).map_or(0, Into::into)
    }

    /// When the segment was created, by the clock of its writer.
    pub fn created(&self) -> DateTime<Utc> {
        let ulid = self.0.get(..ulid::ULID_LEN).and_then(|text| Ulid::from_string(text).ok()).unwrap_or_default();
        i64::try_from(ulid.timestamp_ms()).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default()
    }
}

impl FromStr for SegmentName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ulid, suffix) = text.split_once('-').map_or((text, None), |(ulid, suffix)| (ulid, Some(suffix)));
        let plain = suffix
            .is_none_or(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        match Ulid::from_string(ulid) {
            Ok(parsed) if plain && parsed.to_string() == ulid => Ok(Self(text.to_owned())),
            _ => Err(format!("{text:?} is not a segment's name")),
        }
    }
}

impl TryFrom<String> for SegmentName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
