//! The rows of a query on stdout.

use std::io::Write;

use anyhow::Context as _;
use chrono::DateTime;
use cli::{Format, Table};
use duckdb::types::{TimeUnit, ValueRef};
use duckdb::{Connection, Row, Rows};
use serde_json::Value;

/// Runs `sql` and prints its rows to `out`.
pub fn print_query(connection: &Connection, sql: &str, out: impl Write, format: Format) -> anyhow::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query([])?;
    let columns = rows.as_ref().map(duckdb::Statement::column_names).unwrap_or_default();
    let mut table = Table::new(out, format, columns)?;
    add_rows(rows, &mut table)?;
    table.finish().context("cannot print")
}

/// Runs `sql` and adds its rows to `table`, which has its columns.
pub fn print_rows(connection: &Connection, sql: &str, table: &mut Table<impl Write>) -> anyhow::Result<()> {
    let mut statement = connection.prepare(sql)?;
    add_rows(statement.query([])?, table)
}

fn add_rows(mut rows: Rows<'_>, table: &mut Table<impl Write>) -> anyhow::Result<()> {
    let count = rows.as_ref().map_or(0, duckdb::Statement::column_count);
    while let Some(row) = rows.next()? {
        table.row((0..count).map(|column| value(row, column)).collect::<anyhow::Result<_>>()?)?;
    }
    Ok(())
}

fn value(row: &Row<'_>, column: usize) -> anyhow::Result<Value> {
    let value = row.get_ref(column)?;
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Boolean(value) => value.into(),
        ValueRef::TinyInt(value) => value.into(),
        ValueRef::SmallInt(value) => value.into(),
        ValueRef::Int(value) => value.into(),
        ValueRef::BigInt(value) => value.into(),
        ValueRef::UTinyInt(value) => value.into(),
        ValueRef::USmallInt(value) => value.into(),
        ValueRef::UInt(value) => value.into(),
        ValueRef::UBigInt(value) => value.into(),
        ValueRef::HugeInt(value) => value.to_string().into(),
        ValueRef::Decimal(value) => value.to_string().into(),
        ValueRef::Float(value) => value.into(),
        ValueRef::Double(value) => value.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Timestamp(unit, value) => timestamp(unit, value)?.into(),
        ValueRef::Date32(days) => timestamp(TimeUnit::Second, i64::from(days) * 86_400)?.get(..10).into(),
        other => anyhow::bail!(
            "column {}: the type {:?} cannot be printed: cast it in the query, for example to VARCHAR",
            column + 1,
            other.data_type()
        ),
    })
}

/// A time as ISO 8601, UTC without a zone, with as many digits after the second as it needs.
fn timestamp(unit: TimeUnit, value: i64) -> anyhow::Result<String> {
    let time = match unit {
        TimeUnit::Second => DateTime::from_timestamp(value, 0),
        TimeUnit::Millisecond => DateTime::from_timestamp_millis(value),
        TimeUnit::Microsecond => DateTime::from_timestamp_micros(value),
        TimeUnit::Nanosecond => Some(DateTime::from_timestamp_nanos(value)),
    };
    let time = time.context("a timestamp out of the range that can be printed")?;
    Ok(time.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string())
}
