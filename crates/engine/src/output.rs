//! The rows of a query on stdout.
//!
//! Numbers, text and times are printed here, times as ISO 8601 in UTC without a zone. All else, from lists to intervals and to
//! numbers that JSON readers would round, is text as DuckDB writes it, so that every type can be printed.

use std::io::Write;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use cli::{Format, Table};
use duckdb::Connection;
use duckdb::types::{TimeUnit, ValueRef};
use serde_json::Value;

use crate::sql::{SqlColumn, describe, identifier};

/// Runs `sql` and prints its rows to `out`.
pub fn print_query(connection: &Connection, sql: &str, out: impl Write, format: Format) -> anyhow::Result<()> {
    let mut printer = Printer::new(connection, sql, out, format)?;
    printer.run(connection)?;
    printer.finish()
}

/// Prints the rows of a query, which can be run several times.
#[derive(Debug)]
pub struct Printer<W> {
    columns: Vec<SqlColumn>,
    /// Yields the rows in types that are printed here.
    sql: String,
    table: Table<W>,
}

impl<W: Write> Printer<W> {
    /// A printer of the rows of `sql` to `out`.
    pub fn new(connection: &Connection, sql: &str, out: W, format: Format) -> anyhow::Result<Self> {
        let columns = describe(connection, sql)?;
        let select = (1..).zip(&columns).map(|(number, SqlColumn { name, sql_type })| {
            format!("CAST(#{number} AS {}) AS {}", printed_type(sql_type), identifier(name))
        });
        let sql = format!("SELECT {} FROM ({sql})", select.collect::<Vec<_>>().join(", "));
        let table = Table::new(out, format, columns.iter().map(|column| &column.name))?;
        Ok(Self { columns, sql, table })
    }

    /// Runs the query and prints its rows, or holds them back until it is known how wide the columns are.
    pub fn run(&mut self, connection: &Connection) -> anyhow::Result<()> {
        let mut statement = connection.prepare(&self.sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let values = self.columns.iter().enumerate().map(|(at, column)| value(row.get_ref(at)?, column));
            self.table.row(values.collect::<anyhow::Result<_>>()?)?;
        }
        Ok(())
    }

    /// Prints what is held back.
    pub fn finish(self) -> anyhow::Result<()> {
        self.table.finish().context("cannot print")
    }
}

/// A type that [`value`] prints, and that holds all values of `sql_type`.
fn printed_type(sql_type: &str) -> &str {
    match sql_type {
        "BOOLEAN" | "BIGINT" | "UBIGINT" | "DOUBLE" | "DATE" => sql_type,
        "TINYINT" | "SMALLINT" | "INTEGER" | "UTINYINT" | "USMALLINT" | "UINTEGER" => "BIGINT",
        "FLOAT" => "DOUBLE",
        _ if sql_type.ends_with(']') => "VARCHAR",
        // DuckDB writes no zero before the point of a DECIMAL(9,9).
        _ if sql_type.starts_with("TIMESTAMP") || sql_type.starts_with("DECIMAL") => sql_type,
        _ => "VARCHAR",
    }
}

fn value(value: ValueRef<'_>, column: &SqlColumn) -> anyhow::Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Boolean(value) => value.into(),
        ValueRef::BigInt(value) => value.into(),
        ValueRef::UBigInt(value) => value.into(),
        ValueRef::Double(value) if value.is_finite() => value.into(),
        // What JSON has no number for, in words that databases and languages read.
        ValueRef::Double(f64::INFINITY) => "Infinity".into(),
        ValueRef::Double(f64::NEG_INFINITY) => "-Infinity".into(),
        ValueRef::Double(_) => "NaN".into(),
        ValueRef::Decimal(value) => value.to_string().into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Timestamp(unit, value) => timestamp(unit, value).into(),
        ValueRef::Date32(days) => {
            let date = DateTime::from_timestamp(i64::from(days) * 86_400, 0);
            shown(days.into(), i32::MAX.into(), date, "%Y-%m-%d", "days").into()
        }
        _ => {
            let SqlColumn { name, sql_type } = column;
            anyhow::bail!("the column {name:?} cannot be printed: its values are of the type {sql_type}")
        }
    })
}

/// A time with as many digits after the second as it needs.
fn timestamp(unit: TimeUnit, value: i64) -> String {
    let (time, name) = match unit {
        TimeUnit::Second => (DateTime::from_timestamp(value, 0), "seconds"),
        TimeUnit::Millisecond => (DateTime::from_timestamp_millis(value), "milliseconds"),
        TimeUnit::Microsecond => (DateTime::from_timestamp_micros(value), "microseconds"),
        TimeUnit::Nanosecond => (Some(DateTime::from_timestamp_nanos(value)), "nanoseconds"),
    };
    shown(value, i64::MAX, time, "%Y-%m-%dT%H:%M:%S%.f", name)
}

/// `time`, or what is told of a time that is infinite to DuckDB, or of a year that the calendar does not reach.
fn shown(value: i64, infinity: i64, time: Option<DateTime<Utc>>, format: &str, unit: &str) -> String {
    match time {
        _ if value == infinity => "infinity".to_owned(),
        _ if value == -infinity => "-infinity".to_owned(),
        Some(time) => time.format(format).to_string(),
        None => format!("{value} {unit} since 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(sql: &str, format: Format) -> String {
        let mut out = Vec::new();
        print_query(&Connection::open_in_memory().unwrap(), sql, &mut out, format).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_that_cannot_be_printed_is_named_by_its_column_and_its_type() {
        let column = SqlColumn { name: "at".to_owned(), sql_type: "TIME".to_owned() };
        let error = value(ValueRef::Time64(TimeUnit::Microsecond, 0), &column).unwrap_err().to_string();
        assert_eq!(error, "the column \"at\" cannot be printed: its values are of the type TIME");
    }

    #[test]
    fn every_type_of_duckdb_is_printed() {
        for (value, expected) in [
            ("true", "true"),
            ("-1::TINYINT", "-1"),
            ("255::UTINYINT", "255"),
            ("18446744073709551615::UBIGINT", "18446744073709551615"),
            ("(-170141183460469231731687303715884105727)::HUGEINT", "-170141183460469231731687303715884105727"),
            ("340282366920938463463374607431768211455::UHUGEINT", "340282366920938463463374607431768211455"),
            ("(-0.05)::DECIMAL(9,9)", "-0.050000000"),
            ("12345678901234567890.12::DECIMAL(38,2)", "12345678901234567890.12"),
            ("0.1::DOUBLE", "0.1"),
            ("0.1::FLOAT", "0.10000000149011612"),
            ("'nan'::DOUBLE", "NaN"),
            ("'inf'::FLOAT", "Infinity"),
            ("'-inf'::DOUBLE", "-Infinity"),
            ("'ä'", "ä"),
            ("''", "\"\""),
            ("NULL", ""),
            ("'a'::ENUM('a', 'b')", "a"),
            ("'\\xff\\x00a'::BLOB", "\\xFF\\x00a"),
            ("'0101'::BIT", "0101"),
            ("'35ca621b-97b1-4e08-8655-854607c414b8'::UUID", "35ca621b-97b1-4e08-8655-854607c414b8"),
            ("DATE '2025-09-02'", "2025-09-02"),
            ("DATE '-infinity'", "-infinity"),
            ("DATE '12025-09-02'", "+12025-09-02"),
            ("DATE '300000-01-01'", "108853222 days since 1970"),
            ("TIME '10:00:00.5'", "10:00:00.5"),
            ("TIMETZ '10:00:00+02'", "10:00:00+02"),
            ("TIMESTAMP '2025-09-02 10:00:00.5'", "2025-09-02T10:00:00.500"),
            ("TIMESTAMP 'infinity'", "infinity"),
            ("TIMESTAMP_NS '2025-09-02 10:00:00.123456789'", "2025-09-02T10:00:00.123456789"),
            ("TIMESTAMP_MS '2025-09-02 10:00:00'", "2025-09-02T10:00:00"),
            ("TIMESTAMP_S '2025-09-02 10:00:00'", "2025-09-02T10:00:00"),
            ("make_timestamp(0)::TIMESTAMPTZ", "1970-01-01T00:00:00"),
            ("INTERVAL '1 month 2 days'", "1 month 2 days"),
            ("[1.10::DECIMAL(9,2), NULL]", "\"[1.10, NULL]\""),
            ("[TIMESTAMP '2025-09-02 10:00:00']", "['2025-09-02 10:00:00']"),
            ("[1, 2]::INTEGER[2]", "\"[1, 2]\""),
            ("{'a': 1, 'b': [true]}", "\"{'a': 1, 'b': [true]}\""),
            ("MAP {'k': 'nan'::DOUBLE}", "{k=nan}"),
            ("union_value(n := 2)", "2"),
            ("'{\"a\":1}'::JSON", "\"{\"\"a\"\":1}\""),
        ] {
            assert_eq!(
                printed(&format!("SELECT {value} AS x, 1 AS x"), Format::Csv),
                format!("x,x\n{expected},1\n"),
                "{value}"
            );
            printed(&format!("SELECT {value} AS x"), Format::Table);
            let line = printed(&format!("SELECT {value} AS x"), Format::Ndjson);
            assert!(
                serde_json::from_str::<Value>(&line).is_ok_and(|line| line["x"].is_null() == (value == "NULL")),
                "{line}"
            );
        }
    }
}
