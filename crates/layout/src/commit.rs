//! The commit record: what a Parquet file was made of, as JSON in its own footer.
//!
//! One rename publishes rows and record together, so there is no manifest that could disagree with the data.

use std::collections::{BTreeMap, btree_map};
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
use crate::name::{Name, SegmentName};
use crate::paths::DatasetHour;
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
    pub fn files(&self, hour: Hour) -> BTreeMap<Hour, &Fingerprint> {
        match self {
            Self::Hour(fingerprint) => [(hour, fingerprint)].into(),
            Self::Hours(files) => files.iter().map(|(hour, fingerprint)| (*hour, fingerprint)).collect(),
        }
    }
}

impl Lineage {
    /// The data sets that were read, if it is a query's.
    pub fn inputs(&self) -> btree_map::Iter<'_, Name, Input> {
        match self {
            Self::Query { inputs, .. } => inputs.iter(),
            Self::Segments(_) => btree_map::Iter::default(),
        }
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
        let fingerprint = fingerprint(&lineage, None, duplicates);
        Self { place: None, fingerprint, lineage, window: None, duplicates, rows: 0 }
    }

    /// The record for a file that is about to be written and covers `window`.
    pub fn of_window(lineage: Lineage, window: Window) -> Self {
        let window = (!window.is_hour()).then_some(window);
        Self { fingerprint: fingerprint(&lineage, window, 0), window, ..Self::new(lineage) }
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
        self.fingerprint == fingerprint(&self.lineage, self.window, self.duplicates)
    }

    /// Lines less damaged ones and duplicates. None for an aggregate, which counts nothing, and for counts that cannot be.
    pub fn accounted_rows(&self) -> Option<u64> {
        let Lineage::Segments(segments) = &self.lineage else { return None };
        let add = |rows: u64, segment: &SegmentCount| rows.checked_add(segment.lines.checked_sub(segment.damaged)?);
        let accepted = segments.iter().try_fold(0, add);
        accepted?.checked_sub(self.duplicates)
    }

    /// The record as it stands in the footer.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the record of an hour of a data set. One of another place is an error: its rows would be counted twice.
    pub fn read_at(path: &Path, dataset: &Name, hour: Hour) -> Result<Self> {
        let commit = Self::read(path)?;
        match &commit.place {
            Some(belongs) if (&belongs.dataset, belongs.hour) != (dataset, hour) => {
                Err(Error::misplaced(path, belongs))
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

/// The fingerprint of a record: files that cover something else, or lack other duplicates, are not equal.
fn fingerprint(lineage: &Lineage, window: Option<Window>, duplicates: u64) -> Fingerprint {
    let json = match (window, duplicates) {
        (Some(window), _) => serde_json::to_vec(&(lineage, window)),
        (None, 0) => return lineage.fingerprint(),
        (None, _) => serde_json::to_vec(&(lineage, duplicates)),
    };
    Fingerprint::of(&json.unwrap_or_default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The Thrift bytes of a footer; none unless a file of `len` bytes ends with them, their length in four bytes and `PAR1`.
fn footer(file: &File, len: u64) -> io::Result<Option<Vec<u8>>> {
    // Enough for all files but those of very many segments or row groups. Reading more would take longer for the others.
    const GUESS: u64 = 4 * 1024;
    let mut size = len.min(GUESS);
    loop {
        let mut end = vec![0; usize::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?];
        file.read_exact_at(&mut end, len - size)?;
        let Some((before, [a, b, c, d, b'P', b'A', b'R', b'1'])) = end.split_last_chunk::<8>() else { return Ok(None) };
        let footer = u32::from_le_bytes([*a, *b, *c, *d]);
        if let Some(start) = before.len().checked_sub(footer as usize) {
            return Ok(before.get(start..).map(<[u8]>::to_vec));
        }
        size = u64::from(footer) + 8;
        if size > len {
            return Ok(None);
        }
    }
}
