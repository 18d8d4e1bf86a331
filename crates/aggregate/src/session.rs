//! A DuckDB session in which one query sees one hour at a time.
//!
//! Each data set is a temporary view over the hour's file; reference tables are in memory; the query itself is a
//! temporary view over both.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, anyhow, bail};
use duckdb::Connection;
use engine::{SessionArgs, identifier, read_parquet};
use layout::{Fingerprint, Hour, HourRange, Name, Tree};

use crate::query::Query;
use crate::sources::Sources;
use crate::tables;

/// The name of the view of the query: none that a data set or a table can have.
const QUERY: &str = "\"the query\"";

/// A session for one query.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    tree: &'a Tree,
    query: &'a Query,
    /// Each data set with a query that has its columns and no rows.
    datasets: Vec<(Name, String)>,
    connection: Connection,
    columns: Vec<Column>,
}

/// A column of the query's result.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    sql_type: String,
}

impl<'a> Session<'a> {
    /// Opens a session for `query`, in which up to `workers` threads run it side by side.
    pub(crate) fn open(
        args: &SessionArgs,
        tree: &'a Tree,
        query: &'a Query,
        sources: &Sources<'_>,
        workers: usize,
    ) -> anyhow::Result<Self> {
        let connection = engine::open(args)?;
        for (table, fingerprint) in &sources.tables {
            let declared = query.declared.iter().find(|declared| declared.name == table.name.as_str());
            tables::load(&connection, table, fingerprint, declared)?;
        }
        for declared in query.declared {
            if !sources.tables.iter().any(|(table, _)| table.name.as_str() == declared.name) {
                tables::create_empty(&connection, declared)?;
            }
        }
        let datasets = sources.datasets.iter();
        let datasets = datasets.map(|dataset| Ok((dataset.clone(), without_rows(&connection, tree, dataset)?)));
        let datasets = datasets.collect::<anyhow::Result<Vec<_>>>()?;
        // The threads that run hours side by side count among DuckDB's own: all together are as many as were asked for.
        connection.execute_batch(&format!("SET external_threads = {workers}"))?;
        Self { tree, query, datasets, connection, columns: Vec::new() }.prepare()
    }

    /// A session of another thread over the same tables.
    pub(crate) fn fork(&self) -> anyhow::Result<Self> {
        let (tree, query, datasets) = (self.tree, self.query, self.datasets.clone());
        Self { tree, query, datasets, connection: self.connection.try_clone()?, columns: Vec::new() }.prepare()
    }

    /// The connection, in which [`select`](Self::select) yields the rows of the hour of the last run.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The names of the result's columns.
    pub(crate) fn columns(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    /// The query to run in each hour. Sums of integers are HUGEINT in DuckDB, which neither Parquet nor any warehouse has:
    /// they become BIGINT, and one that does not fit is an error.
    pub(crate) fn select(&self) -> String {
        let columns = self.columns.iter().map(|Column { name, sql_type }| {
            let name = identifier(name);
            if sql_type.ends_with("HUGEINT") { format!("CAST({name} AS BIGINT) AS {name}") } else { name }
        });
        format!("SELECT {} FROM {QUERY}", columns.collect::<Vec<_>>().join(", "))
    }

    /// Runs `statements` while the query sees the rows of `hour`. A data set that is not among `inputs` has none.
    pub(crate) fn run(&self, hour: Hour, inputs: &BTreeMap<Name, Fingerprint>, statements: &str) -> anyhow::Result<()> {
        let mut sql = window(hour);
        for (dataset, empty) in &self.datasets {
            let rows = if inputs.contains_key(dataset) {
                format!("SELECT * FROM {}", read_parquet([self.tree.parquet(dataset, hour).as_path()]))
            } else {
                empty.clone()
            };
            let _ = write!(sql, "CREATE OR REPLACE TEMP VIEW {} AS {rows};", identifier(dataset.as_str()));
        }
        sql.push_str(statements);
        Ok(self.connection.execute_batch(&sql)?)
    }

    /// Why a run over `hour` failed, if that is because a file of `inputs` is damaged behind its footer. One that has been
    /// replaced or removed since it was planned is not.
    pub(crate) fn check_inputs(&self, hour: Hour, inputs: &BTreeMap<Name, Fingerprint>) -> anyhow::Result<()> {
        inputs.iter().try_for_each(|(dataset, planned)| {
            if self.tree.commit(dataset, hour)?.is_none_or(|commit| commit.fingerprint != *planned) {
                return Ok(());
            }
            let path = self.tree.parquet(dataset, hour);
            let read = self.connection.execute_batch(&engine::whole_file(&path));
            read.with_context(|| format!("{}: {}", path.display(), cli::damaged(dataset)))
        })
    }

    /// Makes the views over an hour without rows, and finds what is wrong with the query before it runs.
    fn prepare(mut self) -> anyhow::Result<Self> {
        self.run(Hour::MIN, &BTreeMap::new(), "")?;
        let create = format!("CREATE TEMP VIEW {QUERY} AS\n{}", self.query.sql);
        self.connection.execute_batch(&create).map_err(|error| at_line(self.query, error))?;
        let mut statement = self.connection.prepare(&format!("DESCRIBE {QUERY}"))?;
        let columns = statement.query_map([], |row| Ok(Column { name: row.get(0)?, sql_type: row.get(1)? }))?;
        self.columns = columns.collect::<duckdb::Result<_>>()?;
        drop(statement);
        Ok(self)
    }
}

fn window(hour: Hour) -> String {
    let set = |name: &str, micros: i64| format!("SET VARIABLE {name} = make_timestamp({micros}::BIGINT);");
    set("window_start", hour.start_micros()) + &set("window_end", hour.end_micros())
}

/// A query with the columns of `dataset` and no rows. A stream's columns are those of its model, another data set's
/// those of its newest hour.
fn without_rows(connection: &Connection, tree: &Tree, dataset: &Name) -> anyhow::Result<String> {
    let columns: Vec<(String, String)> = if let Some(model) = models::model(dataset.as_str()) {
        model.columns.iter().map(|column| (column.name.to_owned(), column.column_type.sql().to_owned())).collect()
    } else {
        let files = tree.parquet_files(dataset, HourRange::ALL)?;
        let Some(newest) = files.last() else {
            bail!("{dataset} has no hour yet, so its columns are not known: make it first");
        };
        let sql = format!("DESCRIBE SELECT * FROM {}", read_parquet([newest.path.as_path()]));
        let describe = || -> duckdb::Result<_> {
            let mut statement = connection.prepare(&sql)?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        describe().with_context(|| format!("{}: its columns cannot be read", newest.path.display()))?
    };
    let columns = columns.iter().map(|(name, sql_type)| format!("NULL::{sql_type} AS {}", identifier(name)));
    Ok(format!("SELECT {} WHERE false", columns.collect::<Vec<_>>().join(", ")))
}

/// An error of DuckDB about the text of the query, with the file and line that it is about.
fn at_line(query: &Query, error: duckdb::Error) -> anyhow::Error {
    let text = error.to_string();
    let place = text.split_once("\n\nLINE ").and_then(|(_, place)| place.split(':').next()?.parse::<u64>().ok());
    // The query begins on the second line of the statement.
    let line = place.map(|line| line.saturating_sub(1));
    let what = engine::explain(&error.into());
    match line {
        Some(line) => anyhow!("{}:{line}: {what}", query.origin),
        None => anyhow!("{}: {what}", query.origin),
    }
}
