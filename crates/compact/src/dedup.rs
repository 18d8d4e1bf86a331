//! `--dedup`: rows that are equal to another row of their hour in all columns are removed.
//!
//! Two queries do it, and their numbers are held against each other. The first counts equal rows and keeps those that
//! stand more than once, each with its count, in a temporary table. The second yields all rows that are not in that
//! table, in the order in which they are read, and then the table's rows once each. So neighbours stay neighbours in the
//! file's row groups, nothing is sorted but what stands more than once, and without duplicates the hour is made as ever.
//! Both spill to disk when memory is short: an hour of 7.2 million rows, each of them twice, takes a limit of 150 MB.
//!
//! Equal is what SQL's GROUP BY takes for equal: NULL and NULL, 0.0 and -0.0. (No message can hold a NaN.)

use duckdb::Connection;
use engine::{describe, identifier};
use models::Model;

/// The temporary table, of the session.
const TABLE: &str = "temp.repeated";
/// How often a row stands there: a name that no column of a model has.
const COPIES: &str = "\"(copies)\"";

/// Keeps the rows of `rows` that stand there more than once, and returns how many have to go.
pub(crate) fn find_repeated(connection: &Connection, model: Option<&Model>, rows: &str) -> anyhow::Result<u64> {
    // By time, so that these, too, are neighbours in the file.
    let order = model.map_or("ALL".to_owned(), |model| identifier(model.time_column()));
    connection.execute_batch(&format!(
        "CREATE OR REPLACE TEMP TABLE repeated AS SELECT *, count(*) AS {COPIES} FROM ({rows}) \
         GROUP BY ALL HAVING count(*) > 1 ORDER BY {order}"
    ))?;
    let sql = format!("SELECT coalesce(sum({COPIES} - 1), 0)::UBIGINT FROM {TABLE}");
    Ok(connection.query_row(&sql, [], |row| row.get(0))?)
}

/// A query for `rows` with each row once, when [`find_repeated`] was called for them last.
pub(crate) fn without_repeated(connection: &Connection, rows: &str) -> anyhow::Result<String> {
    let columns = describe(connection, &format!("FROM {TABLE}"))?;
    let columns = columns.iter().map(|column| identifier(&column.name)).filter(|name| name != COPIES);
    let equal = columns.map(|name| format!("rows.{name} IS NOT DISTINCT FROM repeated.{name}"));
    Ok(format!(
        "SELECT rows.* FROM ({rows}) AS rows ANTI JOIN {TABLE} AS repeated ON {} \
         UNION ALL BY NAME SELECT * EXCLUDE ({COPIES}) FROM {TABLE}",
        equal.collect::<Vec<_>>().join(" AND ")
    ))
}

/// Gives the memory back that the repeated rows of an hour took.
pub(crate) fn forget_repeated(connection: &Connection) -> duckdb::Result<()> {
    connection.execute_batch(&format!("DROP TABLE IF EXISTS {TABLE}"))
}
