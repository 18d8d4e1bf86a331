//! Which windows are made: a pure function of what the tree holds and the time.

mod inputs;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::bail;
use chrono::{DateTime, Utc};
use cli::Failure;
use layout::{Commit, Freshness, Hour, HourRange, InputNow, Name, Recipe, Window, freshness};

pub(crate) use self::inputs::{Inputs, Refused, count, paths};
use self::inputs::{Problem, fingerprints, inputs};
use crate::calendar::{Calendar, Unit};
use crate::scan::Snapshot;

/// A window that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) window: Window,
    pub(crate) inputs: Inputs,
    pub(crate) reason: Reason,
}

/// Why a window is made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// It is not there yet.
    Missing,
    /// It was made by another query.
    Query,
    /// This reference table was given, or not, or had another content.
    Table(String),
    /// This data set had other files for the window, or none, or has none any more.
    Input(Name),
    /// It is wanted although it is up to date.
    Asked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("not made yet"),
            Self::Query => f.write_str("the query has changed"),
            Self::Table(name) => write!(f, "the table {name} has changed"),
            Self::Input(name) => write!(f, "{name} has changed"),
            Self::Asked => f.write_str("asked for"),
        }
    }
}

/// The windows that are wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) calendar: &'a Calendar,
    /// Those that begin in it.
    pub(crate) range: HourRange,
    /// Also those that are up to date.
    pub(crate) rebuild: bool,
    /// Also those that are not over.
    pub(crate) include_current: bool,
    pub(crate) now: DateTime<Utc>,
    /// The commit record of an hour that retention removed, if it can be read.
    pub(crate) expired: &'a dyn Fn(&Name, Hour) -> Option<Commit>,
}

/// The windows to make, in order, and those that cannot be.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// Windows with a file that cannot be read, and what to do about it.
    pub(crate) unreadable: Vec<Failure>,
    pub(crate) refused: Vec<Refused>,
    /// How many windows are up to date.
    pub(crate) fresh: usize,
    /// Windows that stay as they are, because retention removed a part of them or of what they read.
    pub(crate) frozen: Frozen,
    /// How many windows are not over.
    pub(crate) current: usize,
    /// Windows that stay as they are, because nothing is there any more of what they were made of.
    pub(crate) orphaned: Vec<Hour>,
}

/// Frozen windows: they stay as they are, because retention removed a part of what they read, and made anew they would be made of
/// a part. Those that are not what the query would have made of all of it are told apart.
#[derive(Debug, Default)]
pub(crate) struct Frozen {
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

/// Plans the windows of the data set `output`: those that are out of date, or all if they are to be made anew.
///
/// A window of which retention has removed anything is left alone: made anew, it would be made of a part. So is one of
/// which all inputs are gone without retention, a mistake or a disk that is not there, unless it is to be made anew.
pub(crate) fn plan(output: &Name, snapshot: &Snapshot, wanted: Wanted<'_>) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    let calendar = wanted.calendar;
    for (hour, made) in &snapshot.output {
        let Ok(Window { start, end, .. }) = made.as_ref().map(|made| made.window(*hour)) else { continue };
        let fits = calendar.window_at(start)?;
        if (fits.start, fits.end) != (start, end) {
            bail!(
                "{output} {hour}: the data set has windows of another kind, this one from {} to {}, and the query makes \
                 those of a {} in {}: give it another name, or remove the data set ({output}) from the tree and from the \
                 warehouse",
                time(start),
                time(end),
                calendar.unit.as_str(),
                calendar.zone(),
            );
        }
    }
    // What the files cover; one that cannot be read, the hour of its name.
    let covers = |(hour, commit): (&Hour, &layout::Result<Commit>)| {
        let window = commit.as_ref().map_or_else(|_| Window::of_hour(*hour), |commit| commit.window(*hour));
        Window { reads_from: window.start, ..window }
    };
    let mut spans: Vec<_> = snapshot.inputs.values().flatten().map(covers).collect();
    spans.sort_unstable();
    let mut with_inputs = BTreeSet::new();
    for window in calendar.windows(spans)? {
        if calendar.begins_in(&window, wanted.range)? {
            with_inputs.insert(window.hour());
            if snapshot.expired_output.contains(&window.hour()) {
                plan.frozen.count += 1;
            } else if calendar.unit != Unit::Hour && wanted.now < window.end && !wanted.include_current {
                // Hours are there when they are over, or because that was asked of compact.
                plan.current += 1;
            } else {
                plan.compare(snapshot, wanted, window, removed(snapshot, &window));
            }
        }
    }
    for (hour, made) in snapshot.output.iter().filter(|(hour, _)| !with_inputs.contains(hour)) {
        let window = match made {
            Ok(made) => made.window(*hour),
            Err(error) => {
                plan.unreadable.push(Failure::new(*hour, error.to_string()));
                continue;
            }
        };
        if !calendar.begins_in(&window, wanted.range)? {
            continue;
        }
        let removed = removed(snapshot, &window);
        if removed.is_some() {
            plan.compare(snapshot, wanted, window, removed);
        } else if wanted.rebuild {
            plan.steps.push(Step { window, inputs: Inputs::new(), reason: Reason::Asked });
        } else {
            plan.orphaned.push(*hour);
        }
    }
    plan.steps.sort_by_key(|step| step.window);
    plan.frozen.outdated.sort();
    Ok(plan)
}

impl Plan {
    /// Compares what there is of `window` with what would be made now. One of which retention removed a part stays.
    fn compare(&mut self, snapshot: &Snapshot, wanted: Wanted<'_>, window: Window, removed: Option<(Name, Hour)>) {
        let hour = window.hour();
        let made = match snapshot.output.get(&hour) {
            Some(Err(error)) => return self.unreadable.push(Failure::new(hour, error.to_string())),
            made => made.and_then(|made| made.as_ref().ok()),
        };
        if removed.is_some() {
            self.frozen.count += 1;
            if made.is_none() {
                return self.frozen.unmade.push(hour);
            }
        }
        let files = match inputs(snapshot, &window) {
            Ok(files) => files,
            Err(Problem::Unreadable(failure)) => return self.unreadable.push(failure),
            Err(Problem::Refused(_)) if removed.is_some() => BTreeMap::new(),
            Err(Problem::Refused(refused)) => return self.refused.push(refused),
        };
        // The record of a removed hour is compared with the files that have changed since: without files it need not be read.
        let record = |name: &Name, hour| files.contains_key(name).then(|| (wanted.expired)(name, hour)).flatten();
        let records = snapshot.expired_inputs.keys();
        let records = records.filter_map(|name| Some((name, record(name, removed_of(snapshot, name, &window)?))));
        let records: BTreeMap<&Name, Option<Commit>> = records.collect();
        let now = |name| InputNow {
            files: files.get(name).cloned().unwrap_or_default(),
            removed: records.get(name).map(Option::as_ref),
        };
        let now = files.keys().chain(records.keys()).map(|name| (*name, now(*name))).collect();
        let freshness = made.map(|made| freshness(made, hour, &now, Some((wanted.recipe, window))));
        let reason = match freshness {
            None => Some(Reason::Missing),
            Some(Freshness::UpToDate) => None,
            Some(Freshness::Late(name) | Freshness::OlderInput(name)) => Some(Reason::Input(name.clone())),
            Some(Freshness::OtherQuery) => Some(Reason::Query),
            Some(Freshness::OtherTable(name)) => Some(Reason::Table(name.to_owned())),
        };
        if let Some(removed) = removed {
            match freshness {
                Some(Freshness::Late(input)) => self.frozen.late.push(Late { hour, input: input.clone(), removed }),
                _ => self.frozen.outdated.extend(reason.map(|reason| (hour, reason))),
            }
        } else if let Some(reason) = reason.or_else(|| wanted.rebuild.then_some(Reason::Asked)) {
            self.steps.push(Step { window, inputs: fingerprints(files), reason });
        } else {
            self.fresh += 1;
        }
    }
}

/// The first hour of what is read for `window` that retention has removed.
fn removed(snapshot: &Snapshot, window: &Window) -> Option<(Name, Hour)> {
    let removed = |name: &Name| Some((name.clone(), removed_of(snapshot, name, window)?));
    snapshot.expired_inputs.keys().filter_map(removed).min_by_key(|(_, hour)| *hour)
}

/// The first hour of the data set `name` that is read for `window` and that retention has removed.
fn removed_of(snapshot: &Snapshot, name: &Name, window: &Window) -> Option<Hour> {
    let hours = window.hours_read();
    let expired = snapshot.expired_inputs.get(name)?;
    expired.range(hours.from.unwrap_or(Hour::MIN)..).next().copied().filter(|hour| hours.contains(*hour))
}

pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M").to_string()
}

#[cfg(test)]
mod tests;
