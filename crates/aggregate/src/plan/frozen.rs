//! Frozen windows: they stay as they are, because retention removed a part of what they read, and made anew they would be
//! made of a part. Those that are not what the query would have made of all of it are told apart.

use std::collections::BTreeMap;

use layout::{Commit, Freshness, Hour, InputNow, Name, Recipe, Window, freshness};

use super::{Plan, Problem, Reason, Wanted, inputs};
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

impl Plan {
    /// Leaves `window` as it is.
    pub(super) fn freeze(
        &mut self,
        recipe: &Recipe,
        snapshot: &Snapshot,
        wanted: Wanted<'_>,
        window: Window,
        removed: (Name, Hour),
    ) {
        let hour = window.hour();
        if let Some(Err(_)) = snapshot.output.get(&hour) {
            return self.add_unreadable(hour, snapshot);
        }
        self.frozen.count += 1;
        let Some(Ok(made)) = snapshot.output.get(&hour) else { return self.frozen.unmade.push(hour) };
        let files = match inputs(snapshot, &window) {
            Ok(files) => files,
            Err(Problem::Unreadable(failure)) => return self.unreadable.push(failure),
            Err(Problem::Refused(_)) => BTreeMap::new(),
        };
        // The record of a removed hour is compared with the files that have changed since: without files it need not be read.
        let record = |name: &Name, hour| files.contains_key(name).then(|| (wanted.expired)(name, hour)).flatten();
        let records = snapshot.expired_inputs.keys();
        let records = records.filter_map(|name| Some((name, record(name, removed_of(snapshot, name, &window)?))));
        let records: BTreeMap<&Name, Option<Commit>> = records.collect();
        let names = files.keys().chain(records.keys()).copied();
        let now = |name| InputNow {
            files: files.get(name).cloned().unwrap_or_default(),
            removed: records.get(name).map(Option::as_ref),
        };
        let now = names.map(|name| (name, now(name))).collect();
        match freshness(made, hour, &now, Some((recipe, window))) {
            Freshness::Late(input) => self.frozen.late.push(Late { hour, input: input.clone(), removed }),
            other => self.frozen.outdated.extend(Reason::of(other).map(|reason| (hour, reason))),
        }
    }
}

/// The first hour of what is read for `window` that retention has removed.
pub(super) fn removed(snapshot: &Snapshot, window: &Window) -> Option<(Name, Hour)> {
    let removed = |name: &Name| Some((name.clone(), removed_of(snapshot, name, window)?));
    snapshot.expired_inputs.keys().filter_map(removed).min_by_key(|(_, hour)| *hour)
}

fn removed_of(snapshot: &Snapshot, name: &Name, window: &Window) -> Option<Hour> {
    let hours = window.hours_read();
    let expired = snapshot.expired_inputs.get(name)?;
    expired.range(hours.from.unwrap_or(Hour::MIN)..).next().copied().filter(|hour| hours.contains(*hour))
}
