//! The columns that `--key` names: whether they can be a key, before anything is made of them.

use std::collections::BTreeMap;

use cli::Usage;
use engine::{folded_name, identifier, literal};
use layout::Hour;
use warehouse::Warehouse;

use crate::parquet_schema::Schema;
use crate::rows::{each, rows};
use crate::scan::HourFile;

/// Refuses a key that names a column twice.
pub(crate) fn check_names(key: &[String]) -> anyhow::Result<()> {
    let mut names: Vec<_> = key.iter().map(|name| folded_name(name)).collect();
    names.sort();
    match names.windows(2).find(|pair| pair.first() == pair.last()).and_then(<[String]>::first) {
        Some(name) => Err(Usage(format!("--key names the column {name} twice")).into()),
        None => Ok(()),
    }
}

/// Refuses a key that names a column which the files with the columns `schema` do not have.
pub(crate) fn check_columns(key: &[String], schema: &Schema) -> anyhow::Result<()> {
    match columns(key).find(|name| !schema.iter().any(|column| column.is(name))) {
        Some(strange) => anyhow::bail!("--key names the column {strange}, which the data set does not have"),
        None => Ok(()),
    }
}

/// Those of `files` that are refused, because a column of the key is NULL in some row, or two rows have the same key.
/// (Whether rows of different hours do, the table's primary key says.)
pub(crate) fn refused(
    warehouse: &Warehouse,
    key: &[String],
    schema: &Schema,
    files: &[HourFile],
) -> anyhow::Result<BTreeMap<Hour, anyhow::Error>> {
    if key.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names = columns(key).filter_map(|name| schema.iter().find(|column| column.is(name)));
    let names: Vec<_> = names.map(|column| &column.name).collect();
    let list = each(&names, |name| format!(", {}", identifier(name)));
    let nulls =
        each(&names, |name| format!(", CASE WHEN bool_or({} IS NULL) THEN {} END", identifier(name), literal(name)));
    let keys = format!(
        "SELECT window_start{list}, count(*) AS file_index FROM {} GROUP BY window_start{list}",
        rows(schema, files)
    );
    let sql = format!(
        "SELECT epoch_us(window_start), concat_ws(', ', NULL{nulls}), max(file_index) FROM ({keys}) GROUP BY window_start"
    );
    let found =
        warehouse.query(&sql, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, u64>(2)?)))?;
    let refused = |(micros, nulls, alike): (i64, String, u64)| {
        let reason = match (nulls.as_str(), alike) {
            ("", ..=1) => return None,
            ("", _) => format!("{}, which are the same in several rows: name what tells them apart", key.join(", ")),
            (nulls, _) => format!("{nulls}, which is NULL in some rows: leave those out in the query, or name others"),
        };
        Some((Hour::of_micros(micros)?, anyhow::anyhow!("--key names {reason}")))
    };
    Ok(found.into_iter().filter_map(refused).collect())
}

/// The columns of the key that are the data set's.
fn columns(key: &[String]) -> impl Iterator<Item = &String> {
    key.iter().filter(|name| *name != "window_start")
}
