//! Loading windows into a data set's table: one transaction for a batch.

use anyhow::Context as _;
use chrono::Utc;
use engine::read_parquet;
use layout::{Commit, Name, fault};
use warehouse::{LogEntry, Warehouse};

use crate::plan::Window;
use crate::schema::Schema;

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
    warehouse: &Warehouse,
    dataset: &Name,
    schema: &Schema,
    windows: &[Window],
) -> anyhow::Result<Loaded> {
    let loaded = warehouse.transaction(|| {
        let windows = still_due(warehouse, dataset, windows)?;
        if windows.is_empty() {
            return Ok(Some((0, 0)));
        }
        let first = warehouse.next_id(dataset)?;
        let entries = entries(&windows, first)?;
        fault::point("load.begun");
        let hours: Vec<_> = windows.iter().map(|window| window.hour).collect();
        warehouse.delete(dataset, &hours)?;
        fault::point("load.deleted");
        let columns: Vec<_> =
            ["id", "window_start"].into_iter().chain(schema.iter().map(|column| column.name.as_str())).collect();
        let rows = warehouse.insert(dataset, &columns, &select(warehouse, schema, &windows, &entries))?;
        fault::point("load.inserted");
        let promised: u64 = windows.iter().map(|window| window.rows).sum();
        if rows != promised {
            let rows = cli::count(rows, "row");
            anyhow::bail!("{rows} inserted, but the commit records promise {promised}: nothing was loaded");
        }
        warehouse.record(dataset, &entries, Utc::now())?;
        // The rows were read by path: were they those of the version that the log now names?
        Ok(windows.iter().all(|window| is_unchanged(window)).then_some((windows.len(), rows)))
    });
    match loaded {
        Ok(Some((hours, rows))) => Ok(Loaded::Rows(hours, rows)),
        Ok(None) => Ok(Loaded::Changed),
        Err(_) if !windows.iter().all(is_unchanged) => Ok(Loaded::Changed),
        Err(error) => Err(error),
    }
}

/// Leaves out what another load has done since this one was planned.
fn still_due<'w>(warehouse: &Warehouse, dataset: &Name, windows: &'w [Window]) -> anyhow::Result<Vec<&'w Window>> {
    let log = warehouse.load_log(Some(dataset))?.unwrap_or_default();
    let logged = log.get(dataset);
    let is_done = |window: &&Window| {
        let logged = logged.and_then(|logged| logged.get(&window.hour));
        logged.is_some_and(|logged| logged.fingerprint == window.fingerprint)
    };
    Ok(windows.iter().filter(|window| !is_done(window)).collect())
}

/// Whether the window's file is still the version that was planned.
pub(crate) fn is_unchanged(window: &Window) -> bool {
    Commit::read(&window.path)
        .is_ok_and(|commit| commit.fingerprint == window.fingerprint && commit.rows == window.rows)
}

/// The log's lines for windows whose rows get ids from `first` on, window after window. A window without rows is logged
/// with the id before it, so that the highest id that was ever given stays in the log.
fn entries(windows: &[&Window], first: i64) -> anyhow::Result<Vec<LogEntry>> {
    let mut last_id = first - 1;
    windows
        .iter()
        .map(|window| {
            let rows = i64::try_from(window.rows).ok();
            last_id = rows.and_then(|rows| last_id.checked_add(rows)).context("the table has no ids left")?;
            Ok(LogEntry { hour: window.hour, fingerprint: window.fingerprint.clone(), rows: window.rows, last_id })
        })
        .collect()
}

/// The rows of the windows' files with their ids: inside a window they follow the order of the file.
fn select(warehouse: &Warehouse, schema: &Schema, windows: &[&Window], entries: &[LogEntry]) -> String {
    let list = |values: Vec<String>| values.join(", ");
    let bases = list(entries.iter().map(|entry| (entry.last_id + 1 - entry.rows.cast_signed()).to_string()).collect());
    let starts = list(windows.iter().map(|window| window.hour.start_micros().to_string()).collect());
    let own = [
        format!("([{bases}]::BIGINT[])[file_index::BIGINT + 1] + file_row_number"),
        format!("make_timestamp(([{starts}]::BIGINT[])[file_index::BIGINT + 1])"),
    ];
    let columns = list(own.into_iter().chain(schema.iter().map(|column| warehouse.value(column))).collect());
    let files = read_parquet(windows.iter().map(|window| window.path.as_path()));
    format!("SELECT {columns} FROM {files}")
}
