//! What the tree and the warehouse hold of a data set at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use layout::{Fingerprint, Hour, HourRange, Hours, Name, Tree};
use warehouse::LoadedHours;

/// The Parquet file of an hour, in the version that it had when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HourFile {
    pub(crate) hour: Hour,
    pub(crate) path: PathBuf,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) rows: u64,
    /// Whether the warehouse holds another version of it, as far as the plan knows.
    pub(crate) replaces: bool,
}

/// What there is of a data set.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The published hours whose commit records can be read, in order.
    pub(crate) files: Vec<HourFile>,
    /// Those whose records cannot be read, each with the reason and what to do.
    pub(crate) unreadable: BTreeMap<Hour, String>,
    /// The hours that retention removed from the tree.
    pub(crate) expired: BTreeSet<Hour>,
    /// What the warehouse held before the tree was read.
    pub(crate) loaded: LoadedHours,
}

/// Reads what the tree has of a data set. `loaded` was read before: every hour in it, the tree has or had.
pub(crate) fn scan(tree: &Tree, dataset: &Name, range: HourRange, loaded: LoadedHours) -> layout::Result<Snapshot> {
    let Hours { published, expired } = tree.hours(dataset, range)?;
    let mut snapshot = Snapshot { files: Vec::new(), unreadable: BTreeMap::new(), expired, loaded };
    for (file, commit) in published {
        match commit {
            Ok(commit) => snapshot.files.push(HourFile {
                hour: file.hour,
                path: file.path,
                fingerprint: commit.fingerprint,
                rows: commit.rows,
                replaces: false,
            }),
            Err(error) => drop(snapshot.unreadable.insert(file.hour, error.to_string())),
        }
    }
    Ok(snapshot)
}
