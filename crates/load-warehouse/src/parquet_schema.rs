//! The columns of Parquet files, and what they ask of the table.

use std::collections::BTreeMap;
use std::ops::Deref;

use engine::{file_literal, identifier};
use warehouse::{SqlType, TableColumn, Warehouse};

use crate::scan::HourFile;

/// The columns of one Parquet file, as a table takes them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Schema {
    columns: Vec<TableColumn>,
    /// For each of them, what it is in the file, as an expression of DuckDB.
    values: Vec<String>,
}

impl Deref for Schema {
    type Target = [TableColumn];

    fn deref(&self) -> &[TableColumn] {
        &self.columns
    }
}

impl Schema {
    /// The columns, each with its values in the file.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&TableColumn, &str)> {
        self.columns.iter().zip(self.values.iter().map(String::as_str))
    }
}

/// A column as Parquet's schema has it: its name, its type, and how many columns follow that are its parts.
type Part = (String, String, u64);

/// The columns of each file, in order; for each one the reason if a warehouse cannot hold them.
pub(crate) fn schemas(warehouse: &Warehouse, files: &[HourFile]) -> anyhow::Result<Vec<anyhow::Result<Schema>>> {
    let list: Vec<_> = files.iter().map(|file| file_literal(&file.path)).collect();
    let sql = format!(
        "SELECT file_name, name, CASE WHEN coalesce(num_children, 0) = 0 THEN coalesce(duckdb_type, 'nested') \
         WHEN converted_type = 'LIST' THEN 'LIST' ELSE 'nested' END, coalesce(num_children, 0)::UBIGINT \
         FROM parquet_schema([{}])",
        list.join(", ")
    );
    let rows = warehouse.query(&sql, |row| Ok((row.get::<_, String>(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))))?;
    let mut found: BTreeMap<String, Vec<Part>> = BTreeMap::new();
    for (path, column) in rows {
        found.entry(path).or_default().push(column);
    }
    let columns = |file: &HourFile| found.get(&*file.path.to_string_lossy()).map_or(&[][..], Vec::as_slice);
    Ok(files.iter().map(|file| schema(columns(file))).collect())
}

/// The columns of names and types as DuckDB has them. The first is the file itself; a nested one stands before its parts.
fn schema(parts: &[Part]) -> anyhow::Result<Schema> {
    let Some((_file, parts)) = parts.split_first() else {
        anyhow::bail!("DuckDB does not find its columns");
    };
    let mut schema = Schema { columns: Vec::new(), values: Vec::new() };
    // How many parts of a nested column are still to come.
    let mut inside = 0;
    for (name, kind, children) in parts {
        if inside > 0 {
            inside = inside - 1 + children;
            continue;
        }
        inside = *children;
        let value = identifier(name);
        // What is no type of every warehouse is stored as text.
        let (sql_type, value) = match kind.as_str() {
            "TIME" => (Some(SqlType::Text), format!("CAST({value} AS VARCHAR)")),
            "BLOB" => (Some(SqlType::Text), format!("lower(hex({value}))")),
            "LIST" => (
                Some(SqlType::Text),
                format!("CASE WHEN {value} IS NOT NULL THEN CAST(to_json({value}) AS VARCHAR) END"),
            ),
            kind => (SqlType::of_duckdb(kind), value),
        };
        let Some(sql_type) = sql_type else {
            anyhow::bail!("the column {name} is of type {kind}, which no table takes: cast it to {}", cast(kind));
        };
        schema.columns.push(TableColumn { name: name.clone(), sql_type });
        schema.values.push(value);
    }
    Ok(schema)
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
