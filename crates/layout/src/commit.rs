//! The commit record: what a Parquet file was made of, in its own footer.
//!
//! One rename publishes rows and record together, so there is no manifest that could disagree with the data. The record is
//! JSON under the key [`Commit::KEY`] of the footer's key-value metadata.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use parquet::file::metadata::ParquetMetaDataReader;
use serde::{Deserialize, Serialize};

use crate::error::{Error, RESTORE, Result};
use crate::fault;
use crate::files;
use crate::hour::Hour;
use crate::name::Name;
use crate::paths::DatasetHour;
use crate::segment_name::SegmentName;
use crate::window::Window;

/// 128 bits that stand for a lineage: equal lineages have equal fingerprints, others in practice never.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of some bytes: 32 hexadecimal digits of BLAKE3.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hex = blake3::hash(bytes).to_hex().to_string();
        hex.truncate(32);
        Self(hex)
    }

    /// A fingerprint that was written down somewhere.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The fingerprint as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A raw segment that went into a Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentCount {
    /// The segment.
    pub name: SegmentName,
    /// Its lines.
    pub lines: u64,
    /// How many of them went to quarantine.
    pub damaged: u64,
}

/// What a Parquet file was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lineage {
    /// An hour of a stream: the raw segments, in order of name.
    Segments(Vec<SegmentCount>),
    /// A window of an aggregate.
    Query {
        /// The query's text.
        query: Fingerprint,
        /// The data sets it read, with the fingerprints of their files.
        inputs: BTreeMap<Name, Input>,
        /// The reference tables it read, with the fingerprints of their content.
        tables: BTreeMap<String, Fingerprint>,
    },
}

/// What was read of one data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Input {
    /// The file of the very hour.
    Hour(Fingerprint),
    /// The files of these hours.
    Hours(BTreeMap<Hour, Fingerprint>),
}

impl Input {
    /// The files that were read for the file of `hour`.
    pub fn files(&self, hour: Hour) -> impl Iterator<Item = (Hour, &Fingerprint)> {
        let (one, many) = match self {
            Self::Hour(fingerprint) => (Some((hour, fingerprint)), None),
            Self::Hours(files) => (None, Some(files.iter().map(|(hour, fingerprint)| (*hour, fingerprint)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl From<Fingerprint> for Input {
    fn from(fingerprint: Fingerprint) -> Self {
        Self::Hour(fingerprint)
    }
}

impl Lineage {
    /// The data sets that were read, if it is a query's.
    pub fn inputs(&self) -> impl Iterator<Item = (&Name, &Input)> {
        let inputs = match self {
            Self::Query { inputs, .. } => Some(inputs),
            Self::Segments(_) => None,
        };
        inputs.into_iter().flatten()
    }

    /// The fingerprint of this lineage.
    pub fn fingerprint(&self) -> Fingerprint {
        // Maps with text keys, lists and numbers always have a JSON form.
        Fingerprint::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// The commit record of one Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// What the file was made for. A record without it is accepted anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<DatasetHour>,
    /// The fingerprint of the lineage.
    pub fingerprint: Fingerprint,
    /// The lineage.
    pub lineage: Lineage,
    /// What it covers, if that is not the hour of the file's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Rows that were removed because an equal one is in the file. A record without this number has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duplicates: u64,
    /// Rows in the file; not stored in the record but taken from the footer.
    #[serde(skip)]
    pub rows: u64,
}

impl Commit {
    /// The key of the record in the footer's metadata.
    pub const KEY: &str = "commit";

    /// Whether both files were made in the same way: of segments, or by one query with the same reference tables.
    pub fn is_made_like(&self, other: &Self) -> bool {
        match (&self.lineage, &other.lineage) {
            (Lineage::Segments(_), Lineage::Segments(_)) => true,
            (Lineage::Query { query, tables, .. }, Lineage::Query { query: other, tables: others, .. }) => {
                (query, tables) == (other, others)
            }
            _ => false,
        }
    }

    /// The record for a file that is about to be written.
    pub fn new(lineage: Lineage) -> Self {
        Self::deduplicated(lineage, 0)
    }

    /// The record for a file that is about to be written without `duplicates` of its rows.
    pub fn deduplicated(lineage: Lineage, duplicates: u64) -> Self {
        Self { place: None, fingerprint: fingerprint(&lineage, duplicates), lineage, window: None, duplicates, rows: 0 }
    }

    /// The record for a file that is about to be written and covers `window`.
    pub fn of_window(lineage: Lineage, window: Window) -> Self {
        if window.is_hour() {
            return Self::new(lineage);
        }
        let fingerprint = Fingerprint::of(&serde_json::to_vec(&(&lineage, window)).unwrap_or_default());
        Self { place: None, fingerprint, lineage, window: Some(window), duplicates: 0, rows: 0 }
    }

    /// What the file of `hour` that has this record covers.
    pub fn window(&self, hour: Hour) -> Window {
        self.window.unwrap_or_else(|| Window::of_hour(hour))
    }

    /// The same record, for the file of an hour of a data set.
    #[must_use]
    pub fn at(self, dataset: &Name, hour: Hour) -> Self {
        Self { place: Some(DatasetHour { dataset: dataset.clone(), hour }), ..self }
    }

    /// Whether the fingerprint is the one that belongs to the rest of the record.
    pub fn is_genuine(&self) -> bool {
        let expected = match self.window {
            Some(window) => Self::of_window(self.lineage.clone(), window).fingerprint,
            None => fingerprint(&self.lineage, self.duplicates),
        };
        self.fingerprint == expected
    }

    /// The rows that the counts of a stream's segments add up to: lines less damaged ones and duplicates. None for an
    /// aggregate, which counts nothing, and for counts that cannot be.
    pub fn accounted_rows(&self) -> Option<u64> {
        let Lineage::Segments(segments) = &self.lineage else { return None };
        let accepted = segments
            .iter()
            .try_fold(0_u64, |rows, segment| rows.checked_add(segment.lines.checked_sub(segment.damaged)?));
        accepted?.checked_sub(self.duplicates)
    }

    /// The record as it stands in the footer.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the record of the Parquet file at `path`, the path of an hour of a data set. A file that was made for another
    /// hour or data set is an error: its rows would be counted twice, or as rows of another data set.
    pub fn read_at(path: &Path, dataset: &Name, hour: Hour) -> Result<Self> {
        let commit = Self::read(path)?;
        match &commit.place {
            Some(belongs) if (&belongs.dataset, belongs.hour) != (dataset, hour) => {
                Err(Error::Misplaced { path: path.to_owned(), belongs: belongs.clone() })
            }
            _ => Ok(commit),
        }
    }

    /// Reads the record of a Parquet file, wherever that is.
    pub fn read(path: &Path) -> Result<Self> {
        let damaged = |detail: String| Error::invalid(path, detail, RESTORE);
        let (file, there) = files::open(path)?;
        let footer = fault::fails("commit.read").and_then(|()| footer(&file, there.len()));
        let footer = footer
            .map_err(Error::at("read the footer", path))?
            .ok_or_else(|| damaged("has no Parquet footer: it is not a Parquet file, or a damaged one".to_owned()))?;
        let metadata = ParquetMetaDataReader::decode_metadata(&footer)
            .map_err(|error| damaged(format!("its Parquet footer cannot be read: {error}")))?;
        let metadata = metadata.file_metadata();
        let record = metadata
            .key_value_metadata()
            .and_then(|pairs| pairs.iter().find(|pair| pair.key == Self::KEY)?.value.as_deref())
            .ok_or_else(|| damaged("has no commit record: it was not made by these programs".to_owned()))?;
        let mut commit: Self = serde_json::from_str(record)
            .map_err(|error| damaged(format!("its commit record cannot be read: {error}")))?;
        fault::point("commit.known");
        commit.rows = u64::try_from(metadata.num_rows()).unwrap_or_default();
        Ok(commit)
    }
}

/// The fingerprint of a lineage of which `duplicates` rows were removed: files with and without them are not equal.
fn fingerprint(lineage: &Lineage, duplicates: u64) -> Fingerprint {
    match duplicates {
        0 => lineage.fingerprint(),
        _ => Fingerprint::of(&serde_json::to_vec(&(lineage, duplicates)).unwrap_or_default()),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The Thrift bytes of the footer of a Parquet file of `len` bytes, which ends with them, their length in four bytes and
/// `PAR1`; none if it does not.
fn footer(file: &File, len: u64) -> io::Result<Option<Vec<u8>>> {
    // One read of this size is enough for all files but those of very many segments or row groups. A larger size would
    // make reading the others slower.
    const GUESS: u64 = 4 * 1024;
    let tail_at = |size: u64| -> io::Result<Vec<u8>> {
        let mut tail = vec![0; usize::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?];
        file.read_exact_at(&mut tail, len - size)?;
        Ok(tail)
    };
    let mut tail = tail_at(len.min(GUESS))?;
    let Some((_, [a, b, c, d, b'P', b'A', b'R', b'1'])) = tail.split_last_chunk::<8>() else { return Ok(None) };
    let size = u32::from_le_bytes([*a, *b, *c, *d]);
    let with_end = u64::from(size) + 8;
    if with_end > len {
        return Ok(None);
    }
    if with_end > tail.len() as u64 {
        tail = tail_at(with_end)?;
    }
    let end = tail.len() - 8;
    tail.truncate(end);
    Ok(Some(tail.split_off(end - size as usize)))
}
