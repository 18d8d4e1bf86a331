//! Which windows are made: a pure function of what the tree holds and the time.

mod frozen;

use std::collections::BTreeMap;
use std::fmt;

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use cli::Failure;
use layout::{
    Commit, Fingerprint, Freshness, Hour, HourRange, InputNow, Lineage, Name, Overlap, Recipe, Window, freshness,
};

use self::frozen::{Frozen, removed};
use crate::calendar::{Calendar, Unit};
use crate::query::Query;
use crate::scan::{Files, Snapshot};

/// The files that are read for a window: of each data set that has any, the hours with their fingerprints.
pub(crate) type Inputs = BTreeMap<Name, BTreeMap<Hour, Fingerprint>>;

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

impl Reason {
    /// The reason to make a window that stands so to what would be made now, if there is one.
    fn of(freshness: Freshness<'_>) -> Option<Self> {
        match freshness {
            Freshness::UpToDate => None,
            Freshness::Late(name) | Freshness::OlderInput(name) => Some(Self::Input(name.clone())),
            Freshness::OtherQuery => Some(Self::Query),
            Freshness::OtherTable(name) => Some(Self::Table(name.to_owned())),
        }
    }
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

/// A window that is not made, because an input does not fit into it: its rows are in a file that covers more.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) window: Window,
    pub(crate) input: Name,
    /// What the file covers.
    pub(crate) covers: Window,
}

/// Why it cannot be said what a window is made of.
enum Problem {
    Unreadable(Failure),
    Refused(Refused),
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

/// The files that are read for `window`, or why one of them cannot be.
fn inputs<'s>(
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

fn unreadable(hour: Hour, error: &layout::Error) -> Problem {
    Problem::Unreadable(Failure::new(hour, error.to_string()))
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

fn fingerprints(inputs: BTreeMap<&Name, BTreeMap<Hour, &Commit>>) -> Inputs {
    let fingerprints = |files: BTreeMap<Hour, &Commit>| {
        files.into_iter().map(|(hour, commit)| (hour, commit.fingerprint.clone())).collect()
    };
    inputs.into_iter().map(|(name, files)| (name.clone(), fingerprints(files))).collect()
}

#[cfg(test)]
mod tests;
