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

/// A kind of warehouse.
pub(crate) trait Backend: fmt::Debug {
    /// Which one it is, for messages.
    fn location(&self) -> String;

    /// How many threads DuckDB gets unless it is told: one where it waits for the warehouse, because any other would wait in a
    /// loop that takes a core.
    fn threads(&self) -> Option<u16> {
        Some(1)
    }

    /// What errors must not repeat.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Attaches it to DuckDB as `warehouse`; says whether it is there. Reading creates nothing.
    fn attach(&self, runner: &QueryRunner, access: Access) -> anyhow::Result<bool>;

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

    /// A SELECT in the warehouse's own SQL of a table's columns, in order: names, and types as the warehouse writes them.
    fn columns(&self, table: &str) -> String;

    /// A SELECT in the warehouse's own SQL that has a row if `table` is a view.
    fn views(&self, table: &str) -> String;

    /// The type that a written one stands for, if it is one that a load creates.
    fn column_type(&self, written: &str) -> Option<SqlType>;

    /// A type as the warehouse writes it, for a column of a key or for any other.
    fn type_name(&self, sql_type: SqlType, is_key: bool) -> String;

    /// The type of a table's own id.
    fn id_type(&self) -> String {
        self.type_name(SqlType::BigInt, false)
    }

    /// What follows the definitions of a table.
    fn table_options(&self) -> &'static str {
        ""
    }

    /// The index on `window_start` as one of a table's definitions, if it is none of its own.
    fn inner_index(&self) -> Option<&'static str> {
        None
    }

    /// Whether the index on `window_start` has the ids of its rows, so that it alone answers which they are.
    fn indexes_ids(&self) -> bool {
        true
    }

    /// The name of a table's index on `window_start`, which is no other table's name: no data set has a point in its own.
    fn index_name(&self, table: &str) -> String {
        identifier(&format!("{table}.window_start"))
    }

    /// Runs statements that make or change tables: all or none, where the warehouse can. Outside of a transaction.
    fn define(&self, runner: &QueryRunner, sql: &str) -> anyhow::Result<()>;

    /// The statement by which a table's owner gives a column another type.
    fn change_type(&self, table: &str, column: &str, sql_type: SqlType) -> String;

    /// Begins a transaction, and keeps other loads out until it ends.
    fn begin(&self, runner: &QueryRunner) -> anyhow::Result<()>;

    /// Ends the transaction by `COMMIT` or `ROLLBACK`.
    fn end(&self, runner: &QueryRunner, how: &str) -> anyhow::Result<()> {
        runner.run(how)
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

    /// Puts the rows of `select`, a query of DuckDB, into `columns` of a table, inside the transaction; returns how many.
    fn insert(&self, runner: &QueryRunner, table: &Name, columns: &[&str], select: &str) -> anyhow::Result<u64> {
        runner.execute(&insertion(table, columns, select))
    }

    /// How rows that are written out are put in.
    fn insert_or_replace(&self) -> &'static str {
        "INSERT"
    }
}

/// The statement that puts the rows of `select` into `columns` of a table of the attached warehouse.
pub(crate) fn insertion(table: &Name, columns: &[&str], select: &str) -> String {
    let columns: Vec<_> = columns.iter().map(|name| identifier(name)).collect();
    format!("INSERT INTO warehouse.{} ({}) {select}", identifier(table.as_str()), columns.join(", "))
}

/// The columns of a table with their types as the warehouse writes them; empty if there is no table.
pub(crate) fn columns(
    backend: &dyn Backend,
    runner: &QueryRunner,
    table: &str,
) -> anyhow::Result<Vec<(String, String)>> {
    let columns = format!("SELECT * FROM {}", backend.source(&backend.columns(table)));
    runner.rows(&columns, |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Whether `table` is a view, into which nothing can be loaded.
pub(crate) fn is_view(backend: &dyn Backend, runner: &QueryRunner, table: &str) -> anyhow::Result<bool> {
    let views = format!("SELECT * FROM {}", backend.source(&backend.views(table)));
    Ok(!runner.rows(&views, |_| Ok(()))?.is_empty())
}

/// Adds columns to a table. Outside of a transaction.
pub(crate) fn add_columns(
    backend: &dyn Backend,
    runner: &QueryRunner,
    table: &str,
    columns: &[TableColumn],
) -> anyhow::Result<()> {
    let table = backend.table(table);
    columns.iter().try_for_each(|column| {
        let (name, type_name) = (backend.column(&column.name), backend.type_name(column.sql_type, false));
        backend.define(runner, &format!("ALTER TABLE {table} ADD COLUMN {name} {type_name}"))
    })
}
