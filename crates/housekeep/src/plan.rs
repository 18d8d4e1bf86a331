//! What `clean` is going to do: a pure function of what the tree holds, what the warehouse holds, and the time.

use std::collections::BTreeSet;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use layout::{Area, Commit, Hour, Name, SealedSegment, UnpublishedFile};
use warehouse::LoadLog;

use crate::age::Age;
use crate::readers::{Need, Reader};
use crate::rules::Rules;
use crate::scan::{Dataset, Parquet, Segments, Snapshot};

/// What the warehouse says it holds.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// There is no warehouse, or it does not matter what it holds.
    Nothing,
    /// It holds this.
    Log(LoadLog),
    /// It could not be asked.
    Unknown,
}

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

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// It goes.
    Remove,
    /// It is due and stays.
    Keep(Cause),
}

/// Why something stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It has not been due for long, or waits for a time that is not there yet.
    Waiting,
    /// It has been due for more than a day, and somebody has something to do.
    Overdue,
    /// Its file is damaged.
    Damaged,
}

/// What it is about.
#[derive(Debug)]
pub(crate) enum Removable {
    Quarantined(SealedSegment),
    Hour(Hour, Option<Commit>),
    Orphan(UnpublishedFile),
    Folder,
}

/// What is done with files, in the order of areas and names. Folders come later: see [`folders`]. `busy` are the data sets that another process is changing.
pub(crate) fn files(
    snapshot: &Snapshot,
    rules: &Rules,
    loaded: &Loaded,
    busy: &BTreeSet<Name>,
    now: DateTime<Utc>,
) -> Vec<Step> {
    let mut steps = quarantined(snapshot, rules, now);
    for (name, dataset) in &snapshot.datasets {
        if let Some(age) = rules.of(name)
            && !busy.contains(name)
        {
            steps.extend(due_hours(snapshot, rules, loaded, (name, dataset), age, now));
        }
    }
    steps.extend(orphans(snapshot, rules, busy, now));
    steps
}

/// What is done with the folders `empty`.
pub(crate) fn folders(area: Area, name: &Name, empty: Vec<PathBuf>) -> impl Iterator<Item = Step> {
    empty.into_iter().map(move |path| Step {
        area,
        name: name.clone(),
        what: Removable::Folder,
        path,
        bytes: 0,
        action: Action::Remove,
        reason: "empty".to_owned(),
    })
}

fn quarantined(snapshot: &Snapshot, rules: &Rules, now: DateTime<Utc>) -> Vec<Step> {
    let Some(age) = rules.quarantine else { return Vec::new() };
    let sealed = snapshot.quarantine.iter().flat_map(|(name, segments)| segments.sealed.iter().map(move |s| (name, s)));
    sealed
        .filter(|(_, sealed)| age.is_past(sealed.arrived(), now))
        .map(|(name, sealed)| Step {
            area: Area::Quarantine,
            name: name.clone(),
            path: sealed.segment.path.clone(),
            bytes: sealed.bytes,
            action: Action::Remove,
            reason: format!("older than {age}"),
            what: Removable::Quarantined(sealed.segment.clone()),
        })
        .collect()
}

fn orphans(snapshot: &Snapshot, rules: &Rules, busy: &BTreeSet<Name>, now: DateTime<Utc>) -> Vec<Step> {
    let is_orphan = |area, name, orphan: &UnpublishedFile| match area {
        // Only a process that holds the lock publishes here. Without one, the file is never published.
        Area::Parquet => !busy.contains(name),
        Area::Raw | Area::Quarantine => {
            now.signed_duration_since(DateTime::<Utc>::from(orphan.modified)) >= rules.orphans.span()
        }
    };
    let unpublished = snapshot.unpublished.iter();
    unpublished
        .filter(|file| is_orphan(file.area, &file.name, &file.orphan))
        .map(|file| Step {
            area: file.area,
            name: file.name.clone(),
            what: Removable::Orphan(file.orphan.clone()),
            path: file.orphan.path.clone(),
            bytes: file.bytes,
            action: Action::Remove,
            reason: "never published".to_owned(),
        })
        .collect()
}

fn due_hours(
    snapshot: &Snapshot,
    rules: &Rules,
    loaded: &Loaded,
    (name, dataset): (&Name, &Dataset),
    age: Age,
    now: DateTime<Utc>,
) -> Vec<Step> {
    let raw = snapshot.raw.get(name).map(Segments::hours).unwrap_or_default();
    let readers: Vec<_> =
        snapshot.readers(name).map(|(name, dataset)| Reader::new(snapshot, name, dataset, now)).collect();
    let stale: BTreeSet<_> = Reader::new(snapshot, name, dataset, now).stale().collect();
    // Hours that are about to be made anew, and with them every window that reads them, of all that it reads.
    let changing = raw.union(&stale).copied().filter(|hour| !dataset.expired.contains_key(hour)).collect();
    let needed = |hour: Hour, commit: &Commit| {
        if raw.contains(&hour) {
            return Some(Need::Work("raw segments of this hour are not compacted yet: run compact".to_owned()));
        }
        let by_itself = stale.contains(&hour).then(|| Need::Work("it is out of date itself: run aggregate".to_owned()));
        let by_readers = readers.iter().filter_map(|reader| reader.needs(hour, commit, &changing));
        let by_warehouse = || needed_by_warehouse(loaded, name, hour, commit).map(Need::Work);
        let needs = by_itself.into_iter().chain(by_readers).chain(std::iter::once_with(by_warehouse).flatten());
        if rules.even_if_needed { None } else { pressing(needs) }
    };
    let step = |(hour, parquet): (&Hour, &Parquet)| {
        let overdue = age.is_past(ends(*hour, parquet), now - TimeDelta::days(1));
        let (action, reason) = match &parquet.commit {
            Err(problem) => (Action::Keep(Cause::Damaged), problem.clone()),
            Ok(commit) => match needed(*hour, commit) {
                Some(Need::Work(reason)) if overdue => (Action::Keep(Cause::Overdue), reason),
                Some(Need::Work(reason) | Need::Time(reason)) => (Action::Keep(Cause::Waiting), reason),
                None => (Action::Remove, format!("older than {age}")),
            },
        };
        Step {
            area: Area::Parquet,
            name: name.clone(),
            what: Removable::Hour(*hour, parquet.commit.as_ref().ok().cloned()),
            path: parquet.path.clone(),
            bytes: parquet.bytes,
            action,
            reason,
        }
    };
    dataset.hours.iter().filter(|(hour, parquet)| age.is_past(ends(**hour, parquet), now)).map(step).collect()
}

/// The need to report: one that takes work comes before one that passes with time.
fn pressing(needs: impl Iterator<Item = Need>) -> Option<Need> {
    let mut passing = None;
    for need in needs {
        match need {
            Need::Work(_) => return Some(need),
            Need::Time(_) => passing = passing.or(Some(need)),
        }
    }
    passing
}

/// The last hour that a file covers.
fn ends(hour: Hour, parquet: &Parquet) -> Hour {
    parquet.commit.as_ref().map_or(hour, |commit| commit.window(hour).last_hour())
}

/// Why the warehouse still needs `hour` of `dataset`, and what to do about it.
fn needed_by_warehouse(loaded: &Loaded, dataset: &Name, hour: Hour, commit: &Commit) -> Option<String> {
    let log = match loaded {
        Loaded::Nothing => return None,
        Loaded::Unknown => return Some("the warehouse cannot be asked whether it holds this hour".to_owned()),
        Loaded::Log(log) => log.get(dataset)?,
    };
    match log.get(&hour) {
        Some(window) if window.fingerprint == commit.fingerprint => None,
        Some(_) => Some("the warehouse holds an older state of this hour: run load-warehouse".to_owned()),
        None => Some("the warehouse does not hold this hour yet: run load-warehouse".to_owned()),
    }
}
