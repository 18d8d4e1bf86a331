//! Windows that are left as they are, because retention removed a part of what they read: made anew, they would be made
//! of a part. Those that are not what the query would have made of all of it are told apart.

use std::collections::BTreeMap;

use layout::{Commit, Fingerprint, Hour, Lineage, Name, Window};

use super::{Inputs, Plan, Reason, Recipe, changed, inputs};
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
        output: &Name,
        recipe: &Recipe,
        holdings: &Holdings,
        window: Window,
        removed: (Name, Hour),
    ) {
        let hour = window.hour();
        if let Some(Err(_)) = holdings.output.get(&hour) {
            return self.add_unreadable(output, hour, holdings);
        }
        self.expired += 1;
        let Some(Ok(made)) = holdings.output.get(&hour) else { return self.left.unmade.push(hour) };
        let changes =
            inputs(holdings, &window).map_or_else(|_| BTreeMap::new(), |now| changes(recipe, hour, &now, made));
        let late = changes.iter().find(|(_, change)| **change == Change::Late);
        if let Some((input, _)) = late {
            self.left.late.push(Late { hour, input: input.clone(), removed });
        } else if let Some(reason) = changed(recipe, &window, made) {
            self.left.outdated.push((hour, reason));
        } else if let Some(input) = changes.into_keys().next() {
            self.left.outdated.push((hour, Reason::Input(input)));
        }
    }
}

/// The first hour of what is read for `window` that retention has removed.
pub(super) fn removed(holdings: &Holdings, window: &Window) -> Option<(Name, Hour)> {
    let hours = window.hours_read();
    let from = hours.from.unwrap_or(Hour::MIN);
    let removed = holdings.expired_inputs.iter().filter_map(|(name, expired)| {
        let first = expired.range(from..).next().filter(|hour| hours.contains(**hour))?;
        Some((name.clone(), *first))
    });
    removed.min_by_key(|(_, hour)| *hour)
}

/// How a data set has changed since a window was made of it.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// Something came to it.
    Late,
    /// All its files were made anew: its own query has changed, or a table of it.
    Anew,
}

/// The data sets of which there is something in `inputs` that the window `hour` was not `made` of, although its query
/// read that: not what another query would read.
fn changes(recipe: &Recipe, hour: Hour, inputs: &Inputs, made: &Commit) -> BTreeMap<Name, Change> {
    let Lineage::Query { query, inputs: was, .. } = &made.lineage else { return BTreeMap::new() };
    let read = made.window(hour).hours_read();
    let change = |name: &Name, files: &BTreeMap<Hour, Fingerprint>| {
        let was: BTreeMap<_, _> = match was.get(name) {
            Some(was) => was.files(hour).collect(),
            None if *query == recipe.query => BTreeMap::new(),
            None => return None,
        };
        let other = files.iter().filter(|(at, file)| read.contains(**at) && was.get(at) != Some(file)).count();
        let is_anew = models::model(name.as_str()).is_none() && other > 1 && other == files.len();
        (other > 0).then_some(if is_anew { Change::Anew } else { Change::Late })
    };
    inputs.iter().filter_map(|(name, files)| Some((name.clone(), change(name, files)?))).collect()
}
