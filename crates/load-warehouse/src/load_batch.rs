//! Loading files into a data set's table: one transaction for a batch.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::Utc;
use layout::{Commit, Hour, fault};
use warehouse::{BrokenOff, LogEntry, Warehouse};

use crate::checksum::{HourCheck, confirm};
use crate::plan::due;
use crate::row_diff::{RowDiff, compare};
use crate::rows::{Batch, hours};
use crate::scan::HourFile;

/// What became of a batch whose hours are in the warehouse now, in the version that was planned.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) hours: usize,
    pub(crate) rows: u64,
    /// Some of the rows' values may have been replaced.
    pub(crate) checks: Vec<HourCheck>,
}

/// Loads files for whose columns the table is ready; nothing of them if one was replaced or removed meanwhile.
pub(crate) fn load_batch(warehouse: &mut Warehouse, batch: Batch<'_>) -> anyhow::Result<Option<Loaded>> {
    let loaded = warehouse.transaction(|warehouse| {
        let files = still_due(warehouse, batch)?;
        if files.is_empty() {
            return Ok(Some(Loaded::default()));
        }
        let batch = Batch { files: &files, ..batch }.hold(warehouse)?;
        let (entries, rows) =
            if batch.table.has_id { replace(warehouse, batch)? } else { replace_keyed(warehouse, batch)? };
        fault::point("load.inserted");
        let promised: u64 = files.iter().map(|file| file.rows).sum();
        if rows != promised {
            let rows = cli::count(rows, "row");
            anyhow::bail!("{rows} inserted, but the commit records promise {promised}: nothing was loaded");
        }
        let checks = confirm(warehouse, batch)?;
        warehouse.record(batch.dataset, &entries, Utc::now())?;
        // The rows were read by path: were they those of the version that the log now names?
        Ok(files.iter().all(is_unchanged).then_some(Loaded { hours: files.len(), rows, checks }))
    });
    match loaded {
        Err(error) if !error.is::<BrokenOff>() && !batch.files.iter().all(is_unchanged) => Ok(None),
        loaded => loaded,
    }
}

/// Leaves out what the warehouse holds by now: another load may have done it since this one was planned, or this one, if
/// the answer to its commit was lost.
pub(crate) fn still_due(warehouse: &Warehouse, batch: Batch<'_>) -> anyhow::Result<Vec<HourFile>> {
    Ok(due(batch.files, &warehouse.loaded(batch.dataset)?))
}

/// Brings a table with ids to the files' new versions; returns the log's lines and how many rows it holds of them.
fn replace(warehouse: &Warehouse, batch: Batch<'_>) -> anyhow::Result<(Vec<LogEntry>, u64)> {
    // All that is read is read before the transaction changes anything: not every warehouse shows it its own changes.
    let Batch { dataset, files, .. } = batch;
    let first = warehouse.next_id(dataset)?;
    let (replaced, new): (Vec<_>, Vec<_>) = files.iter().cloned().partition(|file| file.replaces);
    let held = if replaced.is_empty() {
        RowDiff::default()
    } else {
        compare(warehouse, Batch { files: &replaced, is_held: false, ..batch })?
    };
    let entries = entries(files, &held.unchanged, first)?;
    fault::point("load.begun");
    if held.unchanged.is_empty() {
        warehouse.delete(dataset, &hours(batch.files))?;
    } else {
        // What nobody logged is not ours, but would be doubled.
        warehouse.delete(dataset, &hours(&new))?;
        warehouse.delete_rows(dataset, &held.gone)?;
    }
    fault::point("load.deleted");
    let values = batch.values(warehouse);
    let select =
        if held.unchanged.is_empty() { batch.numbered(&values, &entries) } else { batch.changed(&values, first) };
    let inserted = warehouse.insert(dataset, &names(&["id", "window_start"], batch), &select)?;
    Ok((entries, inserted + held.unchanged.values().sum::<u64>()))
}

/// The same of a table whose rows are known by a key of their own: it tells which row is which.
fn replace_keyed(warehouse: &Warehouse, batch: Batch<'_>) -> anyhow::Result<(Vec<LogEntry>, u64)> {
    fault::point("load.begun");
    warehouse.delete(batch.dataset, &hours(batch.files))?;
    fault::point("load.deleted");
    let select = format!("SELECT window_start{} FROM {}", batch.values(warehouse), batch.rows());
    let inserted = warehouse.insert(batch.dataset, &names(&["window_start"], batch), &select)?;
    let entry = |file: &HourFile| LogEntry {
        hour: file.hour,
        fingerprint: file.fingerprint.clone(),
        rows: file.rows,
        last_id: 0,
    };
    Ok((batch.files.iter().map(entry).collect(), inserted))
}

/// The columns that are filled: the table's `own`, and those that the files have.
fn names<'t>(own: &[&'t str], batch: Batch<'t>) -> Vec<&'t str> {
    own.iter().copied().chain(batch.columns().map(|stored| stored.column.name.as_str())).collect()
}

/// Whether the file is still the version that was planned.
pub(crate) fn is_unchanged(file: &HourFile) -> bool {
    Commit::read(&file.path).is_ok_and(|commit| commit.fingerprint == file.fingerprint && commit.rows == file.rows)
}

/// The log's lines for files whose new rows get ids from `first` on, file after file. A file without new rows is
/// logged with the id before it, so that the highest id that was ever given stays in the log.
fn entries(files: &[HourFile], unchanged: &BTreeMap<Hour, u64>, first: i64) -> anyhow::Result<Vec<LogEntry>> {
    let mut last_id = first - 1;
    files
        .iter()
        .map(|file| {
            let new = file.rows.saturating_sub(unchanged.get(&file.hour).copied().unwrap_or_default());
            let new = i64::try_from(new).ok();
            last_id = new.and_then(|new| last_id.checked_add(new)).context("the table has no ids left")?;
            Ok(LogEntry { hour: file.hour, fingerprint: file.fingerprint.clone(), rows: file.rows, last_id })
        })
        .collect()
}
