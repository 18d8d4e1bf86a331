//! The rows of Parquet files as queries of DuckDB.

use engine::{identifier, read_parquet};
use layout::Hour;
use warehouse::{LogEntry, TableColumn, Warehouse};

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
pub(crate) fn keyed(warehouse: &Warehouse, schema: &Schema, files: &[HourFile]) -> String {
    format!("SELECT window_start{} FROM {}", values(warehouse, schema), rows(schema, files))
}

/// All rows with their ids, which end at each file's last one: inside a file they follow the order of the file.
pub(crate) fn numbered(warehouse: &Warehouse, schema: &Schema, files: &[HourFile], entries: &[LogEntry]) -> String {
    let bases = list(entries.iter().map(|entry| (entry.last_id + 1 - entry.rows.cast_signed()).to_string()));
    format!(
        "SELECT ([{bases}]::BIGINT[])[file_index::BIGINT + 1] + file_row_number, window_start{} FROM {}",
        values(warehouse, schema),
        rows(schema, files)
    )
}

/// The rows that are not in the temporary table `unchanged`, with ids from `first` on.
pub(crate) fn changed(warehouse: &Warehouse, schema: &Schema, files: &[HourFile], first: i64) -> String {
    format!(
        "SELECT {} + row_number() OVER (ORDER BY window_start, file_row_number), window_start{} FROM {} \
         ANTI JOIN unchanged USING (window_start, file_row_number)",
        first - 1,
        values(warehouse, schema),
        rows(schema, files)
    )
}

/// The rows' columns as the table stores them, each behind a comma: one that the files lack is NULL there.
pub(crate) fn as_stored(table: &DatasetTable, schema: &Schema) -> String {
    let as_stored = |column: &TableColumn| {
        let found = schema.iter().find(|other| other.is(&column.name));
        let value = found.map_or("NULL".to_owned(), |found| identifier(&found.name));
        let (name, sql_type) = (identifier(&column.name), column.sql_type);
        format!(", CAST({value} AS {sql_type}) AS {name}")
    };
    each(&table.columns, as_stored)
}

fn values(warehouse: &Warehouse, schema: &Schema) -> String {
    each(schema, |column| format!(", {}", warehouse.value(column)))
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
