//! A SQLite file, in the tree or elsewhere, through SQLite's own library: DuckDB reads the files. (DuckDB's `sqlite` extension
//! knows all that it is answered as text only, which takes several times as long to compare, makes its own tables only, and has
//! to be there.)
//!
//! What is particular here:
//! - SQLite has few types of its own. Tables are declared with the types that are meant, which clients go by; a time and a
//!   day are text in ISO 8601, which SQLite's own functions take and which sorts; an exact number is text, because
//!   SQLite would keep it as a floating one.
//! - A transaction takes the file's lock when it begins. One that has read and then does not get the lock would have to begin
//!   again.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use duckdb::arrow::array::{Array, AsArray as _, StructArray};
use duckdb::arrow::datatypes::{Float64Type, Int64Type};
use engine::{identifier, literal};
use layout::{Name, Tree};
use rusqlite::types::{Null, ValueRef};
use rusqlite::{Connection, OpenFlags, Statement};

use crate::args::WarehouseArgs;
use crate::backend::{Access, Backend};
use crate::column::{Limit, SqlType, TableColumn};
use crate::file_path::{self, PATIENCE, SQLITE};
use crate::rows::{self, Answers, Cell, Rows};
use crate::runner::QueryRunner;

/// A SQLite file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    path: PathBuf,
    /// The connection, once it is attached.
    client: RefCell<Option<Arc<Client>>>,
}

impl Sqlite {
    /// The file that `args` name, or the one in the tree.
    pub(crate) fn new(args: &WarehouseArgs, tree: &Tree) -> anyhow::Result<Self> {
        Ok(Self { path: file_path::path(args, tree.sqlite_warehouse())?, client: RefCell::default() })
    }

    /// Never read-only: the next process that opens the file undoes what a killed load did not finish, for which it must be
    /// able to write.
    fn open(&self, access: Access) -> rusqlite::Result<Client> {
        // The lock of `Client` is enough.
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, access == Access::Write);
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        // Only this reads the file.
        connection.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
        Ok(Client(Mutex::new(connection)))
    }

    fn client(&self) -> anyhow::Result<Arc<Client>> {
        self.client.borrow().clone().with_context(|| format!("{}: is not attached", self.location()))
    }
}

/// A connection.
#[derive(Debug)]
struct Client(Mutex<Connection>);

impl Client {
    /// It is busy while a statement runs.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers for Client {
    fn columns(&self, sql: &str) -> anyhow::Result<Vec<TableColumn>> {
        let connection = self.lock();
        let statement = connection.prepare(sql)?;
        let column = |column: &rusqlite::Column<'_>| TableColumn {
            name: column.name().to_owned(),
            sql_type: match column.decl_type() {
                Some("INTEGER" | "BIGINT") => SqlType::BigInt,
                Some("DOUBLE") => SqlType::Double,
                _ => SqlType::Text,
            },
        };
        Ok(statement.columns().iter().map(column).collect())
    }

    fn answer(&self, sql: &str, rows: &mut Rows) -> anyhow::Result<()> {
        let connection = self.lock();
        let mut statement = connection.prepare(sql)?;
        let columns = statement.column_count();
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let cell = |column| {
                Ok(match row.get_ref(column)? {
                    ValueRef::Null => Cell::Null,
                    ValueRef::Integer(value) => Cell::BigInt(value),
                    ValueRef::Real(value) => Cell::Double(value),
                    ValueRef::Text(text) => Cell::Text(std::str::from_utf8(text)?.to_owned()),
                    ValueRef::Blob(_) => {
                        anyhow::bail!("Conversion Error: the file has bytes where a value is expected")
                    }
                })
            };
            if !rows.push((0..columns).map(cell).collect::<anyhow::Result<_>>()?) {
                break;
            }
        }
        Ok(())
    }
}

/// Inserts the rows of `chunk`, whose columns are integers, floating numbers and texts.
fn insert_all(insert: &mut Statement<'_>, chunk: &StructArray) -> rusqlite::Result<()> {
    for row in 0..chunk.len() {
        for (column, number) in chunk.columns().iter().zip(1..) {
            if column.is_null(row) {
                insert.raw_bind_parameter(number, Null)?;
            } else if let Some(integers) = column.as_primitive_opt::<Int64Type>() {
                insert.raw_bind_parameter(number, integers.value(row))?;
            } else if let Some(doubles) = column.as_primitive_opt::<Float64Type>() {
                insert.raw_bind_parameter(number, doubles.value(row))?;
            } else {
                insert.raw_bind_parameter(number, column.as_string::<i32>().value(row))?;
            }
        }
        insert.raw_execute()?;
    }
    Ok(())
}

impl Backend for Sqlite {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn attach(&self, runner: &QueryRunner, access: Access) -> anyhow::Result<bool> {
        if !file_path::exists(&self.path, SQLITE)? && access == Access::Read {
            return Ok(false);
        }
        // An old one would keep its lock.
        self.client.take();
        let opened = self.open(access).map_err(|error| runner.explain(&error.to_string()));
        let opened = Arc::new(opened.with_context(|| format!("{}: cannot be opened", self.location()))?);
        rows::register(&runner.connection, &opened)?;
        self.client.replace(Some(opened));
        Ok(true)
    }

    fn table(&self, name: &str) -> String {
        identifier(name)
    }

    fn source(&self, select: &str) -> String {
        rows::table(select)
    }

    fn change(&self, runner: &QueryRunner, sql: &str) -> anyhow::Result<()> {
        let client = self.client()?;
        runner.watched(|| client.lock().execute_batch(sql)).map_err(|error| runner.explain(&error.to_string()))
    }

    fn columns(&self, table: &str) -> String {
        format!("SELECT name, type FROM pragma_table_info({}) ORDER BY cid", literal(table))
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

    fn type_name(&self, sql_type: SqlType, _is_key: bool) -> String {
        match sql_type {
            SqlType::Text => "TEXT".to_owned(),
            SqlType::Decimal { precision, scale } => format!("DECIMAL_TEXT({precision},{scale})"),
            other => other.to_string(),
        }
    }

    /// What stands for its own number of a row.
    fn id_type(&self) -> String {
        "INTEGER".to_owned()
    }

    fn define(&self, runner: &QueryRunner, sql: &str) -> anyhow::Result<()> {
        let defined = self.change(runner, &format!("BEGIN IMMEDIATE; {sql}; COMMIT"));
        defined.inspect_err(|_| drop(self.change(runner, "ROLLBACK"))).with_context(|| self.location())
    }

    fn change_type(&self, table: &str, column: &str, _sql_type: SqlType) -> String {
        // SQLite changes no types: the column is then added anew.
        let (table, before) = (self.table(table), self.column(&format!("{column}_before")));
        format!("ALTER TABLE {table} RENAME COLUMN {} TO {before}", self.column(column))
    }

    fn begin(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        runner.run("BEGIN")?;
        self.change(runner, "BEGIN IMMEDIATE")
    }

    fn end(&self, runner: &QueryRunner, how: &str) -> anyhow::Result<()> {
        // One that cannot be committed is still open.
        let ended = self.change(runner, how).inspect_err(|_| drop(self.change(runner, "ROLLBACK")));
        runner.run(if ended.is_ok() { how } else { "ROLLBACK" }).and(ended)
    }

    fn sent(&self, sql_type: SqlType, value: &str) -> String {
        match sql_type {
            SqlType::Double => value.to_owned(),
            SqlType::Boolean | SqlType::Integer | SqlType::BigInt => format!("{value}::BIGINT"),
            SqlType::Text | SqlType::Decimal { .. } | SqlType::Timestamp | SqlType::Date => format!("{value}::VARCHAR"),
        }
    }

    fn insert(&self, runner: &QueryRunner, table: &Name, columns: &[&str], select: &str) -> anyhow::Result<u64> {
        let columns: Vec<_> = columns.iter().map(|name| self.column(name)).collect();
        let (table, places) = (self.table(table.as_str()), vec!["?"; columns.len()].join(", "));
        let client = self.client()?;
        let connection = client.lock();
        let explain = |error: rusqlite::Error| runner.explain(&error.to_string());
        let insert = format!("INSERT INTO {table} ({}) VALUES ({places})", columns.join(", "));
        let mut insert = connection.prepare(&insert).map_err(explain)?;
        let select = format!("SELECT * REPLACE (window_start::VARCHAR AS window_start) FROM ({select})");
        let mut inserted = 0;
        runner.each_chunk(&select, |chunk| {
            inserted += chunk.len() as u64;
            insert_all(&mut insert, chunk).map_err(explain)
        })?;
        Ok(inserted)
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
        let sqlite = Sqlite { path: PathBuf::new(), client: RefCell::default() };
        let decimal = SqlType::Decimal { precision: 9, scale: 3 };
        for sql_type in [SqlType::Boolean, SqlType::Integer, SqlType::BigInt, SqlType::Text, decimal] {
            assert_eq!(sqlite.column_type(&sqlite.type_name(sql_type, false)), Some(sql_type));
        }
        assert_eq!(sqlite.column_type("NUMERIC"), None);
    }
}
