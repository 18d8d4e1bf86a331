//! Windows that are left as they are, because retention removed a part of what they read: made anew, they would be made
//! of a part. Those that are not what the query would have made of all of it are told apart.

use std::collections::BTreeMap;

use layout::{Commit, Fingerprint, Hour, Lineage, Name, Window};

use super::{Inputs, Plan, Problem, Reason, Recipe, Wanted, changed, inputs};
use crate::holdings::Holdings;

/// Windows that retention keeps from being made and that are not what the query would make.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// They lack something that was sent.
    pub(crate) late: Vec<Late>,
    /// They were made by another query, with other tables, or of data sets that were made anew since.
    pub(crate) outdated: Vec<(Hour, Reason)>,
    /// They were never made.
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
    pub(super) fn leave(
        &mut self,
        recipe: &Recipe,
        holdings: &Holdings,
        wanted: Wanted<'_>,
        window: Window,
        removed: (Name, Hour),
    ) {
        let hour = window.hour();
        if let Some(Err(_)) = holdings.output.get(&hour) {
            return self.add_unreadable(hour, holdings);
        }
        self.expired += 1;
        let Some(Ok(made)) = holdings.output.get(&hour) else { return self.left.unmade.push(hour) };
        let changed_inputs = match inputs(holdings, &window) {
            Ok(now) => changed_inputs(recipe, hour, &now, made),
            Err(Problem::Unreadable(failure)) => return self.unreadable.push(failure),
            Err(Problem::Refused(_)) => BTreeMap::new(),
        };
        let late = changed_inputs.iter().find(|(input, hours)| !is_anew(holdings, wanted, &window, input, hours));
        if let Some((input, _)) = late {
            self.left.late.push(Late { hour, input: input.clone(), removed });
        } else if let Some(reason) = changed(recipe, &window, made) {
            self.left.outdated.push((hour, reason));
        } else if let Some(input) = changed_inputs.into_keys().next() {
            self.left.outdated.push((hour, Reason::Input(input)));
        }
    }
}

/// The first hour of what is read for `window` that retention has removed.
pub(super) fn removed(holdings: &Holdings, window: &Window) -> Option<(Name, Hour)> {
    let removed = |name: &Name| Some((name.clone(), removed_of(holdings, name, window)?));
    holdings.expired_inputs.keys().filter_map(removed).min_by_key(|(_, hour)| *hour)
}

fn removed_of(holdings: &Holdings, name: &Name, window: &Window) -> Option<Hour> {
    let hours = window.hours_read();
    let expired = holdings.expired_inputs.get(name)?;
    expired.range(hours.from.unwrap_or(Hour::MIN)..).next().copied().filter(|hour| hours.contains(*hour))
}

/// The hours in `inputs` that the window `hour` was not `made` of, although its query read that data set: not what another
/// query would read.
fn changed_inputs(recipe: &Recipe, hour: Hour, inputs: &Inputs, made: &Commit) -> BTreeMap<Name, Vec<Hour>> {
    let Lineage::Query { query, inputs: was, .. } = &made.lineage else { return BTreeMap::new() };
    let read = made.window(hour).hours_read();
    let changed = |(name, files): (&Name, &BTreeMap<Hour, Fingerprint>)| {
        let was: BTreeMap<_, _> = match was.get(name) {
            Some(was) => was.files(hour).collect(),
            None if *query == recipe.query => BTreeMap::new(),
            None => return None,
        };
        let differs = |(at, file): &(&Hour, &Fingerprint)| read.contains(**at) && was.get(at) != Some(file);
        let hours: Vec<_> = files.iter().filter(differs).map(|(at, _)| *at).collect();
        (!hours.is_empty()).then(|| (name.clone(), hours))
    };
    inputs.iter().filter_map(changed).collect()
}

/// Whether `hours` of `input` were made by another query, or with other tables, than an hour of it that retention has
/// removed of what is read for `window`: then they have changed without anything that came late.
fn is_anew(holdings: &Holdings, wanted: Wanted<'_>, window: &Window, input: &Name, hours: &[Hour]) -> bool {
    let before = removed_of(holdings, input, window).and_then(|hour| (wanted.expired)(input, hour));
    let files = holdings.inputs.get(input);
    let now = |hour: &Hour| files?.get(hour)?.as_ref().ok();
    before.is_some_and(|before| hours.iter().filter_map(now).all(|now| !now.is_made_like(&before)))
}
