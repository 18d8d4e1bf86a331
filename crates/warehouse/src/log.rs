//! The load log: which version of which hour of which data set the warehouse holds, and of which data directory it is.
//!
//! Each line names the data directory that loaded it. A data set belongs to one directory: another one that loads a data set
//! of the same name is refused, because each would overwrite the hours of the other. Versions of this program that knew
//! no directories wrote lines without one. Such a data set goes to the first directory that has one of its hours, published
//! or expired, in the version that was loaded. No common hour is not enough: refusing the right directory costs its owner
//! one statement, but letting in a wrong one mixes the rows of two.

use std::collections::BTreeMap;

use anyhow::Context as _;
use layout::{Fingerprint, Hour, Name, Tree};

use crate::backend::{Access, Backend, add_columns, is_view};
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
    /// How many of them name the data directory that is asked for, ...
    pub(crate) ours: usize,
    /// ... or another one, which is given here.
    pub(crate) other: Option<String>,
}

impl DatasetLines {
    pub(crate) fn push(&mut self, hour: Hour, logged: LoggedHour, tree: Option<String>, own: Option<&str>) {
        self.hours.insert(hour, logged);
        match tree {
            Some(tree) if Some(tree.as_str()) == own => self.ours += 1,
            Some(tree) => self.other = Some(tree),
            None => {}
        }
    }
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

/// Their names, in the order in which a line is written.
pub(crate) fn column_names() -> String {
    COLUMNS.map(|(name, _)| name).join(", ")
}

/// Makes sure that the load log is one, if there is a table of its name. To write to the warehouse it is created, or gets
/// the column that an earlier version had not.
pub(crate) fn prepare_log(backend: &dyn Backend, runner: &QueryRunner, access: Access) -> anyhow::Result<()> {
    if access == Access::Write {
        create_log(backend, runner)?;
        backend.create_lock(runner)?;
    }
    let columns = backend.columns(runner, LOG)?;
    if columns.is_empty() {
        return Ok(());
    }
    let (place, table) = (backend.location(), backend.shell_table(LOG));
    if is_view(backend, runner, LOG)? {
        anyhow::bail!("{place}: its {LOG} is a view, not a table of this program: rename it");
    }
    for (name, needed) in COLUMNS {
        match columns.iter().find(|(column, _)| column == name) {
            Some((_, written)) if backend.column_type(written).is_some_and(|held| needed.fits(held)) => {}
            Some((_, written)) => anyhow::bail!(
                "{place}: the column {name} of its table {LOG} is {written}, which this program cannot use: make it {}",
                backend.type_name(needed)
            ),
            None if name == "tree" && access == Access::Read => {}
            None if name == "tree" => {
                let column = TableColumn { name: name.to_owned(), sql_type: needed };
                let added = add_columns(backend, runner, LOG, &[column]);
                // Another run may just have added it.
                let is_there = added.is_ok() || backend.columns(runner, LOG)?.iter().any(|(column, _)| column == name);
                added.or_else(|error| if is_there { Ok(()) } else { Err(error) }).with_context(|| {
                    let sql_type = backend.type_name(needed);
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

/// Creates it if it is missing. A user that only loads needs no right to create.
fn create_log(backend: &dyn Backend, runner: &QueryRunner) -> anyhow::Result<()> {
    if !backend.columns(runner, LOG)?.is_empty() {
        return Ok(());
    }
    let columns = COLUMNS.map(|(name, sql_type)| {
        let null = if name == "tree" { "NULL" } else { "NOT NULL" };
        format!("{name} {} {null}", backend.key_type_name(sql_type))
    });
    let (table, columns, options) = (backend.table(LOG), columns.join(", "), backend.table_options());
    let sql = format!("CREATE TABLE {table} ({columns}, PRIMARY KEY (dataset, window_start)){options}");
    let created = backend.define(runner, &sql);
    // Another run may just have created it.
    if created.is_err() && !backend.columns(runner, LOG)?.is_empty() { Ok(()) } else { created }
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
