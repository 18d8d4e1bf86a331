//! Which windows are made: a pure function of what the tree holds and the time.

mod frozen;
mod inputs;
mod reason;

use std::collections::BTreeMap;

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use cli::Failure;
use layout::{Commit, Freshness, Hour, HourRange, InputNow, Lineage, Name, Recipe, Window, freshness};

use self::frozen::{Frozen, Late, removed, removed_of};
pub(crate) use self::inputs::{Inputs, Refused};
use self::inputs::{Problem, fingerprints, inputs, unreadable};
pub(crate) use self::reason::Reason;
use crate::calendar::{Calendar, Unit};
use crate::query::Query;
use crate::scan::{Files, Snapshot};

/// A window that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// The window.
    pub(crate) window: Window,
    /// What it is made of.
    pub(crate) inputs: Inputs,
    /// Why it is made.
    pub(crate) reason: Reason,
}

/// The windows that are wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
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
    /// To make.
    pub(crate) steps: Vec<Step>,
    /// Windows with a file that cannot be read, and what to do about it.
    pub(crate) unreadable: Vec<Failure>,
    /// Windows that an input does not fit into.
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

/// Plans the windows of the data set `output` by `recipe`: those that are out of date, or all if they are to be made anew.
///
/// A window of which retention has removed anything is left alone: made anew, it would be made of a part. So is one of
/// which all inputs are gone without retention, a mistake or a disk that is not there, unless it is to be made anew.
pub(crate) fn plan(output: &Name, recipe: &Recipe, snapshot: &Snapshot, wanted: Wanted<'_>) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    let mut orphaned: BTreeMap<Hour, Option<Window>> =
        snapshot.output.iter().map(|(hour, made)| (*hour, made.as_ref().ok().map(|made| made.window(*hour)))).collect();
    for (hour, window) in &orphaned {
        let Some(window) = window else { continue };
        let fits = wanted.calendar.window_at(window.start)?;
        if (fits.start, fits.end) != (window.start, window.end) {
            return Err(misfit(output, *hour, window, wanted.calendar));
        }
    }
    let mut spans: Vec<_> = snapshot.inputs.values().flat_map(spans).collect();
    spans.sort_unstable();
    for window in wanted.calendar.windows(spans)? {
        if !wanted.calendar.begins_in(&window, wanted.range)? {
            continue;
        }
        orphaned.remove(&window.hour());
        plan.add(recipe, snapshot, wanted, window);
    }
    for (hour, window) in orphaned {
        let Some(window) = window else {
            plan.add_unreadable(hour, snapshot);
            continue;
        };
        if !wanted.calendar.begins_in(&window, wanted.range)? {
            continue;
        }
        if let Some(removed) = removed(snapshot, &window) {
            plan.freeze(recipe, snapshot, wanted, window, removed);
        } else if wanted.rebuild {
            plan.steps.push(Step { window, inputs: Inputs::new(), reason: Reason::Asked });
        } else {
            plan.orphaned.push(hour);
        }
    }
    plan.steps.sort_by_key(|step| step.window);
    plan.frozen.outdated.sort();
    Ok(plan)
}

impl Plan {
    fn add(&mut self, recipe: &Recipe, snapshot: &Snapshot, wanted: Wanted<'_>, window: Window) {
        let hour = window.hour();
        if snapshot.expired_output.contains(&hour) {
            self.frozen.count += 1;
            return;
        }
        // Hours are there when they are over, or because that was asked of compact.
        if wanted.calendar.unit() != Unit::Hour && wanted.now < window.end && !wanted.include_current {
            self.current += 1;
            return;
        }
        if let Some(removed) = removed(snapshot, &window) {
            self.freeze(recipe, snapshot, wanted, window, removed);
            return;
        }
        let made = snapshot.output.get(&hour);
        let made = made.map(|made| made.as_ref().map_err(|error| unreadable(hour, error))).transpose();
        match inputs(snapshot, &window).and_then(|inputs| Ok((inputs, made?))) {
            Err(Problem::Unreadable(failure)) => self.unreadable.push(failure),
            Err(Problem::Refused(refused)) => self.refused.push(refused),
            Ok((inputs, made)) => {
                match reason(recipe, window, &inputs, made).or_else(|| wanted.rebuild.then_some(Reason::Asked)) {
                    Some(reason) => self.steps.push(Step { window, inputs: fingerprints(inputs), reason }),
                    None => self.fresh += 1,
                }
            }
        }
    }

    /// Leaves `window` as it is.
    fn freeze(
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

    fn add_unreadable(&mut self, hour: Hour, snapshot: &Snapshot) {
        if let Some(Err(error)) = snapshot.output.get(&hour) {
            self.unreadable.push(Failure::new(hour, error.to_string()));
        }
    }
}

/// A reference table that `query` can do without, that is not given, and that some of `made` was made with: it was
/// forgotten, and its columns would be emptied.
pub(crate) fn forgotten<'c>(
    query: &Query,
    recipe: &Recipe,
    mut made: impl Iterator<Item = &'c Commit>,
) -> Option<&'static str> {
    let mut not_given = query.declared.iter().map(|table| table.name).filter(|name| !recipe.tables.contains_key(*name));
    not_given.find(|name| {
        made.any(|made| matches!(&made.lineage, Lineage::Query { tables, .. } if tables.contains_key(*name)))
    })
}

/// What the files cover; one that cannot be read, the hour of its name.
fn spans(files: &Files) -> impl Iterator<Item = Window> {
    files.iter().map(|(hour, commit)| {
        let window = commit.as_ref().map_or_else(|_| Window::of_hour(*hour), |commit| commit.window(*hour));
        Window { reads_from: window.start, ..window }
    })
}

fn misfit(output: &Name, hour: Hour, window: &Window, calendar: &Calendar) -> anyhow::Error {
    anyhow!(
        "{output} {hour}: the data set has windows of another kind, this one from {} to {}, and the query makes those of \
         a {} in {}: give it another name, or remove the data set ({output}) from the tree and from the warehouse",
        time(window.start),
        time(window.end),
        calendar.unit().as_str(),
        calendar.zone(),
    )
}

pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M").to_string()
}

/// Why a window that was `made` is out of date, if it is.
fn reason(
    recipe: &Recipe,
    window: Window,
    inputs: &BTreeMap<&Name, BTreeMap<Hour, &Commit>>,
    made: Option<&Commit>,
) -> Option<Reason> {
    let Some(made) = made else { return Some(Reason::Missing) };
    let now = inputs.iter().map(|(name, files)| (*name, InputNow { files: files.clone(), removed: None })).collect();
    Reason::of(freshness(made, window.hour(), &now, Some((recipe, window))))
}

#[cfg(test)]
mod tests;
