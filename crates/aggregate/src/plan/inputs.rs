//! The files that are read for a window.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cli::Failure;
use layout::{Commit, Error, Fingerprint, Hour, Name, Overlap, Tree, Window};

use crate::scan::Snapshot;

/// The files that are read for a window: of each data set that has any, the hours with their fingerprints.
pub(crate) type Inputs = BTreeMap<Name, BTreeMap<Hour, Fingerprint>>;

/// A window that is not made, because an input does not fit into it: its rows are in a file that covers more.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) window: Window,
    pub(crate) input: Name,
    /// What the file covers.
    pub(crate) covers: Window,
}

/// Why it cannot be said what a window is made of.
pub(super) enum Problem {
    Unreadable(Failure),
    Refused(Refused),
}

/// How many files `inputs` are.
pub(crate) fn count(inputs: &Inputs) -> usize {
    inputs.values().map(BTreeMap::len).sum()
}

/// Where the files of `inputs` are.
pub(crate) fn paths(tree: &Tree, inputs: &Inputs) -> impl DoubleEndedIterator<Item = PathBuf> {
    inputs.iter().flat_map(move |(dataset, files)| files.keys().map(move |hour| tree.parquet(dataset, *hour)))
}

/// The files that are read for `window`, or why one of them cannot be.
pub(super) fn inputs<'s>(
    snapshot: &'s Snapshot,
    window: &Window,
) -> Result<BTreeMap<&'s Name, BTreeMap<Hour, &'s Commit>>, Problem> {
    let mut inputs = BTreeMap::<_, BTreeMap<_, _>>::new();
    let refused = |name: &Name, covers| Problem::Refused(Refused { window: *window, input: name.clone(), covers });
    let hours = window.hours_read();
    let from = hours.from.unwrap_or(Hour::MIN);
    for (name, files) in &snapshot.inputs {
        // Windows of one data set do not overlap: of those that start earlier only the last may reach into this one.
        let before = files.range(..from).rev().find_map(|(hour, commit)| Some(commit.as_ref().ok()?.window(*hour)));
        if let Some(covers) = before.filter(|covers| window.overlap(covers) != Overlap::Nothing) {
            return Err(refused(name, covers));
        }
        for (hour, commit) in files.range(from..) {
            if !hours.contains(*hour) {
                break;
            }
            let unreadable = |error: &Error| Problem::Unreadable(Failure::new(window.hour(), error.to_string()));
            let commit = commit.as_ref().map_err(unreadable)?;
            let covers = commit.window(*hour);
            match window.overlap(&covers) {
                Overlap::Nothing => {}
                Overlap::Part if !snapshot.streams.contains(name) => return Err(refused(name, covers)),
                Overlap::Part | Overlap::All => {
                    inputs.entry(name).or_default().insert(*hour, commit);
                }
            }
        }
    }
    Ok(inputs)
}

pub(super) fn fingerprints(inputs: BTreeMap<&Name, BTreeMap<Hour, &Commit>>) -> Inputs {
    let fingerprints = |files: BTreeMap<Hour, &Commit>| {
        files.into_iter().map(|(hour, commit)| (hour, commit.fingerprint.clone())).collect()
    };
    inputs.into_iter().map(|(name, files)| (name.clone(), fingerprints(files))).collect()
}
