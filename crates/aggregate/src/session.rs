//! A DuckDB session in which one query sees one window at a time.
//!
//! Each data set is a temporary view over the window's files; reference tables are in memory; the query itself is a
//! temporary view over both.

use std::fmt::Write as _;

use anyhow::{Context as _, anyhow, bail, ensure};
use duckdb::Connection;
use engine::{SqlColumn, describe, file_literal, identifier, literal, read_parquet};
use layout::{HourRange, Name, Tree, Window};
use models::Streams;
use serde_json::Value;

use crate::batch;
use crate::plan::Inputs;
use crate::planner::Planner;
use crate::query::Query;
use crate::reads::{self, Parsed};
use crate::sources::{Sources, how_to_make};
use crate::sql::{stored, stored_type, timestamp, without_rows};
use crate::tables;

/// The name of the view of the query: none that a data set or a table can have.
const QUERY: &str = "\"the query\"";

/// The column with the start of the window, which data sets have for queries that read it.
const WINDOW_START: &str = "window_start";

/// A session for one query.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) tree: &'a Tree,
    streams: &'a Streams,
    pub(crate) query: &'a Query,
    /// Each data set with its columns.
    datasets: Vec<(Name, Vec<SqlColumn>)>,
    /// Whether the query reads the column `window_start` of its data sets.
    window_start: bool,
    /// In which [`select`](Self::select) yields the rows of the window of the last run.
    pub(crate) connection: Connection,
    /// The result's columns.
    pub(crate) columns: Vec<SqlColumn>,
    /// The query over many windows at once, if it can be had.
    pub(crate) batch: Option<String>,
}

impl<'a> Session<'a> {
    /// Opens a session for `query`.
    pub(crate) fn open(planner: &Planner<'a>, query: &'a Query, sources: &Sources<'_>) -> anyhow::Result<Self> {
        let connection = engine::open(&planner.args.session)?;
        for declared in query.declared {
            tables::create(&connection, declared)?;
        }
        for (table, fingerprint) in &sources.tables {
            let declared = query.declared.iter().find(|declared| declared.name == table.name.as_str());
            tables::load(&connection, table, fingerprint, declared)?;
        }
        let datasets = sources.datasets.iter();
        let datasets = datasets.map(|dataset| Ok((dataset.clone(), columns(&connection, planner, dataset)?)));
        let datasets = datasets.collect::<anyhow::Result<Vec<_>>>()?;
        let mut parsed = reads::parse(&connection, query)?;
        let is_start = |column: &SqlColumn| column.name.eq_ignore_ascii_case(WINDOW_START);
        // A data set or table that has such a column itself means that one.
        parsed.window_start &= !datasets.iter().any(|(_, columns)| columns.iter().any(is_start))
            && !tables::have_column(&connection, WINDOW_START)?;
        let (tree, streams, window_start) = (planner.tree, planner.streams, parsed.window_start);
        let session =
            Self { tree, streams, query, datasets, window_start, connection, columns: Vec::new(), batch: None };
        let mut session = session.prepare()?;
        session.batch = session.batch(&parsed);
        Ok(session)
    }

    /// A session of another thread over the same tables.
    pub(crate) fn fork(&self) -> anyhow::Result<Self> {
        let (connection, datasets, batch) = (self.connection.try_clone()?, self.datasets.clone(), self.batch.clone());
        Self { connection, datasets, columns: Vec::new(), batch, ..*self }.prepare()
    }

    /// The query over many windows at once, if it treats each of them by itself.
    fn batch(&self, parsed: &Parsed) -> Option<String> {
        let [(dataset, columns)] = self.datasets.as_slice() else { return None };
        if !self.query.header.calendar.is_hourly() {
            return None;
        }
        let batch = batch::over_windows(parsed, dataset, columns, &self.columns)?;
        let none = format!("({})", without_rows(columns));
        self.connection.execute_batch(&batch::create_view(&[], dataset, columns, "0", &none)).ok()?;
        let mut found = describe(&self.connection, &batch).ok()?;
        found.pop();
        (found == self.stored_columns()).then_some(batch)
    }

    /// Runs the query over many windows at once and calls `each` with every row, behind the number of its window: window
    /// after window, and in each in the order of the query. Each of them must have one file with the columns that are read.
    pub(crate) fn run_batch(
        &self,
        windows: &[Window],
        mut each: impl FnMut(usize, &duckdb::Row<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (Some(batch), [(dataset, columns)]) = (&self.batch, self.datasets.as_slice()) else {
            bail!("the query cannot be run over many windows at once");
        };
        let files = windows.iter().map(|window| file_literal(&self.tree.parquet(dataset, window.hour())));
        let files = format!("[{}]", files.collect::<Vec<_>>().join(", "));
        // Without another version the files of a stream are all alike. A query may have been another one when it made some
        // of an aggregate's.
        if self.may_differ(dataset) {
            self.check_alike(&files, columns)?;
        }
        let source = format!("read_parquet({files}, hive_partitioning = false, union_by_name = false)");
        self.connection.execute_batch(&batch::create_view(windows, dataset, columns, "file_index", &source))?;
        let mut statement = self.connection.prepare(batch)?;
        let mut rows = statement.query([])?;
        let mut windows = windows.iter().map(|window| window.start.timestamp_micros()).enumerate().peekable();
        while let Some(row) = rows.next()? {
            let start: i64 = row.get(self.columns.len())?;
            // Windows come in their order, and those without rows are passed over.
            while windows.next_if(|(_, window)| *window < start).is_some() {}
            let number = windows.peek().filter(|(_, window)| *window == start).map(|(number, _)| *number);
            each(number.context("DuckDB yields rows of another window")?, row)?;
        }
        Ok(())
    }

    /// Fails unless all of `files` have these very columns: read together, all would have the types of the first.
    fn check_alike(&self, files: &str, columns: &[SqlColumn]) -> anyhow::Result<()> {
        let sql = format!(
            "SELECT DISTINCT list_sort(list(name || ' ' || duckdb_type)) FROM parquet_schema({files}) \
             WHERE duckdb_type IS NOT NULL GROUP BY file_name"
        );
        let mut expected: Vec<_> =
            columns.iter().map(|column| format!("{} {}", column.name, column.sql_type)).collect();
        expected.sort_unstable();
        let expected = expected.iter().map(|column| literal(column)).collect::<Vec<_>>().join(", ");
        let sql =
            format!("SELECT count(*), count(*) FILTER (WHERE found = [{expected}]) FROM ({sql}) AS schemas(found)");
        let counts = self.connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        ensure!(counts == (1_i64, 1_i64), "the files of {} are not all alike", self.query.name);
        Ok(())
    }

    /// The columns of the files that are made of the result.
    pub(crate) fn stored_columns(&self) -> Vec<SqlColumn> {
        let stored = |column: &SqlColumn| SqlColumn { sql_type: stored_type(column).to_owned(), ..column.clone() };
        self.columns.iter().map(stored).collect()
    }

    /// Fails unless every kind of warehouse can have the columns.
    pub(crate) fn check_column_names(&self) -> anyhow::Result<()> {
        // As the query names them: in a view, DuckDB has renamed the second of two equal names.
        let columns = describe(&self.connection, &self.query.sql)?;
        engine::check_column_names(columns.iter().map(|column| column.name.as_str()))
            .map_err(|problem| anyhow!("{}: {problem}", self.query.origin))
    }

    /// The query to run in each window.
    pub(crate) fn select(&self) -> String {
        format!("SELECT {} FROM {QUERY}", stored(&self.columns))
    }

    /// Runs `statements` while the query sees the rows of `window`. A data set that is not among `inputs` has none.
    pub(crate) fn run(&self, window: &Window, inputs: &Inputs, statements: &str) -> anyhow::Result<()> {
        let mut sql = format!(
            "SET VARIABLE window_start = {}; SET VARIABLE window_end = {}; SET VARIABLE look_back_start = {};
             SET VARIABLE window_date = DATE '1970-01-01' + {}::INTEGER;",
            timestamp(window.start),
            timestamp(window.end),
            timestamp(window.reads_from),
            self.query.header.calendar.date(window)?
        );
        for (dataset, columns) in &self.datasets {
            let rows = match inputs.get(dataset) {
                Some(files) => {
                    let parquet = read_parquet(files.keys().map(|hour| self.tree.parquet(dataset, *hour)));
                    self.rows(dataset, columns, &parquet, window)
                }
                None => without_rows(columns),
            };
            let start = if self.window_start { ", getvariable('window_start') AS window_start" } else { "" };
            let dataset = identifier(dataset.as_str());
            let _ = write!(sql, "CREATE OR REPLACE TEMP VIEW {dataset} AS SELECT *{start} FROM ({rows});");
        }
        sql.push_str(statements);
        Ok(self.connection.execute_batch(&sql)?)
    }

    /// Whether files of `dataset` may have other columns than it has now.
    fn may_differ(&self, dataset: &Name) -> bool {
        !matches!(self.streams.columns(dataset.as_str()), Some(Ok((_, false))))
    }

    /// The rows of `parquet` that lie in `window`. Those of a stream are told by their time, where the window does not begin
    /// and end with an hour; what versions of it did not have is NULL.
    fn rows(&self, dataset: &Name, columns: &[SqlColumn], parquet: &str, window: &Window) -> String {
        let Some(Ok(model)) = self.streams.get(dataset.as_str()) else { return format!("SELECT * FROM {parquet}") };
        let cut = [window.reads_from, window.end].into_iter().any(|time| time != layout::Hour::of(time).start());
        let within = if cut {
            let (column, from, to) =
                (identifier(model.time_column()), timestamp(window.reads_from), timestamp(window.end));
            format!(" WHERE {column} >= {from} AND {column} < {to}")
        } else {
            String::new()
        };
        if !self.may_differ(dataset) {
            return format!("SELECT * FROM {parquet}{within}");
        }
        let names: Vec<_> = columns.iter().map(|column| identifier(&column.name)).collect();
        let all = format!("{} UNION ALL BY NAME SELECT * FROM {parquet}", without_rows(columns));
        format!("SELECT {} FROM ({all}){within}", names.join(", "))
    }

    /// Why a run over a window failed, if that is because a file of `inputs` is damaged behind its footer. One that has
    /// been replaced or removed since it was planned is not.
    pub(crate) fn check_inputs(&self, inputs: &Inputs) -> anyhow::Result<()> {
        for (dataset, files) in inputs {
            for (hour, planned) in files {
                if self.tree.commit(dataset, *hour)?.is_none_or(|commit| commit.fingerprint != *planned) {
                    continue;
                }
                let path = self.tree.parquet(dataset, *hour);
                let read = self.connection.execute_batch(&engine::whole_file(&path));
                read.with_context(|| format!("{}: {}", path.display(), layout::unreadable_rows()))?;
            }
        }
        Ok(())
    }

    /// Makes the views over a window without rows, and finds what is wrong with the query before it runs.
    fn prepare(mut self) -> anyhow::Result<Self> {
        let window = self.query.header.calendar.window_at(chrono::DateTime::UNIX_EPOCH)?;
        self.run(&window, &Inputs::new(), "")?;
        let create = format!("CREATE TEMP VIEW {QUERY} AS\n");
        // As JSON, errors say at which byte they are.
        self.connection.execute_batch("SET errors_as_json = true")?;
        let created = self.connection.execute_batch(&format!("{create}{}", self.query.sql));
        self.connection.execute_batch("SET errors_as_json = false")?;
        created.map_err(|error| located(self.query, create.len(), &error))?;
        self.columns = describe(&self.connection, &format!("FROM {QUERY}"))?;
        for key in &self.query.header.key {
            if !self.columns.iter().any(|column| column.name.eq_ignore_ascii_case(key)) {
                let columns: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
                bail!("{}: -- @key: {key}: the query has the columns {}", self.query.origin, columns.join(", "));
            }
        }
        Ok(self)
    }
}

/// The columns of `dataset`: a stream's are those of its model, another data set's those of its newest file, if no query
/// before is expected to make it.
fn columns(connection: &Connection, planner: &Planner<'_>, dataset: &Name) -> anyhow::Result<Vec<SqlColumn>> {
    if let Some(columns) = planner.streams.columns(dataset.as_str()) {
        let (columns, _) = columns.map_err(Clone::clone)?;
        let column = |column: models::Column| SqlColumn { sql_type: column.column_type.to_string(), name: column.name };
        return Ok(columns.into_iter().map(column).collect());
    }
    if let Some(columns) = planner.expected_columns.get(dataset) {
        return Ok(columns.clone());
    }
    let files = planner.tree.parquet_files(dataset, HourRange::ALL)?;
    let Some(newest) = files.last() else {
        bail!(
            "{dataset} has no hour yet, so its columns are not known: {}",
            how_to_make(planner.streams, dataset.as_str())
        );
    };
    describe(connection, &format!("FROM {}", read_parquet([&newest.path])))
        .with_context(|| format!("{}: its columns cannot be read", newest.path.display()))
}

/// An error of DuckDB about a statement in which the query stands behind `lead` bytes, with the place that it is about.
fn located(query: &Query, lead: usize, error: &duckdb::Error) -> anyhow::Error {
    let text = error.to_string();
    let details = text.find('{').and_then(|at| text.get(at..));
    let details = details.and_then(|json| serde_json::Deserializer::from_str(json).into_iter::<Value>().next()?.ok());
    let Some(details) = details else {
        return anyhow!("{}: {}", query.origin, text.trim());
    };
    let detail = |key: &str| details.get(key).and_then(Value::as_str);
    let position = detail("position").and_then(|at| at.parse::<usize>().ok()?.checked_sub(lead));
    let kind = detail("exception_type").unwrap_or("DuckDB");
    let message = detail("exception_message").unwrap_or_default().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    query.error_at(position, format_args!("{kind} Error: {message}"))
}
