//! Text from outside as SQL: the only place where it is quoted. And the columns of a query.

use std::path::Path;

use duckdb::Connection;

/// `name` as an SQL identifier, whatever it contains.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `text` as an SQL string, whatever it contains.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The file at `path` as an SQL string for functions that would take its name for a pattern. (Beside one of these
/// characters DuckDB takes a `\` for a separator: such a file is not found.)
pub fn file_literal(path: &Path) -> String {
    let mut pattern = String::new();
    for c in path.to_string_lossy().chars() {
        match c {
            '*' | '?' | '[' => pattern.extend(['[', c, ']']),
            c => pattern.push(c),
        }
    }
    literal(&pattern)
}

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
