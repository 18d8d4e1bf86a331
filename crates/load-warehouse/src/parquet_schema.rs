//! The columns of Parquet files, and what they ask of the table.

use std::collections::BTreeMap;

use engine::file_literal;
use warehouse::{SqlType, TableColumn, Warehouse};

use crate::scan::HourFile;

/// The columns of one Parquet file.
pub(crate) type Schema = Vec<TableColumn>;

/// The columns of each file, in order; for each one the reason if a warehouse cannot hold them.
pub(crate) fn schemas(warehouse: &Warehouse, files: &[HourFile]) -> anyhow::Result<Vec<anyhow::Result<Schema>>> {
    let list: Vec<_> = files.iter().map(|file| file_literal(&file.path)).collect();
    let sql = format!(
        "SELECT file_name, name, CASE WHEN num_children > 0 OR duckdb_type IS NULL THEN 'nested' ELSE duckdb_type END \
         FROM parquet_schema([{}])",
        list.join(", ")
    );
    let rows = warehouse.query(&sql, |row| Ok((row.get::<_, String>(0)?, (row.get(1)?, row.get(2)?))))?;
    let mut found: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (path, column) in rows {
        found.entry(path).or_default().push(column);
    }
    let columns = |file: &HourFile| found.get(&*file.path.to_string_lossy()).map_or(&[][..], Vec::as_slice);
    Ok(files.iter().map(|file| schema(columns(file))).collect())
}

/// The columns of names and types as DuckDB has them. The first is the file itself; a nested one stands before its parts.
fn schema(columns: &[(String, String)]) -> anyhow::Result<Schema> {
    let Some((_file, columns)) = columns.split_first() else {
        anyhow::bail!("DuckDB does not find its columns");
    };
    let columns = columns.iter().map(|(name, kind)| {
        let Some(sql_type) = SqlType::of_duckdb(kind) else {
            anyhow::bail!("the column {name} is of type {kind}, which no table takes: cast it to {}", cast(kind));
        };
        Ok(TableColumn { name: name.clone(), sql_type })
    });
    columns.collect()
}

/// What to cast a type to that cannot be loaded.
fn cast(kind: &str) -> &'static str {
    match kind {
        "TIMESTAMP WITH TIME ZONE" | "TIMESTAMP_NS" | "TIMESTAMP_MS" | "TIMESTAMP_S" => "TIMESTAMP",
        "UBIGINT" | "HUGEINT" | "UHUGEINT" => "BIGINT or DECIMAL(38,0)",
        "nested" => "VARCHAR, or take it apart into columns of its own",
        _ => "VARCHAR",
    }
}
