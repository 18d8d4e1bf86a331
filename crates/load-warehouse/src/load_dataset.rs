//! Loading the files of a data set: in batches of files with the same columns, and one by one where a batch fails.

use std::collections::BTreeMap;

use anyhow::Context as _;
use cli::{Failure, TryAgain, hours_in_words};
use engine::check_column_names;
use indicatif::ProgressBar;
use layout::Name;
use warehouse::{BrokenOff, NotOurs, Unanswered, Warehouse};

use crate::checksum::{Differs, HourCheck, compare};
use crate::dataset_table::{DatasetTable, prepare_table};
use crate::load_batch::{Loaded, is_unchanged, load_batch, still_due};
use crate::parquet_schema::{Schema, schemas};
use crate::plan::batches;
use crate::primary_key::{check_columns, refused};
use crate::report::name_replaced;
use crate::rows::{Batch, hours};
use crate::scan::HourFile;

/// What a run has done so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) hours: usize,
    pub(crate) rows: u64,
    /// Hours that could not be loaded, all of them named.
    pub(crate) failed: usize,
    /// Hours whose files changed while they were loaded.
    pub(crate) changed: usize,
    /// Values that the warehouse cannot hold, for which others are stored.
    pub(crate) replaced: u64,
}

const DIFFERS: &str = "nothing was committed, because the warehouse holds something else than was written to it, in";
const DIFFERS_REMEDY: &str = "a trigger or a rule of the table may have changed it; if there is none, the way to the \
                              warehouse damages values: report it, with the types of the columns";

/// Loads files of one data set.
struct DatasetLoad<'r> {
    warehouse: &'r mut Warehouse,
    key: &'r [String],
    dataset: &'r Name,
    counts: &'r mut Counts,
    progress: &'r ProgressBar,
    /// What could not be loaded.
    failures: Vec<Failure>,
    /// Hours with values that the warehouse cannot hold.
    replaced: Vec<HourCheck>,
}

/// Loads what can be loaded of a data set's files and names what cannot. It is an error only if the warehouse cannot
/// be written to.
pub(crate) fn load_dataset(
    warehouse: &mut Warehouse,
    dataset: &Name,
    key: &[String],
    files: Vec<HourFile>,
    counts: &mut Counts,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    if warehouse.forget_dropped(dataset)? {
        log::warn!("{dataset}: its table is gone, so it is loaded again as far as the tree has it");
    }
    let (failures, replaced) = (Vec::new(), Vec::new());
    let mut load = DatasetLoad { warehouse, key, dataset, counts, progress, failures, replaced };
    let result = batches(files).into_iter().try_for_each(|batch| load.load_files(batch));
    cli::report_failures(dataset, &load.failures);
    load.counts.replaced += name_replaced(dataset, load.replaced);
    result.inspect_err(|error| {
        if error.is::<BrokenOff>() {
            cli::give_up(&format!("{dataset}: not loaded: {error:#}"));
        }
    })
}

impl DatasetLoad<'_> {
    fn load_files(&mut self, files: Vec<HourFile>) -> anyhow::Result<()> {
        let found = match schemas(self.warehouse, &files) {
            Ok(found) => found,
            Err(error) => return self.each_half(files, error, Self::load_files),
        };
        let mut alike: BTreeMap<Schema, Vec<HourFile>> = BTreeMap::new();
        for (file, schema) in files.into_iter().zip(found) {
            match schema {
                Ok(schema) => match check_column_names(schema.iter().map(|column| column.name.as_str())) {
                    Ok(()) => alike.entry(schema).or_default().push(file),
                    Err(problem) => self.fail(&[file], &anyhow::Error::msg(problem)),
                },
                Err(error) => self.fail(&[file], &error),
            }
        }
        alike.into_iter().try_for_each(|(schema, files)| self.load_into_table(&schema, files))
    }

    /// Loads files with the columns `schema`.
    fn load_into_table(&mut self, schema: &Schema, mut files: Vec<HourFile>) -> anyhow::Result<()> {
        if let Err(error) = check_columns(self.key, schema) {
            self.fail(&files, &error);
            return Ok(());
        }
        match refused(self.warehouse, self.key, schema, &files) {
            Ok(refused) => {
                for (file, reason) in files.iter().filter_map(|file| Some((file, refused.get(&file.hour)?))) {
                    self.refuse(file, reason);
                }
                files.retain(|file| !refused.contains_key(&file.hour));
            }
            Err(error) => return self.each_half(files, error, |load, half| load.load_into_table(schema, half)),
        }
        if files.is_empty() {
            return Ok(());
        }
        let prepare = |warehouse: &Warehouse| prepare_table(warehouse, self.dataset, schema, self.key);
        // What fails may have been done meanwhile by another load: the second look shows it.
        match self.warehouse.patiently(|warehouse| prepare(warehouse).or_else(|_| prepare(warehouse))) {
            Ok(table) => self.load_alike(&table, schema, files),
            Err(error) if error.is::<TryAgain>() => Err(error),
            Err(error) => {
                self.fail(&files, &error);
                Ok(())
            }
        }
    }

    /// Notes a file that cannot be loaded, unless it is another one by now.
    fn refuse(&mut self, file: &HourFile, reason: &anyhow::Error) {
        if is_unchanged(file) {
            self.fail(std::slice::from_ref(file), reason);
        } else {
            self.counts.changed += 1;
        }
    }

    /// Loads files for whose columns the table is ready.
    fn load_alike(&mut self, table: &DatasetTable, schema: &Schema, files: Vec<HourFile>) -> anyhow::Result<()> {
        let batch = Batch { dataset: self.dataset, table, schema, files: &files, is_held: false };
        let loaded = match load_batch(self.warehouse, batch) {
            Err(error) if error.is::<Unanswered>() && self.is_loaded(batch)? => {
                log::info!("{}: {error:#}; its load log says that it has", self.dataset);
                let rows = files.iter().map(|file| file.rows).sum();
                Ok(Some(Loaded { hours: files.len(), rows, checks: compare(self.warehouse, batch)? }))
            }
            loaded => loaded,
        };
        match loaded {
            Ok(Some(Loaded { hours, rows, checks })) => {
                self.counts.hours += hours;
                self.counts.rows += rows;
                self.replaced.extend(checks);
                self.progress.inc(files.len() as u64);
                Ok(())
            }
            Ok(None) => {
                self.counts.changed += files.len();
                Ok(())
            }
            Err(error) => match error.downcast_ref::<Differs>() {
                Some(Differs(different)) => {
                    let is_wrong = |file: &HourFile| different.contains_key(&file.hour);
                    let (wrong, right): (Vec<_>, Vec<_>) = files.into_iter().partition(is_wrong);
                    for file in wrong {
                        let columns = different.get(&file.hour).map_or("", String::as_str);
                        self.fail(&[file], &anyhow::anyhow!("{DIFFERS} {columns}: {DIFFERS_REMEDY}"));
                    }
                    if right.is_empty() { Ok(()) } else { self.load_alike(table, schema, right) }
                }
                None => self.each_half(files, error, |load, half| load.load_alike(table, schema, half)),
            },
        }
    }

    /// Asks the warehouse, over a new connection, whether what it was to commit is there.
    fn is_loaded(&mut self, batch: Batch<'_>) -> anyhow::Result<bool> {
        self.warehouse.attach_again().context("whether the last batch is loaded, the next run finds out")?;
        Ok(still_due(self.warehouse, batch)?.is_empty())
    }

    /// Tries each half of a batch that failed, so that one bad file keeps no other out.
    fn each_half(
        &mut self,
        mut files: Vec<HourFile>,
        error: anyhow::Error,
        again: impl Fn(&mut Self, Vec<HourFile>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if error.is::<TryAgain>() {
            return Err(error.context(hours_in_words(hours(&files))));
        }
        if error.is::<NotOurs>() {
            return Err(error);
        }
        if let [file] = files.as_slice() {
            let damage = self.warehouse.query(&engine::whole_file(&file.path), |_| Ok(())).err();
            self.refuse(file, &damage.map_or(error, |damage| damage.context(layout::unreadable_rows())));
            return Ok(());
        }
        let second = files.split_off(files.len() / 2);
        again(self, files)?;
        again(self, second)
    }

    /// Notes files that cannot be loaded, and why.
    fn fail(&mut self, files: &[HourFile], error: &anyhow::Error) {
        self.counts.failed += files.len();
        self.progress.inc(files.len() as u64);
        let failure = |file: &HourFile| {
            let place = format!("not loaded: {}: ", file.path.display());
            Failure::of_error(file.hour, &format!("{place}{error:#}"), &place)
        };
        self.failures.extend(files.iter().map(failure));
    }
}
