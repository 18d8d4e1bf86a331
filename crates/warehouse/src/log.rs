//! The load log: which version of which hour of which data set the warehouse holds, and of which data directory it is.
//!
//! Each line names the data directory that loaded it. A data set belongs to one directory: another one that loads a data set
//! of the same name is refused, because each would overwrite the hours of the other. Versions of this program that knew
//! no directories wrote lines without one. Such a data set goes to the first directory that has one of its hours, published
//! or expired, in the version that was loaded. No common hour is not enough: refusing the right directory costs its owner
//! one statement, but letting in a wrong one mixes the rows of two.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use engine::literal;
use layout::{Fingerprint, Hour, Name, Tree, TreeId};

use crate::backend::{Access, Backend, add_columns, columns, is_view};
use crate::column::{SqlType, TableColumn};
use crate::runner::QueryRunner;

/// The hours of a data set in the warehouse.
pub type LoadedHours = BTreeMap<Hour, LoggedHour>;

/// The hours of each data set in the warehouse.
pub type LoadLog = BTreeMap<Name, LoadedHours>;

/// An hour of a data set in the warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedHour {
    /// The fingerprint of the Parquet file that was loaded.
    pub fingerprint: Fingerprint,
    /// Its rows.
    pub rows: u64,
}

/// A line of the load log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The hour.
    pub hour: Hour,
    /// The fingerprint of the Parquet file.
    pub fingerprint: Fingerprint,
    /// Its rows.
    pub rows: u64,
    /// The last id that was given when it was loaded.
    pub last_id: i64,
}

/// The warehouse holds the data set of another data directory.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotOurs(pub(crate) String);

/// A warehouse that was named has no load log.
#[derive(Debug, thiserror::Error)]
#[error("{0}: nothing was ever loaded into it: check its name, or load into it first")]
pub struct NothingLoaded(pub(crate) String);

/// The lines of the load log that concern one data set.
#[derive(Debug, Default)]
pub(crate) struct DatasetLines {
    pub(crate) hours: LoadedHours,
    /// Whether one of them names the data directory that is asked for, ...
    pub(crate) is_ours: bool,
    /// ... or another one, which is given here.
    pub(crate) other: Option<String>,
}

/// Its name as a table.
pub(crate) const LOG: &str = "load_log";

/// Its columns.
const COLUMNS: [(&str, SqlType); 7] = [
    ("dataset", SqlType::Text),
    ("window_start", SqlType::Timestamp),
    ("fingerprint", SqlType::Text),
    ("row_count", SqlType::BigInt),
    ("last_id", SqlType::BigInt),
    ("loaded_at", SqlType::Timestamp),
    ("tree", SqlType::Text),
];

/// Makes sure that the load log is one, if there is a table of its name. To write to the warehouse it is created, or gets
/// the column that an earlier version had not.
pub(crate) fn prepare_log(backend: &dyn Backend, runner: &QueryRunner, access: Access) -> anyhow::Result<()> {
    let mut found = columns(backend, runner, LOG)?;
    if found.is_empty() && access == Access::Write {
        // A user that only loads needs no right to create.
        let created = create_log(backend, runner);
        found = columns(backend, runner, LOG)?;
        // Another run may just have created it.
        created.or_else(|error| if found.is_empty() { Err(error) } else { Ok(()) })?;
    }
    if found.is_empty() {
        return Ok(());
    }
    let (place, table) = (backend.location(), backend.shell_table(LOG));
    if is_view(backend, runner, LOG)? {
        anyhow::bail!("{place}: its {LOG} is a view, not a table of this program: rename it");
    }
    for (name, needed) in COLUMNS {
        match found.iter().find(|(column, _)| column == name) {
            Some((_, written)) if backend.column_type(written).is_some_and(|held| needed.fits(held)) => {}
            Some((_, written)) => anyhow::bail!(
                "{place}: the column {name} of its table {LOG} is {written}, which this program cannot use: make it {}",
                backend.type_name(needed, false)
            ),
            None if name == "tree" && access == Access::Read => {}
            None if name == "tree" => {
                let column = TableColumn { name: name.to_owned(), sql_type: needed };
                let added = add_columns(backend, runner, LOG, &[column]);
                // Another run may just have added it.
                if added.is_err() && columns(backend, runner, LOG)?.iter().any(|(column, _)| column == name) {
                    continue;
                }
                added.with_context(|| {
                    let sql_type = backend.type_name(needed, false);
                    format!(
                        "{place}: cannot note whose data {table} names; have its owner run: \
                         ALTER TABLE {table} ADD COLUMN {name} {sql_type}"
                    )
                })?;
            }
            None => anyhow::bail!(
                "{place}: its table {LOG} is not the load log of this program, because it has no column {name}: rename it, \
                 or load into another warehouse ({ANOTHER})"
            ),
        }
    }
    Ok(())
}

fn create_log(backend: &dyn Backend, runner: &QueryRunner) -> anyhow::Result<()> {
    let columns = COLUMNS.map(|(name, sql_type)| {
        let null = if name == "tree" { "NULL" } else { "NOT NULL" };
        format!("{name} {} {null}", backend.type_name(sql_type, true))
    });
    let (table, columns, options) = (backend.table(LOG), columns.join(", "), backend.table_options());
    let sql = format!("CREATE TABLE {table} ({columns}, PRIMARY KEY (dataset, window_start)){options}");
    backend.define(runner, &sql)
}

/// The lines of the load log, of one data set or of all; none if the warehouse has none. `own` is the data directory that is
/// asked for.
pub(crate) fn lines(
    backend: &dyn Backend,
    runner: &QueryRunner,
    dataset: Option<&Name>,
    own: Option<TreeId>,
) -> anyhow::Result<Option<BTreeMap<Name, DatasetLines>>> {
    let found = columns(backend, runner, LOG)?;
    if found.is_empty() {
        return Ok(None);
    }
    // A load log of an earlier version has no such column until the next load.
    let tree = if found.iter().any(|(name, _)| name == "tree") { "tree" } else { "NULL" };
    let condition = dataset.map(|name| format!(" WHERE dataset = '{name}'")).unwrap_or_default();
    let source = backend.source(&format!(
        "SELECT dataset, window_start, fingerprint, row_count, {tree} AS tree FROM {}{condition}",
        backend.table(LOG)
    ));
    let sql = format!(
        "SELECT dataset, epoch_us(window_start::TIMESTAMP), fingerprint, row_count::BIGINT, tree::VARCHAR FROM {source}"
    );
    let rows = runner.rows(&sql, |row| {
        let logged = LoggedHour { fingerprint: Fingerprint::from_text(row.get::<_, String>(2)?), rows: row.get(3)? };
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, logged, row.get::<_, Option<String>>(4)?))
    })?;
    let own = own.map(|id| id.to_string());
    let mut log = BTreeMap::<Name, DatasetLines>::new();
    for (dataset, micros, logged, tree) in rows {
        // A line that does not name an hour of a data set was not written by a load.
        let (Ok(name), Some(hour)) = (dataset.parse(), Hour::of_micros(micros)) else { continue };
        let lines = log.entry(name).or_default();
        lines.hours.insert(hour, logged);
        match tree {
            None => {}
            tree if tree == own => lines.is_ours = true,
            tree => lines.other = tree,
        }
    }
    Ok(Some(log))
}

/// Puts hours into the load log, instead of what it says of them. With that the data set belongs to the data directory `tree`.
pub(crate) fn record(
    backend: &dyn Backend,
    runner: &QueryRunner,
    tree: TreeId,
    dataset: &Name,
    entries: &[LogEntry],
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let (log, insert, now) = (backend.table(LOG), backend.insert_or_replace(), now.format("%Y-%m-%d %H:%M:%S%.6f"));
    let value = |entry: &LogEntry| {
        let LogEntry { hour, fingerprint, rows, last_id } = entry;
        let (start, fingerprint) = (start(*hour), literal(fingerprint.as_str()));
        format!("('{dataset}', {start}, {fingerprint}, {rows}, {last_id}, '{now}', '{tree}')")
    };
    let values = entries.iter().map(value).collect::<Vec<_>>().join(", ");
    let (columns, hours) = (COLUMNS.map(|(name, _)| name).join(", "), starts(entries.iter().map(|entry| entry.hour)));
    for sql in [
        format!("DELETE FROM {log} WHERE dataset = '{dataset}' AND window_start IN ({hours})"),
        format!("UPDATE {log} SET tree = '{tree}' WHERE dataset = '{dataset}' AND tree IS NULL"),
        format!("{insert} INTO {log} ({columns}) VALUES {values}"),
    ] {
        backend.change(runner, &sql)?;
    }
    Ok(())
}

/// The start of an hour in SQL.
fn start(hour: Hour) -> String {
    hour.start().format("'%Y-%m-%d %H:%M:%S'").to_string()
}

/// The starts of hours as a list in SQL.
pub(crate) fn starts(hours: impl IntoIterator<Item = Hour>) -> String {
    hours.into_iter().map(start).collect::<Vec<_>>().join(", ")
}

/// How another warehouse is named.
pub(crate) const ANOTHER: &str = "another DB_NAME, DB_SCHEMA or --file";

/// Whether `tree` has one of the `hours`, published or expired, in the version that was loaded.
pub(crate) fn has_one_of(tree: &Tree, dataset: &Name, hours: &LoadedHours) -> bool {
    hours.iter().any(|(hour, logged)| {
        let published = tree.commit(dataset, *hour).ok().flatten();
        let commit = published.or_else(|| tree.expired_record(dataset, *hour).ok());
        commit.is_some_and(|commit| commit.fingerprint == logged.fingerprint)
    })
}
