//! What each kind of warehouse does in its own way. Above this, a load does not know which kind it writes to.

use std::fmt;

use engine::identifier;
use layout::Name;

use crate::column::{Limit, SqlType, TableColumn};
use crate::runner::QueryRunner;

/// What a warehouse is attached for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A table that is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableDefinition<'d> {
    pub(crate) table: &'d Name,
    pub(crate) columns: &'d [TableColumn],
    /// The columns of the primary key; none if the table has an id.
    pub(crate) key: &'d [String],
}

/// Rows that go into a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Insertion<'b> {
    pub(crate) table: &'b Name,
    /// The columns that `select` fills, in its order.
    pub(crate) columns: &'b [&'b str],
    /// A query of DuckDB that yields the rows.
    pub(crate) select: &'b str,
}

impl Insertion<'_> {
    /// The statement that puts the rows into the attached warehouse.
    pub(crate) fn insert(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|name| identifier(name)).collect();
        let table = identifier(self.table.as_str());
        format!("INSERT INTO warehouse.{table} ({}) {}", columns.join(", "), self.select)
    }
}

/// A kind of warehouse.
pub(crate) trait Backend: fmt::Debug {
    /// Which one it is, for messages.
    fn location(&self) -> String;

    /// What errors must not repeat.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Attaches it to DuckDB as `warehouse`; says whether it is there. Reading creates nothing.
    fn attach(&self, runner: &QueryRunner, access: Access) -> anyhow::Result<bool>;

    /// Forgets what DuckDB remembers of the warehouse's tables, which others may have changed. Outside of a transaction.
    fn refresh(&self, _runner: &QueryRunner) -> anyhow::Result<()> {
        Ok(())
    }

    /// A table in the warehouse's own SQL.
    fn table(&self, name: &str) -> String;

    /// A table as it is written in a client of the warehouse.
    fn shell_table(&self, name: &str) -> String {
        self.table(name)
    }

    /// A column in the warehouse's own SQL.
    fn column(&self, name: &str) -> String {
        identifier(name)
    }

    /// A SELECT that the warehouse itself runs, as a table expression of DuckDB. It sees the open transaction's changes. Its
    /// columns may come as text: cast them.
    fn source(&self, select: &str) -> String;

    /// A change that the warehouse itself makes, inside the transaction.
    fn change(&self, runner: &QueryRunner, sql: &str) -> anyhow::Result<()>;

    /// The columns of a table with their types as the warehouse writes them; empty if there is no table.
    fn columns(&self, runner: &QueryRunner, table: &str) -> anyhow::Result<Vec<(String, String)>>;

    /// A SELECT in the warehouse's own SQL that has a row if `table` is a view.
    fn views(&self, table: &str) -> String;

    /// The type that a written one stands for, if it is one that a load creates.
    fn column_type(&self, written: &str) -> Option<SqlType>;

    /// A type as the warehouse writes it.
    fn type_name(&self, sql_type: SqlType) -> String;

    /// A type as the warehouse writes it for a column of a key.
    fn key_type_name(&self, sql_type: SqlType) -> String {
        self.type_name(sql_type)
    }

    /// Creates the load log, and what locks it, if they are missing. Outside of a transaction.
    fn create_log(&self, runner: &QueryRunner) -> anyhow::Result<()>;

    /// Creates a table. Outside of a transaction.
    fn create_table(&self, runner: &QueryRunner, definition: &TableDefinition<'_>) -> anyhow::Result<()>;

    /// Adds columns to a table. Outside of a transaction.
    fn add_columns(&self, runner: &QueryRunner, table: &str, columns: &[TableColumn]) -> anyhow::Result<()>;

    /// The statement by which a table's owner gives a column another type.
    fn change_type(&self, table: &str, column: &str, sql_type: SqlType) -> String {
        format!(
            "ALTER TABLE {} ALTER COLUMN {} TYPE {}",
            self.table(table),
            self.column(column),
            self.type_name(sql_type)
        )
    }

    /// A column in the warehouse's own SQL, such that [`Backend::source`] yields its values exactly.
    fn exact(&self, column: &TableColumn) -> String {
        self.column(&column.name)
    }

    /// The rows of a table that `condition` picks, as a query of DuckDB that yields each value of `columns` exactly as it is.
    fn stored(&self, table: &str, columns: &[TableColumn], condition: &str) -> String {
        let list: Vec<_> = columns.iter().map(|column| self.exact(column)).collect();
        let select = format!("SELECT {} FROM {} WHERE {condition}", list.join(", "), self.table(table));
        format!("SELECT {} FROM {}", casts(columns), self.source(&select))
    }

    /// Prepares the transaction that has just begun, and keeps other loads out until it ends.
    fn begin(&self, runner: &QueryRunner) -> anyhow::Result<()>;

    /// Ends the transaction by `COMMIT` or `ROLLBACK`.
    fn end(&self, runner: &QueryRunner, how: &str) -> anyhow::Result<()> {
        runner.end(how)
    }

    /// Why no column can be made for values of a type, with what to do.
    fn refusal(&self, _sql_type: SqlType) -> Option<String> {
        None
    }

    /// The values of a type that a column cannot hold, whose type the warehouse writes as `written`.
    fn limit(&self, _written: &str, _sql_type: SqlType) -> Option<Limit> {
        None
    }

    /// A value in the form in which it is sent to the warehouse.
    fn sent(&self, _sql_type: SqlType, value: &str) -> String {
        value.to_owned()
    }

    /// Puts rows in, inside the transaction; returns how many.
    fn insert(&self, runner: &QueryRunner, batch: &Insertion<'_>) -> anyhow::Result<u64> {
        runner.execute(&batch.insert())
    }

    /// Puts rows in that are written out, inside the transaction.
    fn insert_values(&self, runner: &QueryRunner, table: &str, columns: &str, values: &str) -> anyhow::Result<()> {
        runner.run(&format!("INSERT INTO warehouse.{} ({columns}) VALUES {values}", identifier(table)))
    }

    /// A query of DuckDB for the rows of a table. `rest` is what follows `FROM`, as all warehouses and DuckDB understand it.
    fn rows(&self, _runner: &QueryRunner, table: &str, rest: &str) -> anyhow::Result<String> {
        Ok(format!("SELECT * FROM warehouse.{} {rest}", identifier(table)))
    }
}

/// Whether `table` is a view, into which nothing can be loaded.
pub(crate) fn is_view(backend: &dyn Backend, runner: &QueryRunner, table: &str) -> anyhow::Result<bool> {
    let views = format!("SELECT * FROM {}", backend.source(&backend.views(table)));
    Ok(!runner.rows(&views, |_| Ok(()))?.is_empty())
}

/// The definitions of a new table's columns and of its key: its own before those of the data set. `id` and `time` are the
/// types of its own.
pub(crate) fn definitions(
    backend: &dyn Backend,
    definition: &TableDefinition<'_>,
    id: &str,
    time: &str,
) -> Vec<String> {
    let TableDefinition { columns, key, .. } = definition;
    let mut all = Vec::new();
    if key.is_empty() {
        all.push(format!("id {id} PRIMARY KEY"));
    }
    all.push(format!("window_start {time} NOT NULL"));
    all.extend(columns.iter().map(|column| {
        let is_key = key.iter().any(|name| column.is(name));
        let type_name =
            if is_key { backend.key_type_name(column.sql_type) } else { backend.type_name(column.sql_type) };
        format!("{} {type_name} {}", backend.column(&column.name), if is_key { "NOT NULL" } else { "NULL" })
    }));
    if !key.is_empty() {
        let key: Vec<_> = key.iter().map(|name| backend.column(name)).collect();
        all.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    all
}

/// The name of a table's index on `window_start`, which is no other table's name: no data set has a point in its own.
pub(crate) fn index_name(table: &str) -> String {
    identifier(&format!("{table}.window_start"))
}

/// `columns` as DuckDB's types, whatever they come as.
pub(crate) fn casts(columns: &[TableColumn]) -> String {
    let cast = |column: &TableColumn| {
        let name = identifier(&column.name);
        format!("CAST({name} AS {}) AS {name}", column.sql_type)
    };
    columns.iter().map(cast).collect::<Vec<_>>().join(", ")
}
