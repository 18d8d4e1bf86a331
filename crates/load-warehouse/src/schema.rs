//! The columns of Parquet files, and what they ask of the table.

use std::collections::BTreeMap;

use engine::file_literal;
use layout::Name;
use warehouse::{Column, ColumnType, Warehouse};

use crate::plan::Window;

/// The columns of one Parquet file.
pub(crate) type Schema = Vec<Column>;

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
            let Some(column) = ColumnType::of_duckdb(kind) else {
                anyhow::bail!("the column {name} is of type {kind}, which no table takes: cast it to {}", cast(kind));
            };
            Ok(Column { name: name.clone(), kind: column })
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

/// Makes a data set's table fit for rows of `schema`: creates it, or adds the columns it lacks. A column whose type
/// would not hold every value is refused.
pub(crate) fn lay_out(warehouse: &Warehouse, dataset: &Name, schema: &Schema) -> anyhow::Result<()> {
    let table = warehouse.columns(dataset)?;
    if table.is_empty() {
        return warehouse.create_table(dataset, schema, &[]);
    }
    for own in ["id", "window_start"] {
        if !table.iter().any(|(name, _, _)| name.to_lowercase() == own) {
            anyhow::bail!("the table {dataset} has no column {own}: it is not one of ours; rename it");
        }
    }
    let mut missing = Vec::new();
    for column in schema {
        match table.iter().find(|(name, _, _)| column.is(name)) {
            None => missing.push(column.clone()),
            Some((_, _, Some(kind))) if column.kind.fits(*kind) => {}
            Some((name, written, _)) => anyhow::bail!(
                "the column {name} is {}, but the table's is {written}, which would lose data: cast the column in the \
                 query, or change the table: ALTER TABLE {dataset} ...",
                column.kind
            ),
        }
    }
    if missing.is_empty() { Ok(()) } else { warehouse.add_columns(dataset, &missing) }
}
