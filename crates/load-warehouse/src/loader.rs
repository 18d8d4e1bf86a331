//! Loading the windows of a data set: in batches of files with the same columns, and one by one where a batch fails.

use std::collections::BTreeMap;

use anyhow::Context as _;
use cli::TryAgain;
use indicatif::ProgressBar;
use layout::{Hour, Name};
use warehouse::{BrokenOff, Unanswered, Warehouse};

use crate::key::{check_columns, refused};
use crate::plan::{Window, batches};
use crate::rows::hours;
use crate::schema::{Schema, schemas};
use crate::table::{Loaded, is_unchanged, load, still_due};
use crate::target::{Target, lay_out};

/// What a run has done so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) hours: usize,
    pub(crate) rows: u64,
    /// Hours that could not be loaded, all of them named.
    pub(crate) failed: usize,
    /// Hours whose files changed while they were loaded.
    pub(crate) changed: usize,
}

/// Loads windows of one data set.
struct Loader<'r> {
    warehouse: &'r mut Warehouse,
    key: &'r [String],
    dataset: &'r Name,
    tally: &'r mut Tally,
    progress: &'r ProgressBar,
    /// What could not be loaded, by reason.
    failures: BTreeMap<String, Vec<Window>>,
}

/// Loads what can be loaded of a data set's windows and names what cannot. It is an error only if the warehouse cannot
/// be written to.
pub(crate) fn load_windows(
    warehouse: &mut Warehouse,
    dataset: &Name,
    key: &[String],
    windows: Vec<Window>,
    tally: &mut Tally,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    if warehouse.forget_dropped(dataset)? {
        log::warn!("{dataset}: its table is gone, so it is loaded again as far as the tree has it");
    }
    let mut loader = Loader { warehouse, key, dataset, tally, progress, failures: BTreeMap::new() };
    let result = batches(windows).into_iter().try_for_each(|batch| loader.load_batch(batch));
    loader.report();
    if let Err(error) = &result
        && error.is::<BrokenOff>()
    {
        cli::give_up(&format!("{dataset}: not loaded: {error:#}"));
    }
    result
}

impl Loader<'_> {
    fn load_batch(&mut self, windows: Vec<Window>) -> anyhow::Result<()> {
        let found = match schemas(self.warehouse, &windows) {
            Ok(found) => found,
            Err(error) => return self.each_half(windows, error, Self::load_batch),
        };
        let mut alike: BTreeMap<Schema, Vec<Window>> = BTreeMap::new();
        for (window, schema) in windows.into_iter().zip(found) {
            match schema {
                Ok(schema) => alike.entry(schema).or_default().push(window),
                Err(error) => self.fail(&[window], &error),
            }
        }
        alike.into_iter().try_for_each(|(schema, windows)| self.load_into_table(&schema, windows))
    }

    /// Loads windows whose files have the columns `schema`.
    fn load_into_table(&mut self, schema: &Schema, mut windows: Vec<Window>) -> anyhow::Result<()> {
        if let Err(error) = check_columns(self.key, schema) {
            self.fail(&windows, &error);
            return Ok(());
        }
        match refused(self.warehouse, self.key, schema, &windows) {
            Ok(refused) => windows.retain(|window| self.may_be_loaded(window, &refused)),
            Err(error) => {
                return self.each_half(windows, error, |loader, half| loader.load_into_table(schema, half));
            }
        }
        if windows.is_empty() {
            return Ok(());
        }
        match self.warehouse.patiently(|warehouse| lay_out(warehouse, self.dataset, schema, self.key)) {
            Ok(target) => self.load_alike(&target, schema, windows),
            Err(error) if error.is::<TryAgain>() => Err(error),
            Err(error) => {
                self.fail(&windows, &error);
                Ok(())
            }
        }
    }

    /// Whether a window is not refused; notes one that is, unless its file is another one by now.
    fn may_be_loaded(&mut self, window: &Window, refused: &BTreeMap<Hour, anyhow::Error>) -> bool {
        let Some(reason) = refused.get(&window.hour) else { return true };
        if is_unchanged(window) {
            self.fail(std::slice::from_ref(window), reason);
        } else {
            self.tally.changed += 1;
        }
        false
    }

    /// Loads windows for whose columns the table is laid out.
    fn load_alike(&mut self, target: &Target, schema: &Schema, windows: Vec<Window>) -> anyhow::Result<()> {
        match load(self.warehouse, self.dataset, target, schema, &windows) {
            Ok(Loaded::Rows(hours, rows)) => {
                self.tally.hours += hours;
                self.tally.rows += rows;
                self.progress.inc(windows.len() as u64);
                Ok(())
            }
            Ok(Loaded::Changed) => {
                self.tally.changed += windows.len();
                Ok(())
            }
            Err(error) if error.is::<Unanswered>() && self.is_loaded(&windows)? => {
                log::info!("{}: {error:#}; its load log says that it has", self.dataset);
                self.tally.hours += windows.len();
                self.tally.rows += windows.iter().map(|window| window.rows).sum::<u64>();
                self.progress.inc(windows.len() as u64);
                Ok(())
            }
            Err(error) => self.each_half(windows, error, |loader, half| loader.load_alike(target, schema, half)),
        }
    }

    /// Asks the warehouse, over a new connection, whether what it was to commit is there.
    fn is_loaded(&mut self, windows: &[Window]) -> anyhow::Result<bool> {
        self.warehouse.attach_again().context("whether the last batch is loaded, the next run finds out")?;
        Ok(still_due(self.warehouse, self.dataset, windows)?.is_empty())
    }

    /// Tries each half of windows that failed together, so that one bad file keeps no other out.
    fn each_half(
        &mut self,
        mut windows: Vec<Window>,
        error: anyhow::Error,
        again: impl Fn(&mut Self, Vec<Window>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if error.is::<TryAgain>() {
            return Err(error.context(in_words(hours(&windows))));
        }
        if let [window] = windows.as_slice() {
            if is_unchanged(window) {
                let damage = self.warehouse.query(&engine::whole_file(&window.path), |_| Ok(())).err();
                let error = damage.map_or(error, |damage| damage.context(cli::damaged(self.dataset)));
                self.fail(&windows, &error);
            } else {
                self.tally.changed += 1;
            }
            return Ok(());
        }
        let second = windows.split_off(windows.len() / 2);
        again(self, windows)?;
        again(self, second)
    }

    /// Notes windows that cannot be loaded, and why.
    fn fail(&mut self, windows: &[Window], error: &anyhow::Error) {
        self.tally.failed += windows.len();
        self.progress.inc(windows.len() as u64);
        self.failures.entry(format!("{error:#}")).or_default().extend_from_slice(windows);
    }

    /// Names what could not be loaded: once for each reason, because one that concerns all hours would fill a screen.
    fn report(&self) {
        for (reason, windows) in &self.failures {
            let place = match windows.as_slice() {
                [window] => window.path.display().to_string(),
                _ => in_words(hours(windows)),
            };
            log::error!("{}: not loaded: {place}: {reason}", self.dataset);
        }
    }
}

/// Hours as people write them: `2025-09-02T10 to 2025-09-02T14, 2025-09-03T00`.
fn in_words(mut hours: Vec<Hour>) -> String {
    hours.sort_unstable();
    let runs = hours.chunk_by(|before, after| after.since(*before) == 1);
    let runs = runs.filter_map(|run| run.first().zip(run.last()));
    let runs = runs.map(|(first, last)| if first == last { first.to_string() } else { format!("{first} to {last}") });
    runs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_in_a_row_are_named_by_their_ends() {
        let named = |list: &[&str]| in_words(list.iter().map(|hour| hour.parse().unwrap()).collect());
        assert_eq!(named(&["2025-09-02T10"]), "2025-09-02T10");
        assert_eq!(
            named(&["2025-09-03T05", "2025-09-02T23", "2025-09-03T00", "2025-09-02T10"]),
            "2025-09-02T10, 2025-09-02T23 to 2025-09-03T00, 2025-09-03T05"
        );
    }
}
