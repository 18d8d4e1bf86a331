//! The columns that `--key` names: whether they can be a key, before anything is made of them.

use cli::Usage;
use engine::{identifier, literal};
use warehouse::Warehouse;

use crate::plan::Window;
use crate::rows::{each, rows};
use crate::schema::{Schema, schemas};

/// Refuses a key that names a column twice.
pub(crate) fn check_names(key: &[String]) -> anyhow::Result<()> {
    let mut names: Vec<_> = key.iter().map(|name| name.to_lowercase()).collect();
    names.sort();
    match names.windows(2).find(|pair| pair.first() == pair.last()).and_then(<[String]>::first) {
        Some(name) => Err(Usage(format!("--key names the column {name} twice")).into()),
        None => Ok(()),
    }
}

/// Refuses files in which a column of the key is missing or NULL, or two rows of an hour have the same key. (Whether those
/// of different hours do, the table's primary key says.)
pub(crate) fn check_rows(
    warehouse: &Warehouse,
    key: &[String],
    schema: &Schema,
    windows: &[Window],
) -> anyhow::Result<()> {
    if key.is_empty() {
        return Ok(());
    }
    let strange = key.iter().find(|name| *name != "window_start" && !schema.iter().any(|column| column.is(name)));
    if let Some(name) = strange {
        anyhow::bail!("--key names the column {name}, which the data set does not have");
    }
    let names: Vec<_> = key.iter().map(|name| identifier(name)).collect();
    let rows = rows(schema, windows);
    let nulls =
        each(key, |name| format!(", CASE WHEN bool_or({} IS NULL) THEN {} END", identifier(name), literal(name)));
    let nulls = format!("SELECT concat_ws(', '{nulls}) FROM {rows}");
    let nulls = warehouse.query(&nulls, |row| row.get::<_, String>(0))?.concat();
    if !nulls.is_empty() {
        anyhow::bail!("--key names {nulls}, which is NULL in some rows: leave those out in the query, or name others");
    }
    let alike = format!("SELECT 1 FROM {rows} GROUP BY window_start, {} HAVING count(*) > 1 LIMIT 1", names.join(", "));
    if !warehouse.query(&alike, |_| Ok(()))?.is_empty() {
        anyhow::bail!("--key names {}, which are the same in several rows: name what tells them apart", key.join(", "));
    }
    Ok(())
}

/// The same of a window whose columns are not known yet.
pub(crate) fn check_window(warehouse: &Warehouse, key: &[String], window: &Window) -> anyhow::Result<()> {
    let windows = std::slice::from_ref(window);
    for schema in schemas(warehouse, windows)? {
        check_rows(warehouse, key, &schema?, windows)?;
    }
    Ok(())
}
