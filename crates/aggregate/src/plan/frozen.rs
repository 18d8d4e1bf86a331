//! Frozen windows: they stay as they are, because retention removed a part of what they read, and made anew they would be
//! made of a part. Those that are not what the query would have made of all of it are told apart.

use layout::{Hour, Name, Window};

use super::reason::Reason;
use crate::scan::Snapshot;

/// Windows that retention keeps from being made.
#[derive(Debug, Default)]
pub(crate) struct Frozen {
    /// How many there are.
    pub(crate) count: usize,
    /// Those that lack something that was sent.
    pub(crate) late: Vec<Late>,
    /// Those that were made by another query, with other tables, or of data sets that were made anew since.
    pub(crate) outdated: Vec<(Hour, Reason)>,
    /// Those that were never made.
    pub(crate) unmade: Vec<Hour>,
}

/// A window in which late data is missing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Late {
    pub(crate) hour: Hour,
    /// The data set that has changed since it was made.
    pub(crate) input: Name,
    /// The first hour of what it reads that retention removed.
    pub(crate) removed: (Name, Hour),
}

/// The first hour of what is read for `window` that retention has removed.
pub(super) fn removed(snapshot: &Snapshot, window: &Window) -> Option<(Name, Hour)> {
    let removed = |name: &Name| Some((name.clone(), removed_of(snapshot, name, window)?));
    snapshot.expired_inputs.keys().filter_map(removed).min_by_key(|(_, hour)| *hour)
}

/// The first hour of the data set `name` that is read for `window` and that retention has removed.
pub(super) fn removed_of(snapshot: &Snapshot, name: &Name, window: &Window) -> Option<Hour> {
    let hours = window.hours_read();
    let expired = snapshot.expired_inputs.get(name)?;
    expired.range(hours.from.unwrap_or(Hour::MIN)..).next().copied().filter(|hour| hours.contains(*hour))
}
