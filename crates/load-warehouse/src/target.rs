//! The table that a data set is loaded into.

use layout::Name;
use warehouse::{SqlType, TableColumn, Warehouse};

use crate::schema::Schema;

/// Tables that the warehouse has of its own.
const OWN: [&str; 2] = ["load_log", "load_lock"];

/// A data set's table.
#[derive(Debug)]
pub(crate) struct Target {
    /// Whether it has an id, or else a key made of its columns.
    pub(crate) has_id: bool,
    /// Its columns whose types a load creates, but for its own two.
    pub(crate) columns: Vec<TableColumn>,
}

/// Makes a data set's table fit for rows of `schema`: creates it, or adds the columns it lacks. A column whose type
/// would not hold every value is refused.
pub(crate) fn lay_out(
    warehouse: &Warehouse,
    dataset: &Name,
    schema: &Schema,
    key: &[String],
) -> anyhow::Result<Target> {
    if OWN.contains(&dataset.as_str()) {
        anyhow::bail!("the warehouse has a table {dataset} for itself: give the data set another name");
    }
    let table = warehouse.columns(dataset)?;
    if table.is_empty() {
        warehouse.create_table(dataset, schema, key)?;
        return Ok(Target { has_id: key.is_empty(), columns: schema.clone() });
    }
    let has = |own: &str| table.iter().any(|(name, _, _)| name.to_lowercase() == own);
    let has_id = has("id");
    if !has("window_start") || (!has_id && key.is_empty() && !is_logged(warehouse, dataset)?) {
        let lacks = if has("window_start") { "id" } else { "window_start" };
        anyhow::bail!("the table {dataset} has no column {lacks}: it is not one of ours; rename it");
    }
    if has_id && !key.is_empty() {
        anyhow::bail!(
            "the table {dataset} has an id, so it was made without --key: leave --key out, or rename the table"
        );
    }
    let mut missing = Vec::new();
    for column in schema {
        match table.iter().find(|(name, _, _)| column.is(name)) {
            None => missing.push(column.clone()),
            Some((_, _, Some(kind))) if column.sql_type.fits(*kind) => {}
            Some((name, written, kind)) => {
                let held = TableColumn { name: name.clone(), sql_type: kind.unwrap_or(column.sql_type) };
                anyhow::bail!(
                    "the column {name} is {}, but the table's is {written}, which would lose data: cast the column in the \
                     query, or change the table: {}",
                    column.sql_type,
                    warehouse.change_type(dataset, &held, column.sql_type)
                );
            }
        }
    }
    if !missing.is_empty() {
        warehouse.add_columns(dataset, &missing)?;
    }
    Ok(Target { has_id, columns: known(table).into_iter().chain(missing).collect() })
}

/// The table of a data set as it is; none if there is none.
pub(crate) fn look(warehouse: &Warehouse, dataset: &Name) -> anyhow::Result<Option<Target>> {
    let table = warehouse.columns(dataset)?;
    let has_id = table.iter().any(|(name, _, _)| name.to_lowercase() == "id");
    Ok((!table.is_empty()).then(|| Target { has_id, columns: known(table) }))
}

/// The columns whose types a load creates, but for the table's own two.
fn known(table: Vec<(String, String, Option<SqlType>)>) -> Vec<TableColumn> {
    let columns = table.into_iter().filter_map(|(name, _, kind)| Some(TableColumn { name, sql_type: kind? }));
    columns.filter(|column| !column.is("id") && !column.is("window_start")).collect()
}

/// Whether the load log knows of the data set: then a table without an id is one that was made with a key.
fn is_logged(warehouse: &Warehouse, dataset: &Name) -> anyhow::Result<bool> {
    Ok(warehouse.load_log(Some(dataset))?.is_some_and(|log| log.contains_key(dataset)))
}
