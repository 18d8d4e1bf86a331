//! Loading windows into a data set's table: one transaction for a batch.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::Utc;
use layout::{Commit, Hour, Name, fault};
use warehouse::{BrokenOff, LogEntry, Warehouse};

use crate::plan::{Window, due};
use crate::rows::{changed, hours, keyed, numbered};
use crate::schema::Schema;
use crate::target::Target;
use crate::unchanged::{Held, compare};

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// So many hours with so many rows are in the warehouse now, in the version that was planned.
    Rows(usize, u64),
    /// A file was replaced or removed meanwhile, so that nothing of the batch was loaded.
    Changed,
}

/// Loads windows whose files have the columns `schema`, for which the table is laid out.
pub(crate) fn load(
    warehouse: &mut Warehouse,
    dataset: &Name,
    target: &Target,
    schema: &Schema,
    windows: &[Window],
) -> anyhow::Result<Loaded> {
    let loaded = warehouse.transaction(|warehouse| {
        let windows = still_due(warehouse, dataset, windows)?;
        if windows.is_empty() {
            return Ok(Some((0, 0)));
        }
        let (entries, rows) = if target.has_id {
            replace(warehouse, dataset, target, schema, &windows)?
        } else {
            replace_keyed(warehouse, dataset, schema, &windows)?
        };
        fault::point("load.inserted");
        let promised: u64 = windows.iter().map(|window| window.rows).sum();
        if rows != promised {
            let rows = cli::count(rows, "row");
            anyhow::bail!("{rows} inserted, but the commit records promise {promised}: nothing was loaded");
        }
        warehouse.record(dataset, &entries, Utc::now())?;
        // The rows were read by path: were they those of the version that the log now names?
        Ok(windows.iter().all(is_unchanged).then_some((windows.len(), rows)))
    });
    match loaded {
        Ok(Some((hours, rows))) => Ok(Loaded::Rows(hours, rows)),
        Ok(None) => Ok(Loaded::Changed),
        Err(error) if !error.is::<BrokenOff>() && !windows.iter().all(is_unchanged) => Ok(Loaded::Changed),
        Err(error) => Err(error),
    }
}

/// Leaves out what the warehouse holds by now: another load may have done it since this one was planned, or this one, if
/// the answer to its commit was lost.
pub(crate) fn still_due(warehouse: &Warehouse, dataset: &Name, windows: &[Window]) -> anyhow::Result<Vec<Window>> {
    let log = warehouse.load_log(Some(dataset))?.unwrap_or_default();
    Ok(due(windows.to_vec(), log.get(dataset)))
}

/// Brings a table with ids to the windows' new versions; returns the log's lines and how many rows it holds of them.
fn replace(
    warehouse: &Warehouse,
    dataset: &Name,
    target: &Target,
    schema: &Schema,
    windows: &[Window],
) -> anyhow::Result<(Vec<LogEntry>, u64)> {
    // All that is read is read before the transaction changes anything: not every warehouse shows it its own changes.
    let first = warehouse.next_id(dataset)?;
    let (replaced, new): (Vec<_>, Vec<_>) = windows.iter().cloned().partition(|window| window.replaces);
    let held =
        if replaced.is_empty() { Held::default() } else { compare(warehouse, dataset, target, schema, &replaced)? };
    let entries = entries(windows, &held.unchanged, first)?;
    fault::point("load.begun");
    if held.unchanged.is_empty() {
        warehouse.delete(dataset, &hours(windows))?;
    } else {
        // What nobody logged is not ours, but would be doubled.
        warehouse.delete(dataset, &hours(&new))?;
        warehouse.delete_rows(dataset, &held.gone)?;
    }
    fault::point("load.deleted");
    let select = if held.unchanged.is_empty() {
        numbered(warehouse, schema, windows, &entries)
    } else {
        changed(warehouse, schema, windows, first)
    };
    let inserted = warehouse.insert(dataset, &columns(&["id", "window_start"], schema), &select)?;
    Ok((entries, inserted + held.unchanged.values().sum::<u64>()))
}

/// The same of a table whose rows are known by a key of their own: it tells which row is which.
fn replace_keyed(
    warehouse: &Warehouse,
    dataset: &Name,
    schema: &Schema,
    windows: &[Window],
) -> anyhow::Result<(Vec<LogEntry>, u64)> {
    fault::point("load.begun");
    warehouse.delete(dataset, &hours(windows))?;
    fault::point("load.deleted");
    let select = keyed(warehouse, schema, windows);
    let inserted = warehouse.insert(dataset, &columns(&["window_start"], schema), &select)?;
    let entry = |window: &Window| LogEntry {
        hour: window.hour,
        fingerprint: window.fingerprint.clone(),
        rows: window.rows,
        last_id: 0,
    };
    Ok((windows.iter().map(entry).collect(), inserted))
}

fn columns<'s>(own: &[&'s str], schema: &'s Schema) -> Vec<&'s str> {
    own.iter().copied().chain(schema.iter().map(|column| column.name.as_str())).collect()
}

/// Whether the window's file is still the version that was planned.
pub(crate) fn is_unchanged(window: &Window) -> bool {
    Commit::read(&window.path)
        .is_ok_and(|commit| commit.fingerprint == window.fingerprint && commit.rows == window.rows)
}

/// The log's lines for windows whose new rows get ids from `first` on, window after window. A window without new rows is
/// logged with the id before it, so that the highest id that was ever given stays in the log.
fn entries(windows: &[Window], unchanged: &BTreeMap<Hour, u64>, first: i64) -> anyhow::Result<Vec<LogEntry>> {
    let mut last_id = first - 1;
    windows
        .iter()
        .map(|window| {
            let new = window.rows.saturating_sub(unchanged.get(&window.hour).copied().unwrap_or_default());
            let new = i64::try_from(new).ok();
            last_id = new.and_then(|new| last_id.checked_add(new)).context("the table has no ids left")?;
            Ok(LogEntry { hour: window.hour, fingerprint: window.fingerprint.clone(), rows: window.rows, last_id })
        })
        .collect()
}
