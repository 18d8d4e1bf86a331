//! Reads what the tree holds into a snapshot, from which plans are made and the state is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use layout::{Area, Commit, Fingerprint, Hour, HourRange, Name, SealedSegment, SegmentName, Tree, UnpublishedFile};

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
    pub(crate) open: Vec<Open>,
    pub(crate) sealed: Vec<Sealed>,
}

/// A segment that is being written.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) hour: Hour,
    pub(crate) name: SegmentName,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// A sealed segment.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) segment: SealedSegment,
    pub(crate) bytes: u64,
    /// When its file was written.
    pub(crate) written: DateTime<Utc>,
}

/// A data set.
#[derive(Debug, Default)]
pub(crate) struct Dataset {
    /// The hours that have a Parquet file.
    pub(crate) hours: BTreeMap<Hour, Parquet>,
    /// The hours that retention removed, with the commit records of what was there, or why they cannot be read.
    pub(crate) expired: BTreeMap<Hour, Result<Commit, String>>,
}

/// The Parquet file of an hour.
#[derive(Debug)]
pub(crate) struct Parquet {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Its commit record, or why it cannot be read.
    pub(crate) commit: Result<Commit, String>,
}

/// A file that was begun and not published.
#[derive(Debug)]
pub(crate) struct Unpublished {
    pub(crate) area: Area,
    pub(crate) name: Name,
    pub(crate) orphan: UnpublishedFile,
    pub(crate) bytes: u64,
}

impl Snapshot {
    /// Reads all of the tree. What other programs remove meanwhile is skipped.
    pub(crate) fn scan(tree: &Tree) -> anyhow::Result<Self> {
        let mut snapshot = Self::default();
        // Raw before Parquet: a segment that is compacted in between is then seen twice, and never not at all.
        for (area, streams) in [(Area::Raw, &mut snapshot.raw), (Area::Quarantine, &mut snapshot.quarantine)] {
            for name in tree.names(area)? {
                let segments = Segments::scan(tree, area, &name)?;
                streams.insert(name, segments);
            }
        }
        for name in tree.names(Area::Parquet)? {
            let dataset = Dataset::scan(tree, &name)?;
            snapshot.datasets.insert(name, dataset);
        }
        for area in Area::ALL {
            for name in tree.names(area)? {
                for orphan in tree.unpublished(area, &name)? {
                    if let Some(bytes) = layout::size(&orphan.path)? {
                        snapshot.unpublished.push(Unpublished { area, name: name.clone(), orphan, bytes });
                    }
                }
            }
        }
        Ok(snapshot)
    }

    /// The data sets that read `input`, by their records. One of which no record can be read may read any.
    pub(crate) fn readers(&self, input: &Name) -> impl Iterator<Item = (&Name, &Dataset)> {
        self.datasets.iter().filter(move |(name, dataset)| {
            let inputs = dataset.inputs();
            *name != input && (inputs.contains(input) || dataset.is_unknown())
        })
    }
}

impl Sealed {
    /// The hour in which it came to where it is. What is found wrong with a segment later is filed under the segment's time.
    pub(crate) fn arrived(&self) -> Hour {
        let hour = self.segment.hour;
        if self.segment.name.is_derived() { hour.max(Hour::of(self.written)) } else { hour }
    }
}

impl Segments {
    /// Looks at the segments of one stream.
    pub(crate) fn scan(tree: &Tree, area: Area, stream: &Name) -> anyhow::Result<Self> {
        // Open before sealed: a segment that is sealed in between is seen twice, and never not at all.
        let mut segments = Self::default();
        for file in tree.open_files(area, stream)? {
            if let Some(bytes) = layout::size(&file.path)? {
                segments.open.push(Open { hour: file.hour, name: file.name, path: file.path, bytes });
            }
        }
        for segment in tree.sealed_segments(area, stream, HourRange::ALL)? {
            if let (Some(bytes), Some(written)) = (layout::size(&segment.path)?, layout::written(&segment.path)?) {
                segments.sealed.push(Sealed { segment, bytes, written });
            }
        }
        let sealed: BTreeSet<_> = segments.sealed.iter().map(|sealed| &sealed.segment.name).collect();
        segments.open.retain(|open| !sealed.contains(&open.name));
        Ok(segments)
    }

    /// The hours that have a segment, open or sealed.
    pub(crate) fn hours(&self) -> BTreeSet<Hour> {
        let open = self.open.iter().map(|open| open.hour);
        open.chain(self.sealed.iter().map(|sealed| sealed.segment.hour)).collect()
    }
}

impl Dataset {
    fn scan(tree: &Tree, name: &Name) -> anyhow::Result<Self> {
        let mut dataset = Self::default();
        let hours = tree.hours(name, HourRange::ALL)?;
        for (file, commit) in hours.published {
            let bytes = layout::size(&file.path)?.unwrap_or_default();
            let commit = commit.map_err(|error| error.to_string());
            dataset.hours.insert(file.hour, Parquet { path: file.path, bytes, commit });
        }
        for hour in hours.expired {
            let commit = tree.expired_record(name, hour).map_err(|error| error.to_string());
            dataset.expired.insert(hour, commit);
        }
        Ok(dataset)
    }

    /// The commit record of `hour`, whether its Parquet file is still there or retention removed it.
    pub(crate) fn commit(&self, hour: Hour) -> Option<&Commit> {
        match self.hours.get(&hour) {
            Some(parquet) => parquet.commit.as_ref().ok(),
            None => self.expired.get(&hour)?.as_ref().ok(),
        }
    }

    /// The fingerprint of the Parquet file of `hour`.
    pub(crate) fn fingerprint(&self, hour: Hour) -> Option<&Fingerprint> {
        Some(&self.hours.get(&hour)?.commit.as_ref().ok()?.fingerprint)
    }

    /// The commit records that can be read, of files and of what retention removed where there is no file.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Hour, &Commit)> {
        let published = self.hours.iter().map(|(hour, parquet)| (*hour, parquet.commit.as_ref()));
        let expired = self.expired.iter().map(|(hour, commit)| (*hour, commit.as_ref()));
        let expired = expired.filter(|(hour, _)| !self.hours.contains_key(hour));
        published.chain(expired).filter_map(|(hour, commit)| Some((hour, commit.ok()?)))
    }

    /// The last hour that it covers, of files and of what retention removed.
    pub(crate) fn last(&self) -> Option<Hour> {
        let hour = *self.hours.keys().chain(self.expired.keys()).max()?;
        Some(self.commit(hour).map_or(hour, |commit| commit.window(hour).last_hour()))
    }

    /// The hours whose file or record cannot be read, and what to do about it.
    pub(crate) fn damaged(&self) -> impl Iterator<Item = (Hour, &str)> {
        let published = self.hours.iter().map(|(hour, parquet)| (*hour, parquet.commit.as_ref()));
        let expired = self.expired.iter().map(|(hour, commit)| (*hour, commit.as_ref()));
        published.chain(expired).filter_map(|(hour, commit)| Some((hour, commit.err()?.as_str())))
    }

    fn commits(&self) -> impl Iterator<Item = &Commit> {
        self.hours.values().map(|parquet| &parquet.commit).chain(self.expired.values()).flatten()
    }

    /// The data sets that it reads; none if it is a stream's.
    pub(crate) fn inputs(&self) -> BTreeSet<&Name> {
        self.commits().flat_map(|commit| commit.lineage.inputs()).map(|(name, _)| name).collect()
    }

    /// Whether there are files, but none that says what it was made of.
    fn is_unknown(&self) -> bool {
        !self.hours.is_empty() && self.commits().next().is_none()
    }
}
