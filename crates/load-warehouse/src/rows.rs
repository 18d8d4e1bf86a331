//! The rows of Parquet files as queries of DuckDB.

use engine::{identifier, read_parquet};
use layout::Hour;
use warehouse::{LogEntry, StoredColumn, TableColumn, Warehouse};

use crate::dataset_table::DatasetTable;
use crate::parquet_schema::Schema;
use crate::scan::HourFile;

/// The rows of the files as they are, with `window_start`, and `file_index` and `file_row_number` by which they are
/// told apart.
pub(crate) fn rows(schema: &Schema, files: &[HourFile]) -> String {
    let starts = list(files.iter().map(|file| file.hour.start_micros().to_string()));
    let columns = each(schema, |column| format!(", {}", identifier(&column.name)));
    let files = read_parquet(files.iter().map(|file| file.path.as_path()));
    format!(
        "(SELECT make_timestamp(([{starts}]::BIGINT[])[file_index::BIGINT + 1]) AS window_start, file_index, \
         file_row_number{columns} FROM {files})"
    )
}

/// The rows as they go into a table without an id.
pub(crate) fn keyed(values: &str, schema: &Schema, files: &[HourFile]) -> String {
    format!("SELECT window_start{values} FROM {}", rows(schema, files))
}

/// All rows with their ids, which end at each file's last one: inside a file they follow the order of the file.
pub(crate) fn numbered(values: &str, schema: &Schema, files: &[HourFile], entries: &[LogEntry]) -> String {
    let bases = list(entries.iter().map(|entry| (entry.last_id + 1 - entry.rows.cast_signed()).to_string()));
    format!(
        "SELECT ([{bases}]::BIGINT[])[file_index::BIGINT + 1] + file_row_number, window_start{values} FROM {}",
        rows(schema, files)
    )
}

/// The rows that are not in the temporary table `unchanged`, with ids from `first` on.
pub(crate) fn changed(values: &str, schema: &Schema, files: &[HourFile], first: i64) -> String {
    format!(
        "SELECT {} + row_number() OVER (ORDER BY window_start, file_row_number), window_start{values} FROM {} \
         ANTI JOIN unchanged USING (window_start, file_row_number)",
        first - 1,
        rows(schema, files)
    )
}

/// The rows' columns as the table stores them, each behind a comma.
pub(crate) fn as_stored(table: &DatasetTable, schema: &Schema) -> String {
    each(&table.columns, |stored| format!(", {} AS {}", value(stored, schema), identifier(&stored.column.name)))
}

/// What the table stores in a column for each row of files that have the columns `schema`: NULL if they lack this one.
pub(crate) fn value(stored: &StoredColumn, schema: &Schema) -> String {
    stored.value(of_file(schema, stored))
}

/// The column of the files that goes into a column of the table.
pub(crate) fn of_file<'s>(schema: &'s Schema, stored: &StoredColumn) -> Option<&'s TableColumn> {
    schema.iter().find(|column| column.is(&stored.column.name))
}

/// The columns of the table that the files have.
pub(crate) fn columns<'t>(table: &'t DatasetTable, schema: &'t Schema) -> impl Iterator<Item = &'t StoredColumn> {
    table.columns.iter().filter(|stored| of_file(schema, stored).is_some())
}

/// The values of [`columns`] as the warehouse takes them, each behind a comma.
pub(crate) fn values(warehouse: &Warehouse, table: &DatasetTable, schema: &Schema) -> String {
    each(columns(table, schema), |stored| {
        format!(", {}", warehouse.sent(stored.column.sql_type, &value(stored, schema)))
    })
}

/// The pieces of SQL for each of some items, one behind the other.
pub(crate) fn each<'i, T: 'i>(items: impl IntoIterator<Item = &'i T>, piece: impl Fn(&'i T) -> String) -> String {
    items.into_iter().map(piece).collect::<Vec<_>>().concat()
}

fn list(values: impl Iterator<Item = String>) -> String {
    values.collect::<Vec<_>>().join(", ")
}

/// The hours of files.
pub(crate) fn hours<'w>(files: impl IntoIterator<Item = &'w HourFile>) -> Vec<Hour> {
    files.into_iter().map(|file| file.hour).collect()
}
