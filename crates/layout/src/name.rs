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

/// The part of a segment's file name that is unique: a ULID that ends with the [version](StreamVersion) of the stream file
/// that accepted its lines; with a suffix for a file derived from another segment. Names sort by age, and none is used twice.
/// So a segment whose name is in a commit record is in that Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SegmentName(String);

impl SegmentName {
    /// A new name, which no other segment has or will have.
    pub(crate) fn unique(version: StreamVersion) -> Self {
        Self(version.sign(Ulid::generate()).to_string())
    }

    /// The version of the stream file by which its lines were validated. A segment of a program that knew no versions has one
    /// that no stream file has.
    pub fn version(&self) -> StreamVersion {
        let ulid = self.0.get(..ulid::ULID_LEN).and_then(|text| Ulid::from_string(text).ok()).unwrap_or_default();
        StreamVersion::of_ulid(ulid)
    }

    /// The name of a file that is derived from this segment of `hour`; the same each time, so that it is replaced.
    pub(crate) fn derived(&self, suffix: &str, hour: Hour) -> Self {
        self.with(&format!("{suffix}{}", hour.start().format("%Y%m%d%H")))
    }

    fn with(&self, suffix: &str) -> Self {
        let dash = if self.is_derived() { "" } else { "-" };
        Self(format!("{}{dash}{suffix}", self.0))
    }

    /// The name of a segment of the quarantine while it is replayed by a version of the stream file.
    pub(crate) fn replaying(&self, version: StreamVersion) -> Self {
        self.with(&format!("{REPLAY}{}", version.to_string().to_lowercase()))
    }

    /// The name that a segment had before it was replayed, and the version by which it is; none for any other segment.
    pub(crate) fn replayed_from(&self) -> Option<(Self, StreamVersion)> {
        let (name, version) = self.0.rsplit_once(REPLAY)?;
        let version = version.to_uppercase().parse().ok()?;
        Some((Self(name.strip_suffix('-').unwrap_or(name).to_owned()), version))
    }

    /// The name of the segments of raw/ that this segment of the quarantine becomes when it is replayed by `version`.
    pub(crate) fn replayed(&self, version: StreamVersion) -> Self {
        let (ulid, suffix) = self.0.split_at_checked(ulid::ULID_LEN).unwrap_or((&self.0, ""));
        let signed = version.sign(Ulid::from_string(ulid).unwrap_or_default());
        Self(format!("{signed}{suffix}")).with("replayed")
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

/// What stands before the version in the name of a segment that is replayed.
const REPLAY: &str = "replay";

/// How many bits of a segment's name say which version of its stream file accepted it: the last seven characters.
const BITS: u32 = 35;
const MASK: u128 = (1 << BITS) - 1;

/// A version of a stream file: the first 35 bits of the BLAKE3 hash of its text, written as ULIDs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamVersion(u128);

impl StreamVersion {
    /// The version that has this text.
    pub fn of(text: &str) -> Self {
        let hash = blake3::hash(text.as_bytes());
        let first = hash.as_bytes().iter().take(5).fold(0, |bits, byte| bits << 8 | u128::from(*byte));
        Self(first & MASK)
    }

    /// A ULID that ends with this version.
    fn sign(self, ulid: Ulid) -> Ulid {
        Ulid::from(u128::from(ulid) & !MASK | self.0)
    }

    /// The version that a ULID ends with.
    fn of_ulid(ulid: Ulid) -> Self {
        Self(u128::from(ulid) & MASK)
    }
}

impl fmt::Display for StreamVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ulid = Ulid::from(self.0).to_string();
        f.pad(ulid.get(ulid.len().saturating_sub(7)..).unwrap_or_default())
    }
}

impl FromStr for StreamVersion {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parsed = Ulid::from_string(&format!("{text:0>26}")).map_err(drop)?;
        let version = Self::of_ulid(parsed);
        if version.to_string() == text { Ok(version) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_seven_characters_at_the_end_of_a_ulid() {
        for text in ["", "a", "b", "[columns]\nv = 'int'\n"] {
            let version = StreamVersion::of(text);
            assert_eq!(version.to_string().len(), 7);
            assert_eq!(version.to_string().parse(), Ok(version));
            let ulid = Ulid::generate();
            let signed = version.sign(ulid);
            assert!(signed.to_string().ends_with(&version.to_string()));
            assert_eq!((signed.timestamp_ms(), StreamVersion::of_ulid(signed)), (ulid.timestamp_ms(), version));
        }
        for text in ["", "2025", "AAAAAAAA", "aaaaaaa", "AAAAAAU", "ILOU000"] {
            assert!(text.parse::<StreamVersion>().is_err(), "{text}");
        }
    }
}
