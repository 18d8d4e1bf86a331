//! The files that are read for a window.

use std::collections::BTreeMap;

use cli::Failure;
use layout::{Commit, Fingerprint, Hour, Name, Overlap, Window};

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

/// The files that are read for `window`, or why one of them cannot be.
pub(super) fn inputs<'s>(
    snapshot: &'s Snapshot,
    window: &Window,
) -> Result<BTreeMap<&'s Name, BTreeMap<Hour, &'s Commit>>, Problem> {
    let mut inputs = BTreeMap::new();
    let refused = |name: &Name, covers| Problem::Refused(Refused { window: *window, input: name.clone(), covers });
    let hours = window.hours_read();
    let from = hours.from.unwrap_or(Hour::MIN);
    for (name, files) in &snapshot.inputs {
        let mut read = BTreeMap::new();
        // Windows of one data set do not overlap: of those that start earlier only the last may reach into this one.
        let before = files.range(..from).rev().find_map(|(hour, commit)| Some(commit.as_ref().ok()?.window(*hour)));
        if let Some(covers) = before.filter(|covers| window.overlap(covers) != Overlap::Nothing) {
            return Err(refused(name, covers));
        }
        for (hour, commit) in files.range(from..) {
            if !hours.contains(*hour) {
                break;
            }
            let commit = commit.as_ref().map_err(|error| unreadable(window.hour(), error))?;
            let covers = commit.window(*hour);
            match window.overlap(&covers) {
                Overlap::Nothing => continue,
                // Rows of a stream have a time, by which they are told apart.
                Overlap::Part if models::model(name.as_str()).is_none() => return Err(refused(name, covers)),
                Overlap::Part | Overlap::All => {}
            }
            read.insert(*hour, commit);
        }
        if !read.is_empty() {
            inputs.insert(name, read);
        }
    }
    Ok(inputs)
}

pub(super) fn unreadable(hour: Hour, error: &layout::Error) -> Problem {
    Problem::Unreadable(Failure::new(hour, error.to_string()))
}

pub(super) fn fingerprints(inputs: BTreeMap<&Name, BTreeMap<Hour, &Commit>>) -> Inputs {
    let fingerprints = |files: BTreeMap<Hour, &Commit>| {
        files.into_iter().map(|(hour, commit)| (hour, commit.fingerprint.clone())).collect()
    };
    inputs.into_iter().map(|(name, files)| (name.clone(), fingerprints(files))).collect()
}
