//! A warehouse as a load sees it, whatever its kind.

use std::io::Write;

use chrono::{DateTime, Utc};
use duckdb::Row;
use engine::{SessionArgs, identifier, literal};
use layout::{Fingerprint, Hour, Name, Tree};

use crate::args::{Target, WarehouseArgs};
use crate::column::{Column, ColumnType};
use crate::log::{LoadLog, LoggedWindow};
use crate::session::Session;
use crate::{file, mysql};

/// What a warehouse is attached for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// What a table needs.
#[derive(Debug)]
pub(crate) enum Layout<'c> {
    /// To be created, with these columns after its own two.
    Create(&'c [Column]),
    /// These columns more.
    Add(&'c [Column]),
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

/// An attached warehouse.
#[derive(Debug)]
pub struct Warehouse {
    session: Session,
    place: Place,
}

/// Where a warehouse is.
#[derive(Debug)]
enum Place {
    /// A DuckDB file, attached to the session.
    File,
    /// A MariaDB or MySQL server, with a connection of its own.
    Mysql(mysql::Client),
}

impl Warehouse {
    /// Attaches the warehouse to read from it; there may be none yet.
    pub fn attach_to_read(args: &WarehouseArgs, session: &SessionArgs, tree: &Tree) -> anyhow::Result<Option<Self>> {
        match args.target {
            Target::Duckdb => {
                let session = file::attach(session, tree, Access::Read)?;
                Ok(session.map(|session| Self { session, place: Place::File }))
            }
            Target::Mysql => Self::connect(session).map(Some),
        }
    }

    /// Attaches the warehouse to load into it, with its load log: both are created if they are missing.
    pub fn attach_to_write(args: &WarehouseArgs, session: &SessionArgs, tree: &Tree) -> anyhow::Result<Self> {
        match args.target {
            Target::Duckdb => {
                let session = file::attach(session, tree, Access::Write)?;
                let Some(session) = session else { anyhow::bail!("{}: is gone", tree.warehouse().display()) };
                file::create_log(&session)?;
                Ok(Self { session, place: Place::File })
            }
            Target::Mysql => {
                let warehouse = Self::connect(session)?;
                if let Place::Mysql(client) = &warehouse.place {
                    mysql::create_log(client)?;
                }
                Ok(warehouse)
            }
        }
    }

    fn connect(session: &SessionArgs) -> anyhow::Result<Self> {
        let client = mysql::connect()?;
        let session = Session { connection: engine::open(session)?, secrets: Vec::new() };
        Ok(Self { session, place: Place::Mysql(client) })
    }

    /// The load log, of one data set or of all; none if the warehouse has none.
    pub fn load_log(&self, dataset: Option<&Name>) -> anyhow::Result<Option<LoadLog>> {
        if self.columns_as_written("load_log")?.is_empty() {
            return Ok(None);
        }
        let condition = dataset.map(|name| format!(" WHERE dataset = '{name}'")).unwrap_or_default();
        let select = format!("SELECT dataset, window_start, fingerprint, row_count FROM load_log{condition}");
        let rows = match &self.place {
            Place::File => {
                let sql = format!(
                    "SELECT dataset, epoch_us(window_start), fingerprint, row_count FROM warehouse.load_log{condition}"
                );
                self.session.rows(&sql, |row| {
                    Ok((
                        row.get::<_, String>(0)?,
                        row.get::<_, i64>(1)?,
                        row.get::<_, String>(2)?,
                        row.get::<_, u64>(3)?,
                    ))
                })?
            }
            Place::Mysql(client) => client.rows(&select)?.into_iter().filter_map(logged).collect(),
        };
        let mut log = LoadLog::new();
        for (dataset, micros, fingerprint, rows) in rows {
            // Lines that no load has written are no business of ours.
            let (Ok(name), Some(hour)) = (dataset.parse::<Name>(), Hour::of_micros(micros)) else { continue };
            let window = LoggedWindow { fingerprint: Fingerprint::from_text(fingerprint), rows };
            log.entry(name).or_default().insert(hour, window);
        }
        Ok(Some(log))
    }

    /// The columns of a data set's table with their types, which are none where they are not of the kinds that a load
    /// creates; empty if there is no table.
    pub fn columns(&self, dataset: &Name) -> anyhow::Result<Vec<(String, String, Option<ColumnType>)>> {
        let columns = self.columns_as_written(dataset.as_str())?;
        let kind = |name: &str| match &self.place {
            Place::File => file::column_type(name),
            Place::Mysql(_) => mysql::column_type(name),
        };
        Ok(columns
            .into_iter()
            .map(|(name, written)| {
                let kind = kind(&written);
                (name, written, kind)
            })
            .collect())
    }

    fn columns_as_written(&self, table: &str) -> anyhow::Result<Vec<(String, String)>> {
        match &self.place {
            Place::File => file::columns(&self.session, table),
            Place::Mysql(client) => mysql::columns(client, table),
        }
    }

    /// Creates a data set's table: its id, the start of the hour of its file, and `columns`. Outside of a transaction.
    pub fn create_table(&self, dataset: &Name, columns: &[Column]) -> anyhow::Result<()> {
        self.lay_out(dataset, &Layout::Create(columns))
    }

    /// Adds columns to a data set's table, which are NULL in the rows that are there. Outside of a transaction.
    pub fn add_columns(&self, dataset: &Name, columns: &[Column]) -> anyhow::Result<()> {
        self.lay_out(dataset, &Layout::Add(columns))
    }

    fn lay_out(&self, dataset: &Name, layout: &Layout<'_>) -> anyhow::Result<()> {
        match &self.place {
            Place::File => file::lay_out(&self.session, dataset, layout),
            Place::Mysql(client) => mysql::lay_out(client, dataset, layout),
        }
    }

    /// Runs `work` in a transaction, in which no other load changes the warehouse. It is committed if `work` returns
    /// something, and otherwise leaves no trace.
    pub fn transaction<T>(&self, work: impl FnOnce() -> anyhow::Result<Option<T>>) -> anyhow::Result<Option<T>> {
        let locked = match &self.place {
            Place::File => self.session.run("BEGIN"),
            Place::Mysql(client) => mysql::begin(client),
        };
        match locked.and_then(|()| work()) {
            Ok(Some(result)) => {
                layout::fault::point("load.before_commit");
                self.change("COMMIT")?;
                layout::fault::point("load.committed");
                Ok(Some(result))
            }
            Ok(None) => {
                self.change("ROLLBACK")?;
                Ok(None)
            }
            Err(error) => {
                // The first error is the one to tell; a transaction that cannot be rolled back is dead anyway.
                let _ = self.change("ROLLBACK");
                Err(error)
            }
        }
    }

    /// The first id that no row of the data set has, or ever had as far as the load log knows.
    pub fn next_id(&self, dataset: &Name) -> anyhow::Result<i64> {
        let (table, log) = (self.table(dataset.as_str()), self.table("load_log"));
        let mut next = 1;
        for select in [
            format!("SELECT max(last_id) AS id FROM {log} WHERE dataset = '{dataset}'"),
            format!("SELECT max(id) AS id FROM {table}"),
        ] {
            let found = match &self.place {
                Place::File => self.session.rows(&select, |row| row.get::<_, Option<i64>>(0))?,
                Place::Mysql(client) => client
                    .rows::<1>(&select)?
                    .into_iter()
                    .flatten()
                    .map(|id| id.and_then(|id| id.parse().ok()))
                    .collect(),
            };
            next = found.into_iter().flatten().map(|id| id.saturating_add(1)).fold(next, i64::max);
        }
        Ok(next)
    }

    /// Removes the rows of `hours`.
    pub fn delete(&self, dataset: &Name, hours: &[Hour]) -> anyhow::Result<()> {
        let table = self.table(dataset.as_str());
        self.change(&format!("DELETE FROM {table} WHERE window_start IN ({})", starts(hours)))
    }

    /// A column of a data set as an expression that the warehouse can store: what it cannot is an error.
    pub fn value(&self, column: &Column) -> String {
        match &self.place {
            Place::File => identifier(&column.name),
            Place::Mysql(_) => mysql::value(column),
        }
    }

    /// Inserts the rows of the query `select` into `columns`; returns how many.
    pub fn insert(&self, dataset: &Name, columns: &[&str], select: &str) -> anyhow::Result<u64> {
        if let Place::Mysql(client) = &self.place {
            return mysql::insert(client, &self.session, dataset.as_str(), columns, select);
        }
        let columns: Vec<_> = columns.iter().map(|name| identifier(name)).collect();
        let table = identifier(dataset.as_str());
        self.session.execute(&format!("INSERT INTO warehouse.{table} ({}) {select}", columns.join(", ")))
    }

    /// Puts hours into the load log, instead of what it says of them.
    pub fn record(&self, dataset: &Name, entries: &[LogEntry], now: DateTime<Utc>) -> anyhow::Result<()> {
        let hours: Vec<_> = entries.iter().map(|entry| entry.hour).collect();
        let now = now.format("%Y-%m-%d %H:%M:%S%.6f");
        let values: Vec<_> = entries
            .iter()
            .map(|entry| {
                let LogEntry { hour, fingerprint, rows, last_id } = entry;
                let (start, fingerprint) = (start(*hour), literal(fingerprint.as_str()));
                format!("('{dataset}', TIMESTAMP '{start}', {fingerprint}, {rows}, {last_id}, TIMESTAMP '{now}')")
            })
            .collect();
        let insert = match &self.place {
            // DuckDB's primary key still sees a row that the same transaction has deleted.
            Place::File => "INSERT OR REPLACE",
            Place::Mysql(_) => {
                let hours = starts(&hours);
                self.change(&format!(
                    "DELETE FROM load_log WHERE dataset = '{dataset}' AND window_start IN ({hours})"
                ))?;
                "INSERT"
            }
        };
        self.change(&format!("{insert} INTO {} VALUES {}", self.table("load_log"), values.join(", ")))
    }

    /// Prints the first rows of a data set's table.
    pub fn print_head(&self, dataset: &Name, rows: u32, out: impl Write, format: cli::Format) -> anyhow::Result<()> {
        let sql = match &self.place {
            Place::File => format!("SELECT * FROM warehouse.{} ORDER BY id LIMIT {rows}", identifier(dataset.as_str())),
            Place::Mysql(client) => mysql::head(client, dataset.as_str(), rows)?,
        };
        let printed = engine::print_query(&self.session.connection, &sql, out, format);
        printed.map_err(|error| match error.downcast_ref::<duckdb::Error>() {
            Some(cause) => self.session.explain(&cause.to_string()),
            None => error,
        })
    }

    /// The rows of a query of DuckDB's own, which does not concern the warehouse.
    pub fn query<T>(&self, sql: &str, row: impl Fn(&Row<'_>) -> duckdb::Result<T>) -> anyhow::Result<Vec<T>> {
        self.session.rows(sql, row)
    }

    /// A name in the warehouse's own SQL.
    fn table(&self, name: &str) -> String {
        match &self.place {
            Place::File => format!("warehouse.{}", identifier(name)),
            Place::Mysql(_) => mysql::quoted(name),
        }
    }

    /// A change that the warehouse itself makes, inside the transaction.
    fn change(&self, sql: &str) -> anyhow::Result<()> {
        match &self.place {
            Place::File => self.session.run(sql),
            Place::Mysql(client) => client.run(sql).map(|_| ()),
        }
    }
}

/// A line of the load log as text; none if no load has written it.
fn logged(row: [Option<String>; 4]) -> Option<(String, i64, String, u64)> {
    let [dataset, start, fingerprint, rows] = row;
    let start = chrono::NaiveDateTime::parse_from_str(&start?, "%Y-%m-%d %H:%M:%S%.f").ok()?;
    Some((dataset?, start.and_utc().timestamp_micros(), fingerprint?, rows?.parse().ok()?))
}

/// The start of an hour as SQL text.
fn start(hour: Hour) -> String {
    hour.start().format("%Y-%m-%d %H:%M:%S").to_string()
}

fn starts(hours: &[Hour]) -> String {
    hours.iter().map(|hour| format!("'{}'", start(*hour))).collect::<Vec<_>>().join(", ")
}
