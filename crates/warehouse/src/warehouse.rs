//! A warehouse as a load sees it, whatever its kind.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use cli::TryAgain;
use duckdb::Row;
use engine::{SessionArgs, identifier};
use layout::{Hour, Name, Tree, TreeId};

use crate::args::{WarehouseArgs, WarehouseKind};
use crate::attach::{attach, backend_of, patiently};
use crate::backend::{self, Access, Backend};
use crate::column::{HeldColumn, SqlType, StoredColumn, TableColumn};
use crate::log::{
    self, ANOTHER, DatasetLines, LOG, LoadLog, LoadedHours, LogEntry, NotOurs, NothingLoaded, has_one_of, starts,
};
use crate::runner::{BrokenOff, QueryRunner, Unanswered};

/// Rows that one statement removes: its text must not become too long.
const IDS_AT_ONCE: usize = 5000;

const GONE: &str = "the warehouse is gone";

/// An attached warehouse.
#[derive(Debug)]
pub struct Warehouse {
    runner: QueryRunner,
    backend: Box<dyn Backend>,
    tree: Tree,
    /// The identity of the data directory, which it may not have yet where the warehouse is only read.
    id: Option<TreeId>,
    args: WarehouseArgs,
    session_args: SessionArgs,
}

impl Warehouse {
    /// Attaches the warehouse to read from it; there may be none yet.
    pub fn attach_to_read(args: &WarehouseArgs, session: &SessionArgs, tree: &Tree) -> anyhow::Result<Option<Self>> {
        Self::attach(args, session, tree, Access::Read)
    }

    /// Attaches the warehouse to load into it, with its load log: both are created if they are missing.
    pub fn attach_to_write(args: &WarehouseArgs, session: &SessionArgs, tree: &Tree) -> anyhow::Result<Self> {
        Self::attach(args, session, tree, Access::Write)?.context(GONE)
    }

    fn attach(
        args: &WarehouseArgs,
        session: &SessionArgs,
        tree: &Tree,
        access: Access,
    ) -> anyhow::Result<Option<Self>> {
        let backend = backend_of(args, tree)?;
        let (args, session_args, tree) = (args.clone(), session.clone(), tree.clone());
        let Some(runner) = attach(&*backend, &args, session, access, *args.wait)? else { return Ok(None) };
        let id = if access == Access::Read { tree.existing_id()? } else { Some(tree.id()?) };
        Ok(Some(Self { runner, backend, tree, id, args, session_args }))
    }

    /// Attaches it anew, after its connection broke.
    pub fn attach_again(&mut self) -> anyhow::Result<()> {
        self.attach_within(*self.args.wait)
    }

    fn attach_within(&mut self, wait: Duration) -> anyhow::Result<()> {
        // The old session lets go first: no file may be opened twice in one process.
        let (limit, backend) = (self.runner.limit, &*self.backend);
        self.runner = QueryRunner::open(&self.session_args, limit, backend.location(), Vec::new())?;
        self.runner = attach(backend, &self.args, &self.session_args, Access::Write, wait)?.context(GONE)?;
        Ok(())
    }

    /// The load log; none if the warehouse has none. It has no hours of what belongs to another data directory.
    pub fn load_log(&self) -> anyhow::Result<Option<LoadLog>> {
        let Some(log) = log::lines(&*self.backend, &self.runner, None, self.id)? else { return Ok(None) };
        let hours = |lines: DatasetLines| if lines.other.is_none() { lines.hours } else { LoadedHours::new() };
        Ok(Some(log.into_iter().map(|(dataset, lines)| (dataset, hours(lines))).collect()))
    }

    /// The hours that the warehouse holds of a data set. A [`NotOurs`] if it is that of another data directory.
    pub fn loaded(&self, dataset: &Name) -> anyhow::Result<LoadedHours> {
        let lines = log::lines(&*self.backend, &self.runner, Some(dataset), self.id)?;
        let lines = lines.unwrap_or_default().remove(dataset).unwrap_or_default();
        let whose = match &lines.other {
            Some(tree) => format!("the data directory with the tree-id {tree}"),
            None if lines.is_ours || lines.hours.is_empty() => return Ok(lines.hours),
            None if has_one_of(&self.tree, dataset, &lines.hours) => return Ok(lines.hours),
            None => "a data directory that has none of the versions that were loaded".to_owned(),
        };
        let (log, own) = (self.backend.shell_table(LOG), self.id()?);
        Err(anyhow::Error::new(NotOurs(format!(
            "{}: its table {dataset} is that of {whose}, of which it would overwrite hours: load into another warehouse ({ANOTHER}); or, if this data directory takes the place of that one, run there: \
             UPDATE {log} SET tree = '{own}' WHERE dataset = '{dataset}'",
            self.backend.location()
        ))))
    }

    /// The identity of the data directory, which gets one where it has none.
    fn id(&self) -> anyhow::Result<TreeId> {
        Ok(self.id.map_or_else(|| self.tree.id(), Ok)?)
    }

    /// The same, but nothing if somebody has dropped the table.
    pub fn held(&self, dataset: &Name) -> anyhow::Result<LoadedHours> {
        let loaded = self.loaded(dataset)?;
        let is_dropped = !loaded.is_empty() && self.columns(dataset)?.is_empty();
        Ok(if is_dropped { LoadedHours::new() } else { loaded })
    }

    /// The columns of a data set's table; empty if there is no table.
    pub fn columns(&self, dataset: &Name) -> anyhow::Result<Vec<HeldColumn>> {
        let columns = backend::columns(&*self.backend, &self.runner, dataset.as_str())?;
        let column = |(name, written): (String, String)| {
            let stored = self.backend.column_type(&written).map(|sql_type| StoredColumn {
                column: TableColumn { name: name.clone(), sql_type },
                limit: self.backend.limit(&written, sql_type),
            });
            HeldColumn { name, written, stored }
        };
        Ok(columns.into_iter().map(column).collect())
    }

    /// Whether what has the name of the data set's table is a view.
    pub fn is_view(&self, dataset: &Name) -> anyhow::Result<bool> {
        backend::is_view(&*self.backend, &self.runner, dataset.as_str())
    }

    /// Creates a data set's table: its id or, with a `key`, none; the start of the hour of its file, and `columns`. Outside
    /// of a transaction.
    pub fn create_table(&self, dataset: &Name, columns: &[TableColumn], key: &[String]) -> anyhow::Result<()> {
        let (backend, mut all) = (&*self.backend, Vec::new());
        if key.is_empty() {
            all.push(format!("id {} PRIMARY KEY", backend.id_type()));
        }
        all.push(format!("window_start {} NOT NULL", backend.type_name(SqlType::Timestamp, false)));
        all.extend(columns.iter().map(|column| {
            let is_key = key.iter().any(|name| column.is(name));
            let type_name = backend.type_name(column.sql_type, is_key);
            format!("{} {type_name} {}", backend.column(&column.name), if is_key { "NOT NULL" } else { "NULL" })
        }));
        if !key.is_empty() {
            let key: Vec<_> = key.iter().map(|name| backend.column(name)).collect();
            all.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        all.extend(backend.inner_index().map(str::to_owned));
        let table = backend.table(dataset.as_str());
        let create = format!("CREATE TABLE {table} ({}){}", all.join(", "), backend.table_options());
        let index = format!("; CREATE INDEX {} ON {table} (window_start)", backend.index_name(dataset.as_str()));
        backend.define(&self.runner, &if backend.inner_index().is_some() { create } else { create + &index })
    }

    /// Adds columns to a data set's table, which are NULL in the rows that are there. Outside of a transaction.
    pub fn add_columns(&self, dataset: &Name, columns: &[TableColumn]) -> anyhow::Result<()> {
        backend::add_columns(&*self.backend, &self.runner, dataset.as_str(), columns)
    }

    /// The statement by which the table's owner gives a column a type that holds values of `sql_type` besides its own.
    pub fn change_type(&self, dataset: &Name, column: &TableColumn, sql_type: SqlType) -> String {
        self.backend.change_type(dataset.as_str(), &column.name, column.sql_type.with(sql_type))
    }

    /// Runs `work` in a transaction, in which no other load changes the warehouse. It is committed if `work` returns
    /// something, and otherwise leaves no trace. What fails for a reason that passes is done again as long as the patience
    /// lasts.
    pub fn transaction<T>(&mut self, work: impl Fn(&Self) -> anyhow::Result<Option<T>>) -> anyhow::Result<Option<T>> {
        let wait = *self.args.wait;
        patiently(wait, || self.transact(&work))
    }

    fn transact<T>(&mut self, work: impl Fn(&Self) -> anyhow::Result<Option<T>>) -> anyhow::Result<Option<T>> {
        self.patiently(|warehouse| {
            let begun = warehouse.backend.begin(&warehouse.runner);
            begun.inspect_err(|_| drop(warehouse.backend.end(&warehouse.runner, "ROLLBACK")))
        })?;
        match work(self) {
            Ok(Some(result)) => {
                layout::fault::point("load.before_commit");
                self.backend.end(&self.runner, "COMMIT").map_err(|error| error.context(Unanswered))?;
                layout::fault::point("load.committed");
                Ok(Some(result))
            }
            Ok(None) => {
                self.backend.end(&self.runner, "ROLLBACK")?;
                Ok(None)
            }
            Err(error) if error.is::<BrokenOff>() => Err(error),
            Err(error) => {
                // The first error is the one to tell; a transaction that cannot be rolled back is dead anyway.
                let _ = self.backend.end(&self.runner, "ROLLBACK");
                Err(error)
            }
        }
    }

    /// Takes a data set out of the load log whose table somebody has dropped; says whether it did.
    pub fn forget_dropped(&mut self, dataset: &Name) -> anyhow::Result<bool> {
        let is_dropped =
            |warehouse: &Self| Ok(!warehouse.loaded(dataset)?.is_empty() && warehouse.columns(dataset)?.is_empty());
        if !self.patiently(is_dropped)? {
            return Ok(false);
        }
        // Asked again under the lock: another load may be making the table anew.
        let forgotten = self.transaction(|warehouse| {
            if !is_dropped(warehouse)? {
                return Ok(None);
            }
            let log = warehouse.backend.table(LOG);
            warehouse.change(&format!("DELETE FROM {log} WHERE dataset = '{dataset}'")).map(Some)
        })?;
        Ok(forgotten.is_some())
    }

    /// Does `work`, which may be done twice, as long as the warehouse is away or busy and the patience lasts: over a new
    /// connection, if this one has died. Outside of a transaction.
    pub fn patiently<T>(&mut self, work: impl Fn(&Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let end = Instant::now() + *self.args.wait;
        let left = || end.saturating_duration_since(Instant::now());
        let mut is_first = true;
        loop {
            let is_there = || self.runner.run(&format!("SELECT * FROM {}", self.source("SELECT 1 AS one"))).is_ok();
            let done = patiently(left(), || match work(self) {
                Err(error) if error.is::<TryAgain>() && !is_there() => Ok(Err(error)),
                done => done.map(Ok),
            })?;
            match done {
                Err(error) if is_first || !left().is_zero() => ::log::info!("{error:#}; connecting anew"),
                done => return done,
            }
            is_first = false;
            self.attach_within(left())?;
        }
    }

    /// The first id that no row of the data set has, or ever had as far as the load log knows.
    pub fn next_id(&self, dataset: &Name) -> anyhow::Result<i64> {
        let (table, log) = (self.backend.table(dataset.as_str()), self.backend.table(LOG));
        let source = self.source(&format!(
            "SELECT max(id) AS id FROM (SELECT max(last_id) AS id FROM {log} WHERE dataset = '{dataset}' \
             UNION ALL SELECT max(id) AS id FROM {table}) AS ids"
        ));
        let found =
            self.runner.rows(&format!("SELECT id::BIGINT FROM {source}"), |row| row.get::<_, Option<i64>>(0))?;
        Ok(found.into_iter().flatten().map(|id| id.saturating_add(1)).fold(1, i64::max))
    }

    /// How many rows the table has of each hour; of rows that belong to no hour nothing is said.
    pub fn counts(&self, dataset: &Name) -> anyhow::Result<BTreeMap<Hour, u64>> {
        let table = self.backend.table(dataset.as_str());
        let select = format!("SELECT window_start, count(*) AS row_count FROM {table} GROUP BY window_start");
        let sql = format!("SELECT epoch_us(window_start::TIMESTAMP), row_count::BIGINT FROM {}", self.source(&select));
        let rows = self.runner.rows(&sql, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?)))?;
        Ok(rows.into_iter().filter_map(|(micros, rows)| Some((Hour::of_micros(micros)?, rows))).collect())
    }

    /// Removes the rows of `hours`.
    pub fn delete(&self, dataset: &Name, hours: &[Hour]) -> anyhow::Result<()> {
        if hours.is_empty() {
            return Ok(());
        }
        let table = self.backend.table(dataset.as_str());
        self.change(&format!("DELETE FROM {table} WHERE window_start IN ({})", starts(hours.iter().copied())))
    }

    /// Removes the rows with these ids.
    pub fn delete_rows(&self, dataset: &Name, ids: &[i64]) -> anyhow::Result<()> {
        let table = self.backend.table(dataset.as_str());
        ids.chunks(IDS_AT_ONCE).try_for_each(|ids| {
            let ids: Vec<_> = ids.iter().map(i64::to_string).collect();
            self.change(&format!("DELETE FROM {table} WHERE id IN ({})", ids.join(", ")))
        })
    }

    /// The rows of `hours` as a query of DuckDB that yields each value of `columns`, one of which is `window_start`, exactly as
    /// it is stored. Rows with an id are looked for by their ids, if these lie together as a load leaves them: the index on
    /// `window_start` leads to one row at a time, and MariaDB prefers to read the whole table.
    pub fn stored(
        &self,
        dataset: &Name,
        has_id: bool,
        columns: &[TableColumn],
        hours: &[Hour],
    ) -> anyhow::Result<String> {
        let condition = format!("WHERE window_start IN ({})", starts(hours.iter().copied()));
        let by_id = has_id && self.backend.indexes_ids();
        let ids = if by_id { self.ids(dataset, &condition)? } else { None };
        let rest =
            ids.map_or_else(|| condition.clone(), |(first, last)| format!("WHERE id BETWEEN {first} AND {last}"));
        let columns: Vec<_> = columns.iter().map(|column| (&*column.name, Some(column.sql_type))).collect();
        Ok(format!("{} {condition}", self.select(dataset, &columns, &rest)))
    }

    /// The first and the last id of the rows that `condition` picks, unless most of those between them are others'.
    fn ids(&self, dataset: &Name, condition: &str) -> anyhow::Result<Option<(i64, i64)>> {
        let table = self.backend.table(dataset.as_str());
        let select =
            format!("SELECT min(id) AS first, max(id) AS last, count(*) AS row_count FROM {table} {condition}");
        let sql = format!("SELECT first::BIGINT, last::BIGINT, row_count::BIGINT FROM {}", self.source(&select));
        let found = self.runner.rows(&sql, |row| {
            Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, i64>(2)?))
        })?;
        Ok(found.into_iter().find_map(|(first, last, rows)| {
            let (first, last) = (first?, last?);
            (last.saturating_sub(first) < rows.saturating_mul(2)).then_some((first, last))
        }))
    }

    /// A query of DuckDB for rows of a table, with the types of its columns where they are known. `rest` is what follows `FROM`
    /// in the warehouse's SQL.
    fn select(&self, dataset: &Name, columns: &[(&str, Option<SqlType>)], rest: &str) -> String {
        let names: Vec<_> = columns.iter().map(|(name, _)| self.backend.column(name)).collect();
        let table = self.backend.table(dataset.as_str());
        let source = self.source(&format!("SELECT {} FROM {table} {rest}", names.join(", ")));
        let typed = |(name, sql_type): &(&str, Option<SqlType>)| match (identifier(name), sql_type) {
            (name, Some(sql_type)) => format!("CAST({name} AS {sql_type}) AS {name}"),
            (name, None) => name,
        };
        format!("SELECT {} FROM {source}", columns.iter().map(typed).collect::<Vec<_>>().join(", "))
    }

    /// Why the warehouse has no column for values of a type, with what to do; none if it has.
    pub fn refusal(&self, sql_type: SqlType) -> Option<String> {
        self.backend.refusal(sql_type)
    }

    /// A value of a type, which the warehouse can hold, in the form in which [`insert`](Self::insert) takes it.
    pub fn sent(&self, sql_type: SqlType, value: &str) -> String {
        self.backend.sent(sql_type, value)
    }

    /// Inserts the rows of the query `select` into `columns`; returns how many.
    pub fn insert(&self, dataset: &Name, columns: &[&str], select: &str) -> anyhow::Result<u64> {
        self.backend.insert(&self.runner, dataset, columns, select)
    }

    /// Puts hours into the load log, instead of what it says of them. With that the data set belongs to this data directory.
    pub fn record(&self, dataset: &Name, entries: &[LogEntry], now: DateTime<Utc>) -> anyhow::Result<()> {
        log::record(&*self.backend, &self.runner, self.id()?, dataset, entries, now)
    }

    /// Prints the first rows of a data set's table.
    pub fn print_head(&self, dataset: &Name, rows: u32, out: impl Write, format: cli::Format) -> anyhow::Result<()> {
        let columns = self.columns(dataset)?;
        let has_id = columns.iter().any(|column| column.name.to_lowercase() == "id");
        let order = format!("ORDER BY {} LIMIT {rows}", if has_id { "id" } else { "window_start" });
        let columns: Vec<_> = columns.iter().map(|held| (&*held.name, held.sql_type())).collect();
        let sql = format!("{} {order}", self.select(dataset, &columns, &order));
        let printed = engine::print_query(&self.runner.connection, &sql, out, format);
        printed.map_err(|error| match error.downcast_ref::<duckdb::Error>() {
            Some(cause) => self.runner.explain(&cause.to_string()),
            None => error,
        })
    }

    /// Runs statements of DuckDB's own, such as on temporary tables, inside the transaction or not.
    pub fn run(&self, sql: &str) -> anyhow::Result<()> {
        self.runner.run(sql)
    }

    /// The rows of a query of DuckDB's own, which does not concern the warehouse.
    pub fn query<T>(&self, sql: &str, row: impl Fn(&Row<'_>) -> duckdb::Result<T>) -> anyhow::Result<Vec<T>> {
        self.runner.rows(sql, row)
    }

    fn source(&self, select: &str) -> String {
        self.backend.source(select)
    }

    fn change(&self, sql: &str) -> anyhow::Result<()> {
        self.backend.change(&self.runner, sql)
    }
}

/// What the warehouse holds; none when there is no embedded warehouse yet. Another one was named, perhaps wrongly: without a
/// load log it is an error. Of a data set that belongs to another data directory, or whose table somebody has dropped, it
/// holds nothing, whatever the load log says. Creates nothing.
pub fn read_load_log(args: &WarehouseArgs, session: &SessionArgs, tree: &Tree) -> anyhow::Result<Option<LoadLog>> {
    let warehouse = Warehouse::attach_to_read(args, session, tree)?;
    let log = warehouse.as_ref().map_or(Ok(None), Warehouse::load_log)?;
    let found = warehouse.zip(log);
    let is_named = args.target != WarehouseKind::Duckdb || args.file().is_some();
    if is_named && found.as_ref().is_none_or(|(_, log)| log.is_empty()) {
        return Err(NothingLoaded(backend_of(args, tree)?.location()).into());
    }
    let Some((warehouse, mut log)) = found else { return Ok(None) };
    for (dataset, hours) in &mut log {
        if warehouse.columns(dataset)?.is_empty() {
            hours.clear();
        }
    }
    Ok(Some(log))
}
