//! Reads what the tree holds into a snapshot, from which plans are made and the state is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use layout::{Area, Commit, Hour, HourRange, Name, SealedSegment, SegmentName, Tree};

/// The tree at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) raw: BTreeMap<Name, Segments>,
    pub(crate) quarantine: BTreeMap<Name, Segments>,
    pub(crate) datasets: BTreeMap<Name, Dataset>,
    pub(crate) unpublished: Vec<Unpublished>,
}

/// The segments of a stream in raw/ or quarantine/.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    pub(crate) open: Vec<Segment>,
    pub(crate) sealed: Vec<Segment>,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) hour: Hour,
    pub(crate) name: SegmentName,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) written: DateTime<Utc>,
}

#[derive(Debug, Default)]
pub(crate) struct Dataset {
    pub(crate) hours: BTreeMap<Hour, Parquet>,
    /// The hours that retention removed, with the commit records of what was there, or why they cannot be read.
    pub(crate) expired: BTreeMap<Hour, layout::Result<Commit>>,
}

#[derive(Debug)]
pub(crate) struct Parquet {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) commit: layout::Result<Commit>,
}

/// A file that was begun and not published.
#[derive(Debug)]
pub(crate) struct Unpublished {
    pub(crate) area: Area,
    pub(crate) name: Name,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) written: DateTime<Utc>,
}

impl Snapshot {
    /// Reads all of the tree. What other programs remove meanwhile is skipped.
    pub(crate) fn scan(tree: &Tree) -> anyhow::Result<Self> {
        let mut snapshot = Self::default();
        // Raw before Parquet: a segment that is compacted in between is then seen twice, and never not at all.
        for area in [Area::Raw, Area::Quarantine, Area::Parquet] {
            for name in tree.names(area)? {
                for (path, file) in tree.unpublished(area, &name)? {
                    let (bytes, written) = (file.len(), written(&file));
                    snapshot.unpublished.push(Unpublished { area, name: name.clone(), path, bytes, written });
                }
                let key = name.clone();
                match area {
                    Area::Raw => drop(snapshot.raw.insert(key, Segments::scan(tree, area, &name)?)),
                    Area::Quarantine => drop(snapshot.quarantine.insert(key, Segments::scan(tree, area, &name)?)),
                    Area::Parquet => drop(snapshot.datasets.insert(key, Dataset::scan(tree, &name)?)),
                }
            }
        }
        Ok(snapshot)
    }

    /// The data sets that read `input`, by their records. One of which no record can be read may read any.
    pub(crate) fn readers(&self, input: &Name) -> impl Iterator<Item = (&Name, &Dataset)> {
        let may_read = |dataset: &Dataset| dataset.inputs().contains(input) || dataset.is_unknown();
        self.datasets.iter().filter(move |(name, dataset)| *name != input && may_read(dataset))
    }
}

impl Segment {
    /// None if it is gone meanwhile.
    fn at(path: PathBuf, SealedSegment { hour, name, .. }: SealedSegment) -> anyhow::Result<Option<Self>> {
        let Some(file) = layout::metadata(&path)? else { return Ok(None) };
        Ok(Some(Self { hour, name, path, bytes: file.len(), written: written(&file) }))
    }

    /// The hour in which it came to where it is. What is found wrong with a segment later is filed under the segment's time.
    pub(crate) fn arrived(&self) -> Hour {
        if self.name.is_derived() { self.hour.max(Hour::of(self.written)) } else { self.hour }
    }
}

impl Segments {
    pub(crate) fn scan(tree: &Tree, area: Area, stream: &Name) -> anyhow::Result<Self> {
        // Open before sealed: a segment that is sealed in between is seen twice, and never not at all.
        let mut segments = Self::default();
        for segment in tree.open_segments(area, stream)? {
            segments.open.extend(Segment::at(segment.open_path(), segment)?);
        }
        for segment in tree.sealed_segments(area, stream, HourRange::ALL)? {
            segments.sealed.extend(Segment::at(segment.path.clone(), segment)?);
        }
        let sealed: BTreeSet<_> = segments.sealed.iter().map(|sealed| &sealed.name).collect();
        segments.open.retain(|open| !sealed.contains(&open.name));
        Ok(segments)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Segment> {
        self.open.iter().chain(&self.sealed)
    }

    pub(crate) fn hours(&self) -> BTreeSet<Hour> {
        self.all().map(|segment| segment.hour).collect()
    }
}

impl Dataset {
    fn scan(tree: &Tree, name: &Name) -> anyhow::Result<Self> {
        let mut dataset = Self::default();
        let hours = tree.hours(name, HourRange::ALL)?;
        for (file, commit) in hours.published {
            let bytes = layout::size(&file.path)?.unwrap_or_default();
            dataset.hours.insert(file.hour, Parquet { path: file.path, bytes, commit });
        }
        dataset.expired = hours.expired.into_iter().map(|hour| (hour, tree.expired_record(name, hour))).collect();
        Ok(dataset)
    }

    /// The commit record of `hour`, whether its Parquet file is still there or retention removed it.
    pub(crate) fn commit(&self, hour: Hour) -> Option<&Commit> {
        match self.hours.get(&hour) {
            Some(parquet) => parquet.commit.as_ref().ok(),
            None => self.expired.get(&hour)?.as_ref().ok(),
        }
    }

    /// All commit records, or why they cannot be read: of what retention removed, then of files.
    fn commits(&self) -> impl Iterator<Item = (Hour, &layout::Result<Commit>)> {
        let expired = self.expired.iter().map(|(hour, commit)| (*hour, commit));
        expired.chain(self.hours.iter().map(|(hour, parquet)| (*hour, &parquet.commit)))
    }

    /// The commit records that can be read; of an hour that has both, that of the file comes last.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Hour, &Commit)> {
        self.commits().filter_map(|(hour, commit)| Some((hour, commit.as_ref().ok()?)))
    }

    /// The last hour that it covers, of files and of what retention removed.
    pub(crate) fn last(&self) -> Option<Hour> {
        let hour = *self.hours.keys().chain(self.expired.keys()).max()?;
        Some(self.commit(hour).map_or(hour, |commit| commit.window(hour).last_hour()))
    }

    /// The hours whose file or record cannot be read, and what to do about it.
    pub(crate) fn damaged(&self) -> impl Iterator<Item = (Hour, String)> {
        self.commits().filter_map(|(hour, commit)| Some((hour, commit.as_ref().err()?.to_string())))
    }

    /// The data sets that it reads; none if it is a stream's.
    pub(crate) fn inputs(&self) -> BTreeSet<&Name> {
        self.records().flat_map(|(_, commit)| commit.lineage.inputs()).map(|(name, _)| name).collect()
    }

    /// Whether there are files, but none that says what it was made of.
    fn is_unknown(&self) -> bool {
        !self.hours.is_empty() && self.records().next().is_none()
    }
}

/// When a file was written last; a time that no calendar holds is far ahead of all.
fn written(file: &Metadata) -> DateTime<Utc> {
    DateTime::from_timestamp(file.mtime(), 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
