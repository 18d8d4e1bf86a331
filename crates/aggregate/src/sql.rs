//! SQL that is needed more than once: lists of columns, times, keys.

use chrono::{DateTime, Utc};
use duckdb::{Connection, OptionalExt as _};
use engine::{SqlColumn, identifier};

/// The names of `columns` as a list.
pub(crate) fn names(columns: &[SqlColumn]) -> String {
    columns.iter().map(|column| identifier(&column.name)).collect::<Vec<_>>().join(", ")
}

/// `columns` as a list of results in the types in which they are stored. A sum that does not fit is an error.
pub(crate) fn stored(columns: &[SqlColumn]) -> String {
    let columns = columns.iter().map(|column| {
        let (name, stored) = (identifier(&column.name), stored_type(column));
        if stored == column.sql_type { name } else { format!("CAST({name} AS {stored}) AS {name}") }
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// A column's type in a file. Sums of integers are HUGEINT in DuckDB, which neither Parquet nor any warehouse has.
pub(crate) fn stored_type(column: &SqlColumn) -> &str {
    if column.sql_type.ends_with("HUGEINT") { "BIGINT" } else { &column.sql_type }
}

/// A query with `columns` and no rows.
pub(crate) fn without_rows(columns: &[SqlColumn]) -> String {
    let columns =
        columns.iter().map(|SqlColumn { name, sql_type }| format!("NULL::{sql_type} AS {}", identifier(name)));
    format!("SELECT {} WHERE false", columns.collect::<Vec<_>>().join(", "))
}

/// A time as a TIMESTAMP in UTC.
pub(crate) fn timestamp(time: DateTime<Utc>) -> String {
    format!("make_timestamp({}::BIGINT)", time.timestamp_micros())
}

/// The first `key` of which there are several `rows`, as the expression `shown` shows it, and how many they are.
pub(crate) fn repeated(
    connection: &Connection,
    rows: &str,
    key: &str,
    shown: &str,
) -> duckdb::Result<Option<(String, i64)>> {
    let sql = format!(
        "SELECT CAST({shown} AS VARCHAR), count(*) FROM {rows} GROUP BY {key} HAVING count(*) > 1 ORDER BY {key} LIMIT 1"
    );
    connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}
