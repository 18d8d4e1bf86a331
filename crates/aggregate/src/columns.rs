//! Columns of data sets and of results, with their types in DuckDB.

use duckdb::Connection;
use engine::identifier;

/// A column with its type in DuckDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlColumn {
    pub(crate) name: String,
    pub(crate) sql_type: String,
}

impl SqlColumn {
    /// Its type in a file. Sums of integers are HUGEINT in DuckDB, which neither Parquet nor any warehouse has.
    pub(crate) fn stored_type(&self) -> &str {
        if self.sql_type.ends_with("HUGEINT") { "BIGINT" } else { &self.sql_type }
    }
}

/// The names of `columns` as a list in SQL.
pub(crate) fn names(columns: &[SqlColumn]) -> String {
    columns.iter().map(|column| identifier(&column.name)).collect::<Vec<_>>().join(", ")
}

/// `columns` as a list of results in the types in which they are stored. A sum that does not fit is an error.
pub(crate) fn stored(columns: &[SqlColumn]) -> String {
    let columns = columns.iter().map(|column| {
        let (name, stored) = (identifier(&column.name), column.stored_type());
        if stored == column.sql_type { name } else { format!("CAST({name} AS {stored}) AS {name}") }
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// A query with `columns` and no rows.
pub(crate) fn without_rows(columns: &[SqlColumn]) -> String {
    let columns =
        columns.iter().map(|SqlColumn { name, sql_type }| format!("NULL::{sql_type} AS {}", identifier(name)));
    format!("SELECT {} WHERE false", columns.collect::<Vec<_>>().join(", "))
}

/// The columns of what stands behind `FROM` in `source`.
pub(crate) fn describe(connection: &Connection, source: &str) -> anyhow::Result<Vec<SqlColumn>> {
    let mut statement = connection.prepare(&format!("DESCRIBE SELECT * FROM {source}"))?;
    let columns = statement.query_map([], |row| Ok(SqlColumn { name: row.get(0)?, sql_type: row.get(1)? }))?;
    Ok(columns.collect::<duckdb::Result<_>>()?)
}
