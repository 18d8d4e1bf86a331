//! Loading the windows of a data set: in batches of files with the same columns, and one by one where a batch fails.

use std::collections::BTreeMap;

use anyhow::anyhow;
use cli::TryAgain;
use indicatif::ProgressBar;
use layout::Name;
use warehouse::Warehouse;

use crate::plan::{Window, batches};
use crate::schema::{Schema, lay_out, schemas};
use crate::table::{Loaded, is_unchanged, load};

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
pub(crate) struct Loader<'r> {
    pub(crate) warehouse: &'r Warehouse,
    pub(crate) dataset: &'r Name,
    pub(crate) tally: &'r mut Tally,
    pub(crate) progress: &'r ProgressBar,
}

impl Loader<'_> {
    /// Loads what can be loaded. It is an error only if the warehouse cannot be written to for now.
    pub(crate) fn load(&mut self, windows: Vec<Window>) -> anyhow::Result<()> {
        for batch in batches(windows) {
            self.load_batch(batch)?;
        }
        Ok(())
    }

    fn load_batch(&mut self, windows: Vec<Window>) -> anyhow::Result<()> {
        let found = match schemas(self.warehouse.connection(), &windows) {
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
        for (schema, windows) in alike {
            match lay_out(self.warehouse, self.dataset, &schema) {
                Ok(()) => self.load_alike(&schema, windows)?,
                Err(error) if error.is::<TryAgain>() => return Err(error),
                Err(error) => self.fail(&windows, &error),
            }
        }
        Ok(())
    }

    /// Loads windows whose files have the columns `schema`.
    fn load_alike(&mut self, schema: &Schema, windows: Vec<Window>) -> anyhow::Result<()> {
        match load(self.warehouse, self.dataset, schema, &windows) {
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
            Err(error) => self.each_half(windows, error, |loader, half| loader.load_alike(schema, half)),
        }
    }

    /// Tries each half of windows that failed together, so that one bad file keeps no other out.
    fn each_half(
        &mut self,
        mut windows: Vec<Window>,
        error: anyhow::Error,
        again: impl Fn(&mut Self, Vec<Window>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if error.is::<TryAgain>() {
            return Err(error);
        }
        if let [window] = windows.as_slice() {
            if is_unchanged(window) {
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

    /// Names windows that cannot be loaded, and why.
    fn fail(&mut self, windows: &[Window], error: &anyhow::Error) {
        self.tally.failed += windows.len();
        self.progress.inc(windows.len() as u64);
        let Some(first) = windows.first() else { return };
        let more = match windows.len() {
            1 => String::new(),
            n => format!(" and {} hours more", n - 1),
        };
        let error = anyhow!("{}{more}: {error:#}", first.path.display());
        self.progress.suspend(|| log::error!("{}: not loaded: {error}", self.dataset));
    }
}
