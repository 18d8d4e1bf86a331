//! Columns of queries and files, with their types in DuckDB.

use duckdb::Connection;

/// A column with its type in DuckDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: String,
}

/// The columns of the query `sql`.
pub fn describe(connection: &Connection, sql: &str) -> duckdb::Result<Vec<SqlColumn>> {
    let mut statement = connection.prepare(&format!("DESCRIBE {sql}"))?;
    let columns = statement.query_map([], |row| Ok(SqlColumn { name: row.get(0)?, sql_type: row.get(1)? }))?;
    columns.collect()
}
