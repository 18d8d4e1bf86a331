//! Names and paths: where each file of the tree is, and what a file's name says that it is. Nothing here looks at the disk.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hour::{Hour, HourRange};
use crate::name::Name;
use crate::segment_name::SegmentName;

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

impl DatasetHour {
    /// The path of its Parquet file, relative to the data directory.
    pub fn file(&self) -> PathBuf {
        Tree::new("").parquet(&self.dataset, self.hour)
    }
}

impl fmt::Display for DatasetHour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.dataset, self.hour)
    }
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
    pub(crate) fn open_path(&self) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(".open");
        path.into()
    }
}

/// What a file of the tree is by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// `HH.<segment>.json`, in raw/ and quarantine/.
    Sealed(SegmentName),
    /// `HH.<segment>.json.open`, in raw/ and quarantine/.
    Open(SegmentName),
    /// `HH.parquet`.
    Parquet,
    /// `HH.expired.json`, in parquet/.
    Expired,
}

impl FileKind {
    /// What the file `HH.<rest>` in `area` is; none if no program gives such a name.
    pub(crate) fn parse(area: Area, rest: &str) -> Option<Self> {
        match (area, rest) {
            (Area::Parquet, "parquet") => Some(Self::Parquet),
            (Area::Parquet, EXPIRED) => Some(Self::Expired),
            (Area::Parquet, _) => None,
            (Area::Raw | Area::Quarantine, _) => match rest.strip_suffix(".open") {
                Some(rest) => rest.strip_suffix(".json")?.parse().ok().map(Self::Open),
                None => rest.strip_suffix(".json")?.parse().ok().map(Self::Sealed),
            },
        }
    }
}

/// What follows the hour in the name of an expired hour's commit record.
const EXPIRED: &str = "expired.json";

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

    /// The file with the identity of the tree.
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

    pub(crate) fn segment(&self, area: Area, stream: &Name, hour: Hour, name: SegmentName) -> SealedSegment {
        let file = format!("{}.{name}.json", hour.prefix());
        let path = self.folder(area, stream).join(hour.folder()).join(file);
        SealedSegment { hour, name, path }
    }

    /// Where a sealed segment is, or would be.
    pub fn raw_segment(&self, stream: &Name, hour: Hour, name: &SegmentName) -> PathBuf {
        self.segment(Area::Raw, stream, hour, name.clone()).path
    }

    /// The quarantine file for what is found wrong in `segment` after its arrival. Its name has the segment's hour in it,
    /// because somebody who copies a segment to another hour has two of one name.
    pub(crate) fn derived_quarantine(&self, stream: &Name, segment: &SealedSegment, suffix: &str) -> PathBuf {
        let arrival = Hour::of(segment.name.created());
        self.segment(Area::Quarantine, stream, arrival, segment.name.derived(suffix, segment.hour)).path
    }

    /// Where an hour of a data set is, or would be.
    pub fn parquet(&self, dataset: &Name, hour: Hour) -> PathBuf {
        let file = format!("{}.parquet", hour.prefix());
        self.folder(Area::Parquet, dataset).join(hour.folder()).join(file)
    }

    /// Where the commit record of an expired hour is, or would be.
    pub(crate) fn expired(&self, dataset: &Name, hour: Hour) -> PathBuf {
        self.parquet(dataset, hour).with_extension(EXPIRED)
    }
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
    range.overlaps(first, first.plus(hours - 1))
}

/// How many folders lead from the data directory, itself counted, to `file`; 1 for a file that is not in an area.
pub(crate) fn depth(file: &Path) -> usize {
    // <data directory>/<area>/<name>/YYYY/MM/DD/<file>
    let area = file.ancestors().nth(5).and_then(Path::file_name);
    if area.is_some_and(|name| Area::ALL.iter().any(|area| name == area.as_str())) { 6 } else { 1 }
}
