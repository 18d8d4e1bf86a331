//! What a table holds of hours, compared with their files: for each hour the count of its rows, and for each column a
//! checksum, which is the sum of the hashes of its values. The order of rows does not count, and every other difference
//! does.
//!
//! A load compares what it has written before it commits, and `--verify` does the same later.

use std::collections::BTreeMap;

use engine::{identifier, literal};
use layout::Hour;
use warehouse::{SqlType, StoredColumn, TableColumn, Warehouse};

use crate::rows::{Batch, each, hours};
use crate::scan::HourFile;

/// What is to be said of an hour.
#[derive(Debug)]
pub(crate) struct HourCheck {
    pub(crate) hour: Hour,
    /// The columns in which the table differs from the file, if it does.
    pub(crate) differs: Option<String>,
    /// The values that the table cannot hold as the file has them.
    pub(crate) replaced: Vec<Replaced>,
}

/// Values of a column that the table cannot hold.
#[derive(Debug)]
pub(crate) struct Replaced {
    pub(crate) column: String,
    /// Why not, and what is stored instead.
    pub(crate) rule: String,
    pub(crate) count: u64,
}

/// What the warehouse held of these hours, after their rows were written, was not what their files say, in these columns.
#[derive(Debug, thiserror::Error)]
#[error("the warehouse holds other values than were written to it")]
pub(crate) struct Differs(pub(crate) BTreeMap<Hour, String>);

/// Makes sure, before the rows of `batch` are committed, that the table holds them as [`compare`] wants them; returns what
/// was replaced. A [`Differs`] if it does not.
pub(crate) fn confirm(warehouse: &Warehouse, batch: Batch<'_>) -> anyhow::Result<Vec<HourCheck>> {
    let checks = compare(warehouse, batch)?;
    if checks.iter().all(|check| check.differs.is_none()) {
        return Ok(checks);
    }
    let differs = |check: HourCheck| Some((check.hour, check.differs?));
    Err(anyhow::Error::new(Differs(checks.into_iter().filter_map(differs).collect())))
}

/// Compares what the table holds of the hours of `batch` with its files; returns the hours of which there is something to
/// say. A column that the files lack is not looked at: somebody may have added it to the table, with a value for each row.
/// Only of hours that differ the columns are compared one by one, which takes twice as long.
pub(crate) fn compare(warehouse: &Warehouse, batch: Batch<'_>) -> anyhow::Result<Vec<HourCheck>> {
    let checks = compare_by(false, warehouse, batch)?;
    let (different, mut checks): (Vec<_>, Vec<_>) = checks.into_iter().partition(|check| check.differs.is_some());
    let differs = |file: &&HourFile| different.iter().any(|check| check.hour == file.hour);
    let files: Vec<_> = batch.files.iter().filter(differs).cloned().collect();
    if !files.is_empty() {
        checks.extend(compare_by(true, warehouse, Batch { files: &files, is_held: false, ..batch })?);
    }
    Ok(checks)
}

/// Compares the counts of rows, the checksums of whole rows, and those of the columns if it is to be `by_column`.
fn compare_by(by_column: bool, warehouse: &Warehouse, batch: Batch<'_>) -> anyhow::Result<Vec<HourCheck>> {
    let columns: Vec<_> = batch.columns().collect();
    let one_by_one = if by_column { columns.as_slice() } else { &[] };
    let limits = columns.iter().filter_map(|stored| Some((stored.limit.as_ref()?, batch.of_files(stored)?)));
    let limits: Vec<_> = limits.collect();
    let counts = limits
        .iter()
        .map(|(limit, column)| format!("count(*) FILTER (WHERE {})", limit.is_exceeded_by(&identifier(&column.name))));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let start = TableColumn { name: "window_start".to_owned(), sql_type: SqlType::Timestamp };
    let stored: Vec<_> = [start].into_iter().chain(columns.iter().map(|stored| stored.column.clone())).collect();
    let held = warehouse.stored(batch.dataset, batch.table.has_id, &stored, &hours(batch.files))?;
    let made = checksums(&columns, one_by_one, |stored| batch.value(stored));
    let made = format!("SELECT {made}, [{counts}]::BIGINT[] AS file_row_number FROM {}", batch.rows());
    let sums = checksums(&columns, one_by_one, |stored| identifier(&stored.column.name));
    let held = format!("SELECT {sums} FROM ({held})");
    let found = warehouse.query(&statement(&made, &held, one_by_one), |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, String>(2)?))
    })?;
    let check = |(micros, differs, counts): (i64, Option<String>, String)| {
        let counts = counts.split(',').zip(&limits);
        let replaced = counts.filter_map(|(count, (limit, column))| {
            let count = count.parse().ok().filter(|count| *count > 0)?;
            Some(Replaced { column: column.name.clone(), rule: limit.rule.clone(), count })
        });
        Some(HourCheck { hour: Hour::of_micros(micros)?, differs, replaced: replaced.collect() })
    };
    Ok(found.into_iter().filter_map(check).collect())
}

/// The comparison of the checksums that `made` selects of the files, and `held` of the table.
fn statement(made: &str, held: &str, one_by_one: &[&StoredColumn]) -> String {
    let differs = |name: &str, says: &str| {
        format!("CASE WHEN held.{name} IS DISTINCT FROM made.{name} THEN {} END", literal(says))
    };
    let columns = one_by_one.iter().map(|stored| differs(&identifier(&stored.column.name), &stored.column.name));
    let says: Vec<_> = [differs("file_index", "its number of rows")].into_iter().chain(columns).collect();
    format!(
        "WITH made AS ({made} GROUP BY window_start), held AS ({held} GROUP BY window_start), \
         compared AS (SELECT window_start, file_row_number AS counts, \
         held.id IS DISTINCT FROM made.id OR held.file_index IS DISTINCT FROM made.file_index AS is_different, \
         coalesce(nullif(concat_ws(', ', {}), ''), 'which values belong to one row') AS difference \
         FROM made FULL JOIN held USING (window_start)) \
         SELECT epoch_us(window_start), CASE WHEN is_different THEN difference END, coalesce(array_to_string(counts, ','), '') \
         FROM compared WHERE is_different OR list_sum(counts) > 0",
        says.join(", ")
    )
}

/// The count of rows, the checksum of whole rows and those of the columns `one_by_one`, of rows in which a column is what
/// `value` says. The checksums of columns have their names; `file_index` and `id`, names that no column has, are the count
/// and the checksum of whole rows.
fn checksums(
    columns: &[&StoredColumn],
    one_by_one: &[&StoredColumn],
    value: impl Fn(&StoredColumn) -> String,
) -> String {
    let whole = each(columns, |stored| format!(", {}", value(stored)));
    let sums =
        each(one_by_one, |stored| format!(", sum(hash({})) AS {}", value(stored), identifier(&stored.column.name)));
    format!("window_start, count(*) AS file_index, sum(hash(0{whole})) AS id{sums}")
}
