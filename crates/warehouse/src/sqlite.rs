//! A SQLite file, in the tree or elsewhere, through DuckDB's `sqlite` extension.
//!
//! What is particular here:
//! - SQLite has few types of its own. Tables are declared with the types that are meant, which clients go by; a time and a
//!   day are text in ISO 8601, which SQLite's own functions take and which sorts; an exact number is text, because
//!   SQLite would keep it as a floating one.
//! - The extension has no DDL but for its own idea of types, so SQLite's library makes the tables. Two libraries in one
//!   process must not have the same file open: each would drop the other's locks. So DuckDB lets go of it meanwhile.
//! - `sqlite_query` runs on the transaction's connection and takes only what returns rows: changes return theirs.
//! - The transaction begins with a write, so that it has the file's lock before it reads. A transaction that has read and
//!   then does not get the lock would have to begin again.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use engine::{identifier, literal};
use layout::Tree;

use crate::args::WarehouseArgs;
use crate::backend::{Access, Backend, TableDefinition, definitions, index_name};
use crate::column::{Limit, SqlType, TableColumn};
use crate::extension::{self, Extension};
use crate::file_path::{self, SQLITE};
use crate::runner::QueryRunner;

const EXTENSION: Extension = Extension { name: "sqlite", file: "sqlite_scanner" };

/// How long to wait for another process that has the file locked.
const PATIENCE: Duration = Duration::from_secs(10);

/// A SQLite file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    path: PathBuf,
    extensions: Option<PathBuf>,
}

impl Sqlite {
    /// The file that `args` name, or the one in the tree.
    pub(crate) fn new(args: &WarehouseArgs, tree: &Tree) -> anyhow::Result<Self> {
        let path = file_path::path(args, tree.sqlite_warehouse())?;
        Ok(Self { path, extensions: args.extension_folder() })
    }

    /// Never read-only: the next process that opens the file undoes what a killed load did not finish, for which it must be
    /// able to write.
    fn open(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        let (path, patience) = (literal(&self.path.to_string_lossy()), PATIENCE.as_millis());
        runner.run(&format!("ATTACH {path} AS warehouse (TYPE sqlite, BUSY_TIMEOUT {patience})"))
    }

    /// Runs DDL under the file's lock.
    fn define(
        &self,
        runner: &QueryRunner,
        work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<()>,
    ) -> anyhow::Result<()> {
        runner.run("DETACH warehouse")?;
        let defined = self.define_alone(work).map_err(|error| runner.explain(&error.to_string()));
        self.open(runner).and(defined).with_context(|| self.location())
    }

    fn define_alone(&self, work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
        let connection = rusqlite::Connection::open(&self.path)?;
        connection.busy_timeout(PATIENCE)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        work(&connection)?;
        connection.execute_batch("COMMIT")
    }
}

impl Backend for Sqlite {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn attach(&self, runner: &QueryRunner, access: Access) -> anyhow::Result<bool> {
        if !file_path::exists(&self.path, SQLITE)? && access == Access::Read {
            return Ok(false);
        }
        extension::load(runner, EXTENSION, self.extensions.as_deref())?;
        let version = format!("SELECT * FROM {}", self.source("PRAGMA schema_version"));
        let opened = self.open(runner).and_then(|()| {
            // Only this reads the file.
            runner.run(&version)
        });
        opened.with_context(|| format!("{}: cannot be opened", self.location()))?;
        Ok(true)
    }

    fn table(&self, name: &str) -> String {
        identifier(name)
    }

    fn source(&self, select: &str) -> String {
        format!("sqlite_query('warehouse', {})", literal(select))
    }

    fn change(&self, runner: &QueryRunner, sql: &str) -> anyhow::Result<()> {
        runner.run(&format!("SELECT count(*) FROM {}", self.source(&format!("{sql} RETURNING 1 AS changed"))))
    }

    fn columns(&self, runner: &QueryRunner, table: &str) -> anyhow::Result<Vec<(String, String)>> {
        let sql = format!("SELECT name, type FROM pragma_table_info({}) ORDER BY cid", literal(table));
        runner.rows(&format!("SELECT name, type FROM {}", self.source(&sql)), |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn views(&self, table: &str) -> String {
        format!("SELECT 1 AS one FROM sqlite_schema WHERE type = 'view' AND lower(name) = {}", literal(table))
    }

    fn column_type(&self, written: &str) -> Option<SqlType> {
        Some(match written {
            "BOOLEAN" => SqlType::Boolean,
            "INTEGER" => SqlType::Integer,
            "BIGINT" => SqlType::BigInt,
            "DOUBLE" => SqlType::Double,
            "TEXT" => SqlType::Text,
            "TIMESTAMP" => SqlType::Timestamp,
            "DATE" => SqlType::Date,
            _ => return SqlType::decimal(written.strip_prefix("DECIMAL_TEXT")?),
        })
    }

    fn type_name(&self, sql_type: SqlType) -> String {
        match sql_type {
            SqlType::Text => "TEXT".to_owned(),
            SqlType::Decimal { precision, scale } => format!("DECIMAL_TEXT({precision},{scale})"),
            other => other.to_string(),
        }
    }

    fn create_log(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        if !self.columns(runner, "load_log")?.is_empty() {
            return Ok(());
        }
        let sql = "CREATE TABLE IF NOT EXISTS load_log (dataset TEXT NOT NULL, window_start TIMESTAMP NOT NULL, \
             fingerprint TEXT NOT NULL, row_count BIGINT NOT NULL, last_id BIGINT NOT NULL, loaded_at TIMESTAMP NOT NULL, \
             tree TEXT, PRIMARY KEY (dataset, window_start)); \
             CREATE TABLE IF NOT EXISTS load_lock (id INTEGER PRIMARY KEY); \
             INSERT OR IGNORE INTO load_lock VALUES (1)";
        self.define(runner, |connection| connection.execute_batch(sql))
    }

    fn create_table(&self, runner: &QueryRunner, definition: &TableDefinition<'_>) -> anyhow::Result<()> {
        let name = definition.table.as_str();
        let columns = definitions(self, definition, "INTEGER", "TIMESTAMP").join(", ");
        let (table, index) = (self.table(name), index_name(name));
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {table} ({columns}); CREATE INDEX IF NOT EXISTS {index} ON {table} (window_start)"
        );
        self.define(runner, |connection| connection.execute_batch(&sql))
    }

    fn add_columns(&self, runner: &QueryRunner, table: &str, columns: &[TableColumn]) -> anyhow::Result<()> {
        let (name, table) = (table, self.table(table));
        let added = |column: &TableColumn| {
            format!("ALTER TABLE {table} ADD COLUMN {} {}", self.column(&column.name), self.type_name(column.sql_type))
        };
        // The load that had the lock before may have added it.
        let there = "SELECT count(*) FROM pragma_table_info(?1) WHERE lower(name) = lower(?2)";
        self.define(runner, |connection| {
            columns.iter().try_for_each(|column| {
                let there: i64 = connection.query_row(there, [name, &column.name], |row| row.get(0))?;
                if there > 0 { Ok(()) } else { connection.execute_batch(&added(column)) }
            })
        })
    }

    fn change_type(&self, table: &str, column: &str, _sql_type: SqlType) -> String {
        // SQLite changes no types: the column is then added anew.
        let (table, before) = (self.table(table), self.column(&format!("{column}_before")));
        format!("ALTER TABLE {table} RENAME COLUMN {} TO {before}", self.column(column))
    }

    /// SQLite makes text of a floating number with 15 digits unless it is asked for more.
    fn exact(&self, column: &TableColumn) -> String {
        let name = self.column(&column.name);
        match column.sql_type {
            SqlType::Double => format!("CASE WHEN {name} IS NOT NULL THEN printf('%!.20e', {name}) END AS {name}"),
            _ => name,
        }
    }

    fn begin(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        self.change(runner, "UPDATE load_lock SET id = 1 WHERE id = 1")
    }

    fn limit(&self, _written: &str, sql_type: SqlType) -> Option<Limit> {
        (sql_type == SqlType::Double).then(|| Limit::new("isnan({})", "NULL", "NaN is stored as NULL"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_what_was_created() {
        let sqlite = Sqlite { path: PathBuf::new(), extensions: None };
        let decimal = SqlType::Decimal { precision: 9, scale: 3 };
        for sql_type in [SqlType::Boolean, SqlType::Integer, SqlType::BigInt, SqlType::Text, decimal] {
            assert_eq!(sqlite.column_type(&sqlite.type_name(sql_type)), Some(sql_type));
        }
        assert_eq!(sqlite.column_type("NUMERIC"), None);
    }
}
