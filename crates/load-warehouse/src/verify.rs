//! `--verify`: compares what the warehouse holds with the tree, and changes nothing.
//!
//! Of every hour that was ever loaded the rows are counted and compared with the load log. Of each that is loaded in the
//! version that the tree has, the rows are compared with the file's, see `checksum`. A file that is gone, although retention
//! did not remove it, is a difference, and so is one that cannot be read; one that is not loaded yet, or in an older version,
//! is none.
//!
//! The warehouse and the tree may change meanwhile: an hour counts only if it is logged afterwards as before.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use cli::{Outcome, Table, TryAgain, count};
use layout::{Hour, HourRange, Name, Tree};
use warehouse::{LoadedHours, TableColumn, Warehouse};

use crate::args::Args;
use crate::checksum;
use crate::dataset_table::{DatasetTable, existing_table};
use crate::load_batch::is_unchanged;
use crate::parquet_schema::{Schema, schemas};
use crate::plan::batches;
use crate::report::unless_one_of_several;
use crate::rows::Batch;
use crate::scan::{HourFile, Snapshot, scan};

/// An hour that was looked at, and what was found of it.
#[derive(Debug)]
struct VerifiedHour {
    hour: Hour,
    /// The rows that were loaded, or are to be.
    rows: u64,
    held: u64,
    /// What is right, or else what is wrong.
    finding: Result<&'static str, String>,
}

/// The warehouse has none of an hour.
const NEW: &str = "not loaded yet";
/// It has an older version.
const OLD: &str = "ok, but the tree has a newer version, which is not loaded yet";

/// Verifies data sets, and prints what was found of each hour.
pub(crate) fn run(args: &Args, tree: &Tree) -> anyhow::Result<Outcome> {
    let columns = ["dataset", "hour", "rows", "in_warehouse", "finding"];
    let mut table = Table::new(io::stdout().lock(), args.print.format, columns)?;
    let (mut all, mut wrong, mut refused) = (0, 0, 0);
    let warehouse = Warehouse::attach_to_read(&args.warehouse, &args.session, tree)?;
    let log = warehouse.as_ref().map_or(Ok(None), Warehouse::load_log)?.unwrap_or_default();
    let datasets = args.names(tree, &log)?;
    for dataset in &datasets {
        let verified = verify_one(warehouse.as_ref(), tree, dataset, args.range.range()?);
        let Some(verified) = unless_one_of_several(dataset, verified, datasets.len())? else {
            refused += 1;
            continue;
        };
        for VerifiedHour { hour, rows, held, finding } in verified {
            all += usize::from(finding != Ok(NEW));
            wrong += usize::from(finding.is_err());
            let finding = finding.map_or_else(Into::into, Into::into);
            table.row(vec![dataset.as_str().into(), hour.to_string().into(), rows.into(), held.into(), finding])?;
        }
    }
    table.finish()?;
    if wrong == 0 {
        log::info!("{}: the warehouse holds what was loaded", count(all, "hour"));
        return Ok(if refused == 0 { Outcome::Done } else { Outcome::Partial });
    }
    log::error!(
        "{wrong} of {} differ from what was loaded or cannot be read: each is printed; to load one that the tree has \
         again, set its fingerprint in load_log to '' and run load-warehouse",
        count(all, "hour")
    );
    Ok(Outcome::Partial)
}

fn verify_one(
    warehouse: Option<&Warehouse>,
    tree: &Tree,
    dataset: &Name,
    range: HourRange,
) -> anyhow::Result<Vec<VerifiedHour>> {
    let Snapshot { files, unreadable: mut problems, expired, loaded } =
        scan(tree, dataset, range, loaded(warehouse, dataset)?)?;
    let in_tree: BTreeMap<_, _> = files.iter().map(|file| (file.hour, file)).collect();
    for hour in loaded.keys().filter(|hour| !in_tree.contains_key(hour) && !expired.contains(hour)) {
        problems.entry(*hour).or_insert_with(|| GONE.to_owned());
    }
    let held = compare(warehouse, dataset, &loaded, &files, &mut problems)?;
    let after = self::loaded(warehouse, dataset)?;
    let all = loaded.keys().chain(held.keys()).chain(in_tree.keys()).chain(problems.keys());
    let all: BTreeSet<_> = all.copied().collect();
    let unchanged = all.into_iter().filter(|hour| range.contains(*hour) && loaded.get(hour) == after.get(hour));
    let verified = unchanged.map(|hour| {
        let (logged, file) = (loaded.get(&hour), in_tree.get(&hour));
        let finding = match (problems.remove(&hour), logged, file) {
            (Some(problem), _, _) => Err(problem),
            (None, None, _) => Ok(NEW),
            (None, Some(logged), Some(file)) if logged.fingerprint != file.fingerprint => Ok(OLD),
            _ => Ok("ok"),
        };
        let rows = logged.map(|logged| logged.rows).or(file.map(|file| file.rows)).unwrap_or_default();
        VerifiedHour { hour, rows, held: held.get(&hour).copied().unwrap_or_default(), finding }
    });
    Ok(verified.collect())
}

const DIFFERS: &str = "differs from the file in";
const GONE: &str = "the tree has no file of it, although retention did not remove it: put it back or make it again";

/// Compares the table with the load log and with those of `files` that are loaded; adds what is wrong to `problems`.
/// Returns how many rows the table has of each hour.
fn compare(
    warehouse: Option<&Warehouse>,
    dataset: &Name,
    loaded: &LoadedHours,
    files: &[HourFile],
    problems: &mut BTreeMap<Hour, String>,
) -> anyhow::Result<BTreeMap<Hour, u64>> {
    let Some(warehouse) = warehouse else { return Ok(BTreeMap::new()) };
    let table = existing_table(warehouse, dataset)?;
    let counts = if table.is_some() { warehouse.counts(dataset)? } else { BTreeMap::new() };
    for (hour, logged) in loaded {
        let held = counts.get(hour).copied().unwrap_or_default();
        if held != logged.rows {
            problems.insert(*hour, format!("{} missing or too many", count(held.abs_diff(logged.rows), "row")));
        }
    }
    for (hour, _) in counts.iter().filter(|(hour, _)| !loaded.contains_key(hour)) {
        problems.insert(*hour, "the load log does not know of it".to_owned());
    }
    if let Some(table) = table {
        let is_loaded =
            |file: &&HourFile| loaded.get(&file.hour).is_some_and(|logged| logged.fingerprint == file.fingerprint);
        for files in batches(files.iter().filter(is_loaded).cloned().collect()) {
            for (hour, problem) in each_difference(warehouse, dataset, &table, &files)? {
                problems.entry(hour).or_insert(problem);
            }
        }
    }
    Ok(counts)
}

fn loaded(warehouse: Option<&Warehouse>, dataset: &Name) -> anyhow::Result<LoadedHours> {
    warehouse.map_or_else(|| Ok(LoadedHours::new()), |warehouse| warehouse.loaded(dataset))
}

/// What is wrong with the rows of `files`. Where one query cannot compare them, each has its own: one damaged file
/// keeps no other from being looked at.
fn each_difference(
    warehouse: &Warehouse,
    dataset: &Name,
    table: &DatasetTable,
    files: &[HourFile],
) -> anyhow::Result<Vec<(Hour, String)>> {
    match differences(warehouse, dataset, table, files.to_vec()) {
        Err(error) if !error.is::<TryAgain>() => match files {
            [file] if is_unchanged(file) => {
                Ok(vec![(file.hour, format!("{}: {}", layout::unreadable_rows(), engine::explain(&error)))])
            }
            [] | [_] => Ok(Vec::new()),
            several => {
                let each =
                    several.iter().map(|file| each_difference(warehouse, dataset, table, std::slice::from_ref(file)));
                Ok(each.collect::<anyhow::Result<Vec<_>>>()?.concat())
            }
        },
        found => found,
    }
}

/// The hours whose rows are not those of their files, and in which columns.
fn differences(
    warehouse: &Warehouse,
    dataset: &Name,
    table: &DatasetTable,
    files: Vec<HourFile>,
) -> anyhow::Result<Vec<(Hour, String)>> {
    let mut alike: BTreeMap<Schema, Vec<HourFile>> = BTreeMap::new();
    let found = schemas(warehouse, &files)?;
    for (file, schema) in files.into_iter().zip(found) {
        alike.entry(schema?).or_default().push(file);
    }
    let mut different = Vec::new();
    for (schema, files) in alike {
        let is_lacking = |column: &&TableColumn| !table.columns.iter().any(|held| held.column.is(&column.name));
        let lacking: Vec<_> = schema.iter().filter(is_lacking).map(|column| column.name.as_str()).collect();
        if !lacking.is_empty() {
            let lacking = format!("{DIFFERS} {}, which the table does not have", lacking.join(", "));
            different.extend(files.iter().map(|file| (file.hour, lacking.clone())));
        }
        let checks =
            checksum::compare(warehouse, Batch { dataset, table, schema: &schema, files: &files, is_held: false })?;
        let found = checks.into_iter().filter_map(|check| Some((check.hour, format!("{DIFFERS} {}", check.differs?))));
        let unchanged = |hour| files.iter().any(|file| file.hour == hour && is_unchanged(file));
        different.extend(found.filter(|(hour, _)| unchanged(*hour)));
    }
    Ok(different)
}
