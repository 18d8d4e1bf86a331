//! Names and paths: where each file of the tree is, and what a file's name says that it is. Nothing here looks at the disk.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hour::{Hour, HourRange};
use crate::name::{Name, SegmentName};

/// The three parts of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// What sources sent, accepted.
    Raw,
    /// What sources sent, rejected.
    Quarantine,
    /// Data sets.
    Parquet,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Quarantine, Self::Parquet];

    /// The folder's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Quarantine => "quarantine",
            Self::Parquet => "parquet",
        }
    }
}

/// One hour of one data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetHour {
    /// The data set.
    pub dataset: Name,
    /// The hour.
    pub hour: Hour,
}

/// A sealed segment: complete lines, immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSegment {
    /// The hour its lines belong to.
    pub hour: Hour,
    /// Its name.
    pub name: SegmentName,
    /// Where it is.
    pub path: PathBuf,
}

impl SealedSegment {
    /// Where it is while it is written.
    pub fn open_path(&self) -> PathBuf {
        self.path.with_extension("json.open")
    }
}

/// What follows the hour in the name of a Parquet file.
pub(crate) const PARQUET: &str = "parquet";

/// What follows the hour in the name of an expired hour's commit record.
pub(crate) const EXPIRED: &str = "expired.json";

/// The data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The tree in the folder `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The embedded warehouse.
    pub fn warehouse(&self) -> PathBuf {
        self.root.join("warehouse.duckdb")
    }

    /// The embedded warehouse as a file of SQLite.
    pub fn sqlite_warehouse(&self) -> PathBuf {
        self.root.join("warehouse.sqlite")
    }

    pub(crate) fn id_file(&self) -> PathBuf {
        self.root.join("tree-id")
    }

    /// `path` without the data directory, for messages and records.
    pub fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// The folder of a stream or data set.
    pub fn folder(&self, area: Area, name: &Name) -> PathBuf {
        self.root.join(area.as_str()).join(name.as_str())
    }

    fn file(&self, area: Area, name: &Name, hour: Hour, rest: &str) -> PathBuf {
        self.folder(area, name).join(format!("{}.{rest}", hour.path()))
    }

    /// A sealed segment that is, or would be, in raw/ or quarantine/.
    pub fn segment(&self, area: Area, stream: &Name, hour: Hour, name: SegmentName) -> SealedSegment {
        SealedSegment { hour, path: self.file(area, stream, hour, &format!("{name}.json")), name }
    }

    /// Where an hour of a data set is, or would be.
    pub fn parquet(&self, dataset: &Name, hour: Hour) -> PathBuf {
        self.file(Area::Parquet, dataset, hour, PARQUET)
    }

    pub(crate) fn expired(&self, dataset: &Name, hour: Hour) -> PathBuf {
        self.file(Area::Parquet, dataset, hour, EXPIRED)
    }
}

pub(crate) fn is_draft(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(b".tmp")
}

/// Whether a folder of a stream or data set has the name of a year, month or day.
pub(crate) fn is_date_part(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

/// Whether the folder `YYYY[/MM[/DD]]` may hold hours of `range`.
pub(crate) fn may_hold(folder: &Path, range: HourRange) -> bool {
    let Some(first) = folder.to_str().and_then(|text| text.replace('/', "-").parse::<Hour>().ok()) else {
        return false;
    };
    let hours = match folder.components().count() {
        1 => 366 * 24,
        2 => 31 * 24,
        _ => 24,
    };
    let last = first.plus(hours - 1);
    range.from.is_none_or(|from| from <= last) && range.to.is_none_or(|to| first < to)
}

/// How many folders lead from the data directory, itself counted, to `file`; 1 for a file that is not in an area.
pub(crate) fn depth(file: &Path) -> usize {
    // <data directory>/<area>/<name>/YYYY/MM/DD/<file>
    let area = file.ancestors().nth(5).and_then(Path::file_name);
    if area.is_some_and(|name| Area::ALL.iter().any(|area| name == area.as_str())) { 6 } else { 1 }
}
