//! The table that a data set is loaded into.

use anyhow::Context as _;
use layout::Name;
use warehouse::{HeldColumn, SqlType, StoredColumn, TableColumn, Warehouse};

use crate::parquet_schema::Schema;

/// Tables that the warehouse has of its own.
const OWN: [&str; 2] = ["load_log", "load_lock"];

/// A data set's table.
#[derive(Debug)]
pub(crate) struct DatasetTable {
    /// Whether it has an id, or else a key made of its columns.
    pub(crate) has_id: bool,
    /// Its columns whose types a load creates, but for its own two.
    pub(crate) columns: Vec<StoredColumn>,
}

/// Makes a data set's table fit for rows of `schema`: creates it, or adds the columns it lacks. A column whose type
/// would not hold every value is refused.
pub(crate) fn prepare_table(
    warehouse: &Warehouse,
    dataset: &Name,
    schema: &Schema,
    key: &[String],
) -> anyhow::Result<DatasetTable> {
    if OWN.contains(&dataset.as_str()) {
        anyhow::bail!("the warehouse has a table {dataset} for itself: give the data set another name");
    }
    let table = warehouse.columns(dataset)?;
    if table.is_empty() {
        check_types(warehouse, schema)?;
        warehouse.create_table(dataset, schema, key)?;
    } else {
        let missing = missing_columns(warehouse, dataset, &table, schema, key)?;
        check_types(warehouse, &missing)?;
        warehouse.add_columns(dataset, &missing)?;
    }
    existing_table(warehouse, dataset)?.with_context(|| format!("the table {dataset} is gone again: run once more"))
}

/// The columns of `schema` that a table lacks. Refuses a table that is not one of ours, or cannot hold the others.
fn missing_columns(
    warehouse: &Warehouse,
    dataset: &Name,
    table: &[HeldColumn],
    schema: &Schema,
    key: &[String],
) -> anyhow::Result<Vec<TableColumn>> {
    if warehouse.is_view(dataset)? {
        anyhow::bail!("{dataset} is a view in the warehouse, not a table: rename it");
    }
    check_own_columns(warehouse, dataset, table, key)?;
    let mut missing = Vec::new();
    for column in schema.iter() {
        match table.iter().find(|held| column.is(&held.name)) {
            None => missing.push(column.clone()),
            Some(held) if held.sql_type().is_some_and(|sql_type| column.sql_type.fits(sql_type)) => {}
            Some(held) => {
                let (name, written) = (&held.name, &held.written);
                let sql_type = held.sql_type().unwrap_or(column.sql_type);
                anyhow::bail!(
                    "the column {name} is {}, but the table's is {written}, which would lose data: cast the column in the \
                     query, or change the table: {}",
                    column.sql_type,
                    warehouse.change_type(dataset, &TableColumn { name: name.clone(), sql_type }, column.sql_type)
                );
            }
        }
    }
    Ok(missing)
}

/// Refuses columns of types for which the warehouse has none, before anything is made.
fn check_types(warehouse: &Warehouse, columns: &[TableColumn]) -> anyhow::Result<()> {
    for TableColumn { name, sql_type } in columns {
        if let Some(problem) = warehouse.refusal(*sql_type) {
            anyhow::bail!("the column {name} is {sql_type}, {problem}");
        }
    }
    Ok(())
}

/// Refuses a table that is not one of ours.
fn check_own_columns(
    warehouse: &Warehouse,
    dataset: &Name,
    table: &[HeldColumn],
    key: &[String],
) -> anyhow::Result<()> {
    let column = |own: &str| table.iter().find(|held| held.name.to_lowercase() == own);
    let (id, start) = (column("id"), column("window_start"));
    if start.is_none() || (id.is_none() && key.is_empty() && warehouse.loaded(dataset)?.is_empty()) {
        let lacks = if start.is_some() { "id" } else { "window_start" };
        anyhow::bail!("the table {dataset} has no column {lacks}: it is not one of ours; rename it");
    }
    if id.is_some() && !key.is_empty() {
        anyhow::bail!(
            "the table {dataset} has an id, so it was made without --key: leave --key out, or rename the table"
        );
    }
    for (found, sql_types) in [(id, &[SqlType::BigInt, SqlType::Integer][..]), (start, &[SqlType::Timestamp])] {
        if let Some(found) = found
            && !found.sql_type().is_some_and(|sql_type| sql_types.contains(&sql_type))
            && let [needed, ..] = sql_types
        {
            let (name, written) = (&found.name, &found.written);
            let held = TableColumn { name: name.clone(), sql_type: *needed };
            let statement = warehouse.change_type(dataset, &held, *needed);
            anyhow::bail!(
                "the column {name} of the table {dataset} is {written}, with which no load can go on: {statement}"
            );
        }
    }
    Ok(())
}

/// The table of a data set as it is; none if there is none.
pub(crate) fn existing_table(warehouse: &Warehouse, dataset: &Name) -> anyhow::Result<Option<DatasetTable>> {
    let table = warehouse.columns(dataset)?;
    if table.is_empty() {
        return Ok(None);
    }
    let has_id = table.iter().any(|held| held.name.to_lowercase() == "id");
    let columns = table.into_iter().filter_map(|held| held.stored);
    let columns = columns.filter(|stored| !stored.column.is("id") && !stored.column.is("window_start")).collect();
    Ok(Some(DatasetTable { has_id, columns }))
}
