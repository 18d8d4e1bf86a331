//! The rows of an hour that are the same in its old version, which the warehouse holds, and its new one.
//!
//! They stay where they are, with their ids: one late message changes one row of an aggregate, not all of its hour. Rows
//! that are alike in all columns are told apart by their number only, so that of three there and two in the file one goes.

use std::collections::BTreeMap;

use engine::identifier;
use layout::Hour;
use warehouse::{SqlType, TableColumn, Warehouse};

use crate::rows::{Batch, each, hours};

/// What becomes of the rows that a table holds of some hours.
#[derive(Debug, Default)]
pub(crate) struct RowDiff {
    /// How many stay, of which hour.
    pub(crate) unchanged: BTreeMap<Hour, u64>,
    /// The ids of those that go.
    pub(crate) gone: Vec<i64>,
}

/// Compares what the table holds of the hours of a batch with its files. The rows that stay are then in the temporary table
/// `unchanged`, by `id`, `window_start` and `file_row_number`.
pub(crate) fn compare(warehouse: &Warehouse, batch: Batch<'_>) -> anyhow::Result<RowDiff> {
    let own = [("id", SqlType::BigInt), ("window_start", SqlType::Timestamp)]
        .map(|(name, sql_type)| TableColumn { name: name.to_owned(), sql_type });
    let columns: Vec<_> =
        own.into_iter().chain(batch.table.columns.iter().map(|stored| stored.column.clone())).collect();
    let stored = warehouse.stored(batch.dataset, batch.table.has_id, &columns, &hours(batch.files))?;
    warehouse.run(&format!("CREATE OR REPLACE TEMP TABLE stored AS {stored}"))?;
    warehouse.run(&format!("CREATE OR REPLACE TEMP TABLE unchanged AS {}", both(batch)))?;
    let gone = "SELECT id FROM stored ANTI JOIN unchanged USING (id) ORDER BY id";
    let gone = warehouse.query(gone, |row| row.get::<_, i64>(0))?;
    let counts = "SELECT epoch_us(window_start), count(*) FROM unchanged GROUP BY window_start";
    let counts = warehouse.query(counts, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?)))?;
    let unchanged = counts.into_iter().filter_map(|(micros, rows)| Some((Hour::of_micros(micros)?, rows))).collect();
    Ok(RowDiff { unchanged, gone })
}

/// The rows that are in the table and in the files. `file_index`, a name that no column has, numbers those that are alike.
fn both(batch: Batch<'_>) -> String {
    let columns = &batch.table.columns;
    let names: Vec<_> = columns.iter().map(|stored| identifier(&stored.column.name)).collect();
    let alike = each(&names, |name| format!(", {name}"));
    let same = each(&names, |name| format!(" AND old.{name} IS NOT DISTINCT FROM new.{name}"));
    format!(
        "WITH old AS (SELECT *, row_number() OVER (PARTITION BY window_start{alike} ORDER BY id) AS file_index FROM stored), \
         typed AS (SELECT window_start, file_row_number{} FROM {}), \
         new AS (SELECT *, row_number() OVER (PARTITION BY window_start{alike} ORDER BY file_row_number) AS file_index \
         FROM typed) \
         SELECT old.id, new.window_start, new.file_row_number FROM old JOIN new \
         ON old.window_start = new.window_start AND old.file_index = new.file_index{same}",
        each(columns, |stored| format!(", {} AS {}", batch.value(stored), identifier(&stored.column.name))),
        batch.rows()
    )
}
