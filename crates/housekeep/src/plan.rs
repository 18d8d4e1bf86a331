//! What `clean` is going to do: a pure function of what the tree holds, what the warehouse holds, and the time.

use std::collections::BTreeSet;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use layout::{Area, Commit, Fingerprint, Hour, Name};
use warehouse::LoadLog;

use crate::age::Age;
use crate::args::CleanArgs;
use crate::readers::{Need, Reader};
use crate::scan::{Dataset, Parquet, Segments, Snapshot, Unpublished};

/// What the warehouse holds; none if there is no warehouse, or it does not matter, and an error if it cannot be asked.
pub(crate) type Loaded = anyhow::Result<Option<LoadLog>>;

/// Something that is done, or not done although it is due.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) area: Area,
    pub(crate) name: Name,
    pub(crate) what: Removable,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) action: Action,
    pub(crate) reason: String,
}

impl Step {
    pub(crate) fn remove(
        area: Area,
        name: &Name,
        what: Removable,
        path: PathBuf,
        bytes: u64,
        reason: impl Into<String>,
    ) -> Self {
        Self { area, name: name.clone(), what, path, bytes, action: Action::Remove, reason: reason.into() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Remove,
    /// It is due and stays: not for long yet, or until a time that is not there yet.
    Keep,
    /// It has been due for more than a day and stays, and somebody has something to do.
    KeepOverdue,
    /// Its file is damaged, and stays.
    KeepDamaged,
}

#[derive(Debug)]
pub(crate) enum Removable {
    Quarantined(Hour),
    /// The file of this hour, with its fingerprint if that can be read.
    Hour(Hour, Option<Fingerprint>),
    Orphan,
    Folder,
}

/// What is done with files; folders come later.
pub(crate) fn files(snapshot: &Snapshot, rules: &CleanArgs, loaded: &Loaded, now: DateTime<Utc>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, segments) in &snapshot.quarantine {
        for segment in &segments.sealed {
            if let Some(age) = rules.keep_quarantine.filter(|age| age.is_past(segment.arrived(), now)) {
                let (what, reason) = (Removable::Quarantined(segment.hour), format!("older than {age}"));
                steps.push(Step::remove(Area::Quarantine, name, what, segment.path.clone(), segment.bytes, reason));
            }
        }
    }
    for (name, dataset) in &snapshot.datasets {
        if let Some(age) = rules.age_of(name) {
            steps.extend(due_hours(snapshot, rules, loaded, (name, dataset), age, now));
        }
    }
    for Unpublished { area, name, path, bytes, written } in &snapshot.unpublished {
        let is_orphan = match area {
            // Only a process that holds the lock publishes here, and then nothing is removed.
            Area::Parquet => true,
            Area::Raw | Area::Quarantine => now.signed_duration_since(*written) >= rules.orphans_after.span(),
        };
        if is_orphan {
            steps.push(Step::remove(*area, name, Removable::Orphan, path.clone(), *bytes, "never published"));
        }
    }
    steps
}

fn due_hours(
    snapshot: &Snapshot,
    rules: &CleanArgs,
    loaded: &Loaded,
    (name, dataset): (&Name, &Dataset),
    age: Age,
    now: DateTime<Utc>,
) -> Vec<Step> {
    let raw = snapshot.raw.get(name).map(Segments::hours).unwrap_or_default();
    let readers = snapshot.readers(name).map(|(name, dataset)| Reader::new(snapshot, name, dataset, now));
    let readers: Vec<_> = readers.collect();
    let stale: BTreeSet<_> = Reader::new(snapshot, name, dataset, now).out_of_date().collect();
    // Hours that are about to be made anew, and with them every window that reads them, of all that it reads.
    let changing = raw.union(&stale).copied().filter(|hour| !dataset.expired.contains_key(hour)).collect();
    let needed = |hour: Hour, commit: &Commit| {
        if raw.contains(&hour) {
            return Some(Need::Work("raw segments of this hour are not compacted yet: run compact".to_owned()));
        }
        if rules.even_if_needed {
            return None;
        }
        let by_itself = stale.contains(&hour).then(|| Need::Work("it is out of date itself: run aggregate".to_owned()));
        let by_readers = readers.iter().filter_map(|reader| reader.needs(hour, commit, &changing));
        let by_warehouse = needed_by_warehouse(loaded, name, hour, commit).map(Need::Work);
        // What takes work is reported before what passes with time.
        by_itself.into_iter().chain(by_readers).chain(by_warehouse).min_by_key(|need| matches!(need, Need::Time(_)))
    };
    let step = |(hour, parquet): (&Hour, &Parquet)| {
        let overdue = age.is_past(ends(*hour, parquet), now - TimeDelta::days(1));
        let (action, reason) = match &parquet.commit {
            Err(problem) => (Action::KeepDamaged, problem.to_string()),
            Ok(commit) => match needed(*hour, commit) {
                Some(Need::Work(reason)) if overdue => (Action::KeepOverdue, reason),
                Some(Need::Work(reason) | Need::Time(reason)) => (Action::Keep, reason),
                None => (Action::Remove, format!("older than {age}")),
            },
        };
        Step {
            area: Area::Parquet,
            name: name.clone(),
            what: Removable::Hour(*hour, parquet.commit.as_ref().ok().map(|commit| commit.fingerprint.clone())),
            path: parquet.path.clone(),
            bytes: parquet.bytes,
            action,
            reason,
        }
    };
    dataset.hours.iter().filter(|(hour, parquet)| age.is_past(ends(**hour, parquet), now)).map(step).collect()
}

fn ends(hour: Hour, parquet: &Parquet) -> Hour {
    parquet.commit.as_ref().map_or(hour, |commit| commit.window(hour).last_hour())
}

/// Why the warehouse still needs `hour` of `dataset`, and what to do about it.
fn needed_by_warehouse(loaded: &Loaded, dataset: &Name, hour: Hour, commit: &Commit) -> Option<String> {
    let Ok(log) = loaded else {
        return Some("the warehouse cannot be asked whether it holds this hour".to_owned());
    };
    match log.as_ref()?.get(dataset)?.get(&hour) {
        Some(window) if window.fingerprint == commit.fingerprint => None,
        Some(_) => Some("the warehouse holds an older state of this hour: run load-warehouse".to_owned()),
        None => Some("the warehouse does not hold this hour yet: run load-warehouse".to_owned()),
    }
}
