//! Reference tables: small files that are not part of the tree, read once into memory at the start of a run.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use cli::{TryAgain, Usage};
use duckdb::Connection;
use engine::{describe, file_literal, identifier, literal};
use layout::Fingerprint;

use crate::args::TableArg;
use crate::query::DeclaredTable;
use crate::sql::repeated;

/// The fingerprint of the content of a reference table's file.
pub(crate) fn fingerprint(table: &TableArg) -> anyhow::Result<Fingerprint> {
    let problem = || format!("{}: the reference table {} cannot be read", table.file.display(), table.name);
    // It is read more than once, which a FIFO does not allow.
    match layout::read_file(&table.file) {
        Ok(bytes) => Ok(Fingerprint::of(&bytes)),
        Err(error) if error.is_not_found() => bail!(Usage(format!("{}: {error}", problem()))),
        Err(error) => Err(error).with_context(problem),
    }
}

/// Reads `table` into DuckDB, as it was when its fingerprint was taken. If it is declared, it is there and empty.
pub(crate) fn load(
    connection: &Connection,
    table: &TableArg,
    expected: &Fingerprint,
    declared: Option<&DeclaredTable>,
) -> anyhow::Result<()> {
    let (file, name) = (table.file.display(), identifier(table.name.as_str()));
    let source = reader(&table.file, declared.is_some())?;
    let unreadable = || format!("{file}: cannot be read as a table");
    match declared {
        Some(declared) => {
            check_columns(connection, &source, declared).with_context(|| file.to_string())?;
            let columns: Vec<_> = declared.columns.iter().map(|(name, _)| identifier(name)).collect();
            let columns = columns.join(", ");
            // Read as it is: into its types DuckDB would round.
            let read = format!("CREATE OR REPLACE TEMP TABLE \"(read)\" AS SELECT {columns} FROM {source}");
            connection.execute_batch(&read).with_context(unreadable)?;
            check_whole_numbers(connection, declared).with_context(unreadable)?;
            let insert = format!("INSERT INTO {name} FROM temp.\"(read)\"; DROP TABLE temp.\"(read)\"");
            connection.execute_batch(&insert).with_context(unreadable)?;
            check_key(connection, declared).with_context(|| file.to_string())?;
        }
        None => {
            let create = format!("CREATE TABLE {name} AS SELECT * FROM {source}");
            connection.execute_batch(&create).with_context(unreadable)?;
        }
    }
    ensure!(fingerprint(table)? == *expected, TryAgain(format!("{file}: was changed while it was read: run again")));
    Ok(())
}

/// Makes an empty table with the declared columns.
pub(crate) fn create(connection: &Connection, declared: &DeclaredTable) -> anyhow::Result<()> {
    let columns: Vec<_> = declared.columns.iter().map(|(name, kind)| format!("{} {kind}", identifier(name))).collect();
    let create = format!("CREATE TABLE {} ({})", identifier(declared.name), columns.join(", "));
    Ok(connection.execute_batch(&create)?)
}

/// Whether a reference table of this session has a column of this name, or a struct with such a field.
pub(crate) fn have_column(connection: &Connection, name: &str) -> anyhow::Result<bool> {
    let sql = "SELECT count(*) > 0 FROM duckdb_columns() WHERE NOT internal \
               AND (lower(column_name) = $1 OR contains(lower(data_type), $1))";
    Ok(connection.query_row(sql, [name], |row| row.get(0))?)
}

/// The table expression for a file. Known types of a CSV file are not guessed: a sensor may be called 007.
fn reader(file: &Path, typed: bool) -> anyhow::Result<String> {
    let path = file_literal(file);
    let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    Ok(match extension.as_str() {
        "csv" => {
            let separator = literal(&separator(file)?.to_string());
            let dialect = format!(
                "delim = {separator}, quote = '\"', escape = '\"', comment = '', strict_mode = true, header = true"
            );
            format!("read_csv({path}, {dialect}, all_varchar = {typed})")
        }
        "json" | "ndjson" | "jsonl" => format!("read_json({path})"),
        "parquet" => format!("read_parquet({path}, hive_partitioning = false)"),
        _ => bail!("{}: a reference table is a .csv, .json, .ndjson or .parquet file", file.display()),
    })
}

/// By what the values of a CSV file are separated. Where a line has another number of values than the header, or is no text,
/// the error names it: DuckDB would look for other separators and quotes until all lines are alike.
fn separator(file: &Path) -> anyhow::Result<char> {
    let problem = || format!("{}: cannot be read as a table", file.display());
    let text = layout::read_file(file).with_context(problem)?;
    if let Err(error) = std::str::from_utf8(&text) {
        let line = text.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
        bail!("{}: line {line} is not UTF-8", problem());
    }
    let header = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    // What stands between quotes separates nothing.
    let outside: Vec<_> = header.split(|byte| *byte == b'"').step_by(2).collect();
    let count = |separator: &u8| outside.concat().split(|byte| byte == separator).count();
    let separator = [b'|', b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',');
    let mut lines = csv::ReaderBuilder::new().delimiter(separator).from_reader(text.as_slice());
    lines.records().try_for_each(|line| line.map(drop)).with_context(problem)?;
    Ok(separator.into())
}

/// Fails if what was read for a column of whole numbers is another value, which DuckDB would round.
fn check_whole_numbers(connection: &Connection, declared: &DeclaredTable) -> anyhow::Result<()> {
    for (name, _) in declared.columns.iter().filter(|(_, kind)| *kind == "BIGINT") {
        let column = identifier(name);
        let sql = format!(
            "SELECT first(CAST({column} AS VARCHAR)) FROM temp.\"(read)\" WHERE {column} IS NOT NULL AND NOT \
             coalesce(TRY_CAST({column} AS BIGINT) = TRY_CAST({column} AS DOUBLE), false)"
        );
        if let Some(value) = connection.query_row(&sql, [], |row| row.get::<_, Option<String>>(0))? {
            bail!("{name} is {value:?} in a row of it, and must be a whole number");
        }
    }
    Ok(())
}

fn check_columns(connection: &Connection, source: &str, declared: &DeclaredTable) -> anyhow::Result<()> {
    let there: Vec<_> =
        describe(connection, &format!("FROM {source}"))?.iter().map(|column| column.name.to_lowercase()).collect();
    let needed: Vec<_> = declared.columns.iter().map(|(name, _)| *name).collect();
    if let Some(name) = needed.iter().find(|name| !there.iter().any(|there| there == *name)) {
        bail!("has no column {name}: the table {} must have the columns {}", declared.name, needed.join(", "));
    }
    Ok(())
}

/// Two rows with the same key would double rows of the result.
fn check_key(connection: &Connection, declared: &DeclaredTable) -> anyhow::Result<()> {
    let Some((key, _)) = declared.columns.first() else { return Ok(()) };
    let (column, table) = (identifier(key), identifier(declared.name));
    let rows = format!("{table} WHERE {column} IS NOT NULL");
    if let Some((value, times)) = repeated(connection, &rows, &column, &column)? {
        bail!("{key} {value} is listed {times} times in the table {}: remove all rows but one", declared.name);
    }
    Ok(())
}
