//! The rows of windows' files as queries of DuckDB.

use engine::{identifier, read_parquet};
use layout::Hour;
use warehouse::{LogEntry, TableColumn, Warehouse};

use crate::plan::Window;
use crate::schema::Schema;
use crate::target::Target;

/// The rows of the windows' files as they are, with `window_start`, and `file_index` and `file_row_number` by which they are
/// told apart.
pub(crate) fn rows(schema: &Schema, windows: &[Window]) -> String {
    let starts = list(windows.iter().map(|window| window.hour.start_micros().to_string()));
    let columns = each(schema, |column| format!(", {}", identifier(&column.name)));
    let files = read_parquet(windows.iter().map(|window| window.path.as_path()));
    format!(
        "(SELECT make_timestamp(([{starts}]::BIGINT[])[file_index::BIGINT + 1]) AS window_start, file_index, \
         file_row_number{columns} FROM {files})"
    )
}

/// The rows as they go into a table without an id.
pub(crate) fn keyed(warehouse: &Warehouse, schema: &Schema, windows: &[Window]) -> String {
    format!("SELECT window_start{} FROM {}", values(warehouse, schema), rows(schema, windows))
}

/// All rows with their ids, which end at each window's last: inside a window they follow the order of the file.
pub(crate) fn numbered(warehouse: &Warehouse, schema: &Schema, windows: &[Window], entries: &[LogEntry]) -> String {
    let bases = list(entries.iter().map(|entry| (entry.last_id + 1 - entry.rows.cast_signed()).to_string()));
    format!(
        "SELECT ([{bases}]::BIGINT[])[file_index::BIGINT + 1] + file_row_number, window_start{} FROM {}",
        values(warehouse, schema),
        rows(schema, windows)
    )
}

/// The rows that are not in the temporary table `unchanged`, with ids from `first` on.
pub(crate) fn changed(warehouse: &Warehouse, schema: &Schema, windows: &[Window], first: i64) -> String {
    format!(
        "SELECT {} + row_number() OVER (ORDER BY window_start, file_row_number), window_start{} FROM {} \
         ANTI JOIN unchanged USING (window_start, file_row_number)",
        first - 1,
        values(warehouse, schema),
        rows(schema, windows)
    )
}

/// The rows' columns as the table stores them, each behind a comma: one that the files lack is NULL there.
pub(crate) fn as_stored(target: &Target, schema: &Schema) -> String {
    let as_stored = |column: &TableColumn| {
        let is_there = schema.iter().any(|other| other.is(&column.name));
        let (name, sql_type) = (identifier(&column.name), column.sql_type);
        let value = if is_there { &name } else { "NULL" };
        format!(", CAST({value} AS {sql_type}) AS {name}")
    };
    each(&target.columns, as_stored)
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

/// The hours of windows.
pub(crate) fn hours<'w>(windows: impl IntoIterator<Item = &'w Window>) -> Vec<Hour> {
    windows.into_iter().map(|window| window.hour).collect()
}
