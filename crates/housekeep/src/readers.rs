//! What an aggregate still needs of the data sets that it reads, by its commit records.
//!
//! A window that is made and up to date needs nothing any more. One that is not needs all that it reads, since retention of
//! a part would leave it as it is for ever. Of windows that are not made yet the records of other windows say how long they
//! may be and how far they look back.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use layout::{Commit, Freshness, Hour, InputNow, Name, Overlap, Window};

use crate::scan::{Dataset, Snapshot};

#[derive(Debug)]
pub(crate) struct Reader<'s> {
    name: &'s Name,
    dataset: &'s Dataset,
    /// The windows that it has made, also those that retention removed, by their starts.
    windows: BTreeMap<DateTime<Utc>, Made>,
    longest: TimeDelta,
    /// How far its windows look back, or a little farther: months and days differ in length.
    look_back: TimeDelta,
    /// The hours of its inputs for which it has no window, or not for all of it.
    missing: BTreeSet<Hour>,
    now: DateTime<Utc>,
}

#[derive(Debug)]
struct Made {
    window: Window,
    is_stale: bool,
}

/// Why an hour is still needed, and what to do about it.
#[derive(Debug)]
pub(crate) enum Need {
    /// Somebody has something to do.
    Work(String),
    /// It passes with time.
    Time(String),
}

impl<'s> Reader<'s> {
    /// Looks at what the data set `name` has made and what is there of its inputs `now`.
    pub(crate) fn new(snapshot: &'s Snapshot, name: &'s Name, dataset: &'s Dataset, now: DateTime<Utc>) -> Self {
        let inputs: Vec<_> =
            dataset.inputs().into_iter().filter_map(|input| Some((input, snapshot.datasets.get(input)?))).collect();
        let made = |(hour, commit): (Hour, &Commit)| {
            let window = commit.window(hour);
            let is_stale = dataset.hours.contains_key(&hour) && is_stale(&inputs, window, hour, commit);
            (window.start, Made { window, is_stale })
        };
        let windows: BTreeMap<_, _> = dataset.records().map(made).collect();
        let most = |span: fn(&Window) -> TimeDelta| windows.values().map(|made| span(&made.window)).max();
        let longest = most(|window| window.end - window.start).unwrap_or_default();
        let look_back = most(|window| window.start - window.reads_from).unwrap_or_default();
        let look_back = look_back + look_back / 8;
        let mut reader = Self { name, dataset, windows, longest, look_back, missing: BTreeSet::new(), now };
        // Where retention has removed a part of an input, nothing is made.
        let is_expired = |hour: &Hour| inputs.iter().any(|(_, input)| input.expired.contains_key(hour));
        let missing = inputs.iter().flat_map(|(_, input)| &input.hours).filter(|(hour, parquet)| {
            let span = parquet.commit.as_ref().map_or_else(|_| Window::of_hour(**hour), |commit| commit.window(**hour));
            !reader.covers(&span) && !dataset.expired.contains_key(hour) && !is_expired(hour)
        });
        reader.missing = missing.map(|(hour, _)| *hour).collect();
        reader
    }

    /// For how many hours of its inputs it has no window, although theirs is over.
    pub(crate) fn missing(&self) -> usize {
        self.missing.iter().filter(|hour| !self.dataset.hours.contains_key(hour) && self.is_over(**hour)).count()
    }

    /// The hours of its windows that were made of something else than what is there now.
    pub(crate) fn out_of_date(&self) -> impl Iterator<Item = Hour> {
        self.windows.values().filter(|made| made.is_stale).map(|made| made.window.hour())
    }

    /// Why it still needs `hour` of a data set that it reads, of which the hours `changing` are about to be made anew.
    pub(crate) fn needs(&self, hour: Hour, commit: &Commit, changing: &BTreeSet<Hour>) -> Option<Need> {
        let (name, span) = (self.name, commit.window(hour));
        let changes = |made: &Made| {
            let hours = made.window.hours_read();
            changing.range(hours.from.unwrap_or(Hour::MIN)..).next().filter(|changing| hours.contains(**changing))
        };
        if let Some(changing) = self.reading(&span).find_map(changes) {
            return Some(Need::Work(format!(
                "a window of the aggregate {name} reads it and {changing}, which is to be made anew: run compact and aggregate"
            )));
        }
        if self.reading(&span).any(|made| made.is_stale) {
            return Some(Need::Work(format!("the aggregate {name} is out of date for this hour: run aggregate")));
        }
        // What retention has removed is not made again, so it needs nothing any more.
        if !self.covers(&span) && !self.dataset.expired.contains_key(&hour) {
            let damaged = self.dataset.hours.contains_key(&hour);
            return Some(if damaged {
                Need::Work(format!("the aggregate {name} has a damaged file for this hour: see housekeep status"))
            } else if self.is_over(hour) {
                Need::Work(format!("the aggregate {name} does not have this hour yet: run aggregate"))
            } else {
                Need::Time(format!("the window of the aggregate {name} that reads it is not over"))
            });
        }
        if self.look_back > TimeDelta::zero() {
            let far = span.end + self.look_back + self.longest;
            let missing: Vec<_> = self.missing.range(hour..).take_while(|later| later.start() < far).collect();
            if let Some(later) = missing.iter().find(|later| self.is_over(***later)) {
                return Some(Need::Work(format!(
                    "the aggregate {name} does not have {later} yet, which reads back to this hour: run aggregate"
                )));
            }
            let next = self.windows.values().next_back().map(|made| made.window.end);
            if next.is_some_and(|next| next - self.look_back < span.end) || !missing.is_empty() {
                return Some(Need::Time(format!("the next window of the aggregate {name} reads back to this hour")));
            }
        }
        None
    }

    /// The windows for which any of `span` is read.
    fn reading(&self, span: &Window) -> impl Iterator<Item = &Made> {
        let span = *span;
        let after = self.windows.range(span.start - self.longest..).map(|(_, made)| made);
        after.take_while(move |made| made.window.reads_from < span.end).filter(move |made| made.window.end > span.start)
    }

    /// Whether the window of an hour that has none is over: as far as can be known, since the next one begins where the last
    /// ends, and none is longer than the longest.
    fn is_over(&self, hour: Hour) -> bool {
        let start = hour.start();
        let next = self.windows.values().next_back().map(|made| made.window.end);
        let begins = next.filter(|next| *next <= start && start < *next + self.longest).unwrap_or(start);
        begins + self.longest <= self.now
    }

    /// Whether all of `span` lies in windows that it has made.
    fn covers(&self, span: &Window) -> bool {
        let mut time = span.start;
        for made in self.reading(span) {
            if made.window.start <= time && time < made.window.end {
                time = made.window.end;
            }
        }
        time >= span.end
    }
}

/// Whether a window was made of something else than what is there now.
fn is_stale<'h>(inputs: &[(&'h Name, &'h Dataset)], window: Window, hour: Hour, commit: &Commit) -> bool {
    let hours = window.hours_read();
    let from = hours.from.unwrap_or(Hour::MIN);
    let now = |(name, input): &(&'h Name, &'h Dataset)| {
        let files = input.hours.range(from..).take_while(|(at, _)| hours.contains(**at));
        let files = files.filter_map(|(at, parquet)| Some((*at, parquet.commit.as_ref().ok()?)));
        let files = files.filter(|(at, file)| window.overlap(&file.window(*at)) != Overlap::Nothing).collect();
        let removed = input.expired.range(from..).next().filter(|(at, _)| hours.contains(**at));
        (*name, InputNow { files, removed: removed.map(|(_, record)| record.as_ref().ok()) })
    };
    let now = inputs.iter().map(now).collect();
    matches!(layout::freshness(commit, hour, &now, None), Freshness::Late(_))
}
