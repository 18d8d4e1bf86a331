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
    /// They were made by another query, or with other tables.
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
        self.expired += 1;
        let hour = window.hour();
        let made = match holdings.output.get(&hour) {
            None => return self.left.unmade.push(hour),
            Some(Err(_)) => return self.add_unreadable(output, hour, holdings),
            Some(Ok(made)) => made,
        };
        let late = inputs(holdings, &window).ok().and_then(|inputs| late(recipe, hour, &inputs, made));
        if let Some(input) = late {
            self.left.late.push(Late { hour, input, removed });
        } else if let Some(reason) = changed(recipe, &window, made) {
            self.left.outdated.push((hour, reason));
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

/// A data set of which there is something in `inputs` that the window `hour` was not `made` of, although its query read
/// that: not what another query would read.
fn late(recipe: &Recipe, hour: Hour, inputs: &Inputs, made: &Commit) -> Option<Name> {
    let Lineage::Query { query, inputs: was, .. } = &made.lineage else { return None };
    let read = made.window(hour).hours_read();
    let is_late = |(name, files): &(&Name, &BTreeMap<Hour, Fingerprint>)| {
        let was = was.get(*name);
        let was_made_of = |at: Hour, file: &Fingerprint| {
            was.is_some_and(|was| was.files(hour).any(|(then, known)| then == at && known == file))
        };
        (was.is_some() || *query == recipe.query)
            && files.iter().any(|(at, file)| read.contains(*at) && !was_made_of(*at, file))
    };
    inputs.iter().find(is_late).map(|(name, _)| name.clone())
}
