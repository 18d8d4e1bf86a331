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
    let sql = format!("SELECT file_name, name, duckdb_type, num_children FROM parquet_schema([{}])", list.join(", "));
    let rows = warehouse.query(&sql, |row| {
        let children = row.get::<_, Option<i64>>(3)?.unwrap_or(0);
        Ok((row.get::<_, String>(0)?, SchemaLine { name: row.get(1)?, kind: row.get(2)?, children }))
    })?;
    let mut found: BTreeMap<String, Vec<SchemaLine>> = BTreeMap::new();
    for (path, line) in rows {
        found.entry(path).or_default().push(line);
    }
    let columns = |file: &HourFile| found.get(&*file.path.to_string_lossy()).map_or(&[][..], Vec::as_slice);
    Ok(files.iter().map(|file| schema(columns(file))).collect())
}

/// A line of a Parquet schema: the first is the file itself; a column with children stands before them.
struct SchemaLine {
    name: String,
    kind: Option<String>,
    children: i64,
}

fn schema(lines: &[SchemaLine]) -> anyhow::Result<Schema> {
    let Some((_file, columns)) = lines.split_first() else {
        anyhow::bail!("DuckDB does not find its columns");
    };
    let columns = columns.iter().map(|line| {
        let SchemaLine { name, kind, children } = line;
        let kind = kind.as_deref().filter(|_| *children == 0).unwrap_or("nested");
        let Some(column) = SqlType::of_duckdb(kind) else {
            anyhow::bail!("the column {name} is of type {kind}, which no table takes: cast it to {}", cast(kind));
        };
        Ok(TableColumn { name: name.clone(), sql_type: column })
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
