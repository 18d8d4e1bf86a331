//! Files that are loaded or compared together, and their rows as queries of DuckDB.

use engine::{identifier, read_parquet};
use layout::{Hour, Name};
use warehouse::{LogEntry, StoredColumn, TableColumn, Warehouse};

use crate::dataset_table::DatasetTable;
use crate::parquet_schema::Schema;
use crate::scan::HourFile;

/// Files of a data set that have the same columns, and the table that is theirs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch<'b> {
    pub(crate) dataset: &'b Name,
    pub(crate) table: &'b DatasetTable,
    pub(crate) schema: &'b Schema,
    pub(crate) files: &'b [HourFile],
    /// Whether the rows of these very files are held in the temporary table [`HELD`].
    pub(crate) is_held: bool,
}

/// The rows of a batch, which are inserted and then compared: to open many small files takes longer than to read them.
const HELD: &str = "temp.\"(rows of a batch)\"";

/// The rows of files that have the columns `schema`, as they are, with `window_start`, and `file_index` and
/// `file_row_number` by which they are told apart.
pub(crate) fn rows(schema: &Schema, files: &[HourFile]) -> String {
    let starts = list(files.iter().map(|file| file.hour.start_micros().to_string()));
    let columns = schema.values().map(|(column, value)| format!(", {value} AS {}", identifier(&column.name)));
    let columns = columns.collect::<String>();
    let files = read_parquet(files.iter().map(|file| file.path.as_path()));
    format!(
        "(SELECT make_timestamp(([{starts}]::BIGINT[])[file_index::BIGINT + 1]) AS window_start, file_index, \
         file_row_number{columns} FROM {files})"
    )
}

impl<'b> Batch<'b> {
    pub(crate) fn rows(&self) -> String {
        if self.is_held { HELD.to_owned() } else { rows(self.schema, self.files) }
    }

    /// Reads the rows of several files once, for all that is done with them. One file is as large as it may be, and soon open.
    pub(crate) fn hold(self, warehouse: &Warehouse) -> anyhow::Result<Self> {
        let is_held = self.files.len() > 1;
        if is_held {
            warehouse.run(&format!("CREATE OR REPLACE TEMP TABLE {HELD} AS FROM {}", rows(self.schema, self.files)))?;
        }
        Ok(Self { is_held, ..self })
    }

    /// All rows with their ids, which end at each file's last one: inside a file they follow the order of the file.
    pub(crate) fn numbered(&self, values: &str, entries: &[LogEntry]) -> String {
        let bases = list(entries.iter().map(|entry| (entry.last_id + 1 - entry.rows.cast_signed()).to_string()));
        format!(
            "SELECT ([{bases}]::BIGINT[])[file_index::BIGINT + 1] + file_row_number, window_start{values} FROM {}",
            self.rows()
        )
    }

    /// The rows that are not in the temporary table `unchanged`, with ids from `first` on.
    pub(crate) fn changed(&self, values: &str, first: i64) -> String {
        format!(
            "SELECT {} + row_number() OVER (ORDER BY window_start, file_row_number), window_start{values} FROM {} \
             ANTI JOIN unchanged USING (window_start, file_row_number)",
            first - 1,
            self.rows()
        )
    }

    /// What the table stores in a column for each row: NULL if the files lack this one.
    pub(crate) fn value(&self, stored: &StoredColumn) -> String {
        stored.value(self.of_files(stored))
    }

    /// The column of the files that goes into a column of the table.
    pub(crate) fn of_files(&self, stored: &StoredColumn) -> Option<&'b TableColumn> {
        self.schema.iter().find(|column| column.is(&stored.column.name))
    }

    /// The columns of the table that the files have.
    pub(crate) fn columns(self) -> impl Iterator<Item = &'b StoredColumn> {
        self.table.columns.iter().filter(move |stored| self.of_files(stored).is_some())
    }

    /// The values of [`columns`](Self::columns) as the warehouse takes them, each behind a comma.
    pub(crate) fn values(&self, warehouse: &Warehouse) -> String {
        each(self.columns(), |stored| format!(", {}", warehouse.sent(stored.column.sql_type, &self.value(stored))))
    }
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
