//! The columns of Parquet files, and what they ask of the table.

use std::collections::BTreeMap;

use engine::file_literal;
use warehouse::{SqlType, TableColumn, Warehouse};

use crate::plan::Window;

/// The columns of one Parquet file.
pub(crate) type Schema = Vec<TableColumn>;

/// Columns that the table has of its own, and those by which DuckDB tells rows of Parquet files apart.
const RESERVED: [&str; 4] = ["id", "window_start", "file_index", "file_row_number"];

/// The columns of each window's file, in order; for each one the reason if a warehouse cannot hold them.
pub(crate) fn schemas(warehouse: &Warehouse, windows: &[Window]) -> anyhow::Result<Vec<anyhow::Result<Schema>>> {
    let list: Vec<_> = windows.iter().map(|window| file_literal(&window.path)).collect();
    let sql = format!("SELECT file_name, name, duckdb_type, num_children FROM parquet_schema([{}])", list.join(", "));
    let rows = warehouse.query(&sql, |row| {
        let children = row.get::<_, Option<i64>>(3)?.unwrap_or(0);
        Ok((row.get::<_, String>(0)?, Element { name: row.get(1)?, kind: row.get(2)?, children }))
    })?;
    let mut found: BTreeMap<String, Vec<Element>> = BTreeMap::new();
    for (path, element) in rows {
        found.entry(path).or_default().push(element);
    }
    let columns = |window: &Window| found.get(&*window.path.to_string_lossy()).map_or(&[][..], Vec::as_slice);
    Ok(windows.iter().map(|window| schema(columns(window))).collect())
}

/// A line of a Parquet schema: the first is the file itself; a column with children stands before them.
struct Element {
    name: String,
    kind: Option<String>,
    children: i64,
}

fn schema(elements: &[Element]) -> anyhow::Result<Schema> {
    let Some((_file, columns)) = elements.split_first() else {
        anyhow::bail!("DuckDB does not find its columns");
    };
    columns
        .iter()
        .map(|element| {
            let Element { name, kind, children } = element;
            if RESERVED.iter().any(|reserved| name.to_lowercase() == *reserved) {
                anyhow::bail!("a column is called {name}, as the table has for itself: rename it in the query");
            }
            let kind = kind.as_deref().filter(|_| *children == 0).unwrap_or("nested");
            let Some(column) = SqlType::of_duckdb(kind) else {
                anyhow::bail!("the column {name} is of type {kind}, which no table takes: cast it to {}", cast(kind));
            };
            Ok(TableColumn { name: name.clone(), sql_type: column })
        })
        .collect()
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
