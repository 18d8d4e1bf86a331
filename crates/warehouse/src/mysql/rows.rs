//! `server_rows(sql)`: a table function of DuckDB that yields what the server answers, all columns as text. The query runs
//! on the connection of the load, and sees what its transaction has changed.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use duckdb::Connection;
use duckdb::core::{DataChunkHandle, Inserter as _, LogicalTypeHandle, LogicalTypeId};
use duckdb::vtab::{BindInfo, InitInfo, TableFunctionInfo, VTab};
use engine::literal;

use super::client::{Client, Row};

/// How many rows DuckDB takes at a time.
const CHUNK: usize = 2048;

/// Makes what `client` answers readable for the queries of `connection`.
pub(super) fn register(connection: &Connection, client: &Arc<Client>) -> duckdb::Result<()> {
    connection.register_table_function_with_extra_info::<ServerRows, _>("server_rows", client)
}

/// What the server answers to `sql`, as a table expression.
pub(super) fn table(sql: &str) -> String {
    format!("server_rows({})", literal(sql))
}

struct ServerRows;

impl VTab for ServerRows {
    /// How many rows were given.
    type InitData = AtomicUsize;
    type BindData = Vec<Row>;

    fn bind(bind: &BindInfo) -> Result<Self::BindData, Box<dyn Error>> {
        // SAFETY: this is what `register` has set, which DuckDB holds as long as the function.
        let client = unsafe { &*bind.get_extra_info::<Arc<Client>>() };
        let (columns, rows) = client.query(&bind.get_parameter(0).to_string())?;
        for column in columns {
            bind.add_result_column(&column, LogicalTypeHandle::from(LogicalTypeId::Varchar));
        }
        Ok(rows)
    }

    fn init(init: &InitInfo) -> Result<Self::InitData, Box<dyn Error>> {
        init.set_max_threads(1);
        Ok(AtomicUsize::new(0))
    }

    fn func(info: &TableFunctionInfo<Self>, output: &mut DataChunkHandle) -> Result<(), Box<dyn Error>> {
        let given = info.get_init_data().fetch_add(CHUNK, Ordering::Relaxed);
        let rows = info.get_bind_data().get(given..).unwrap_or_default();
        let rows = rows.get(..CHUNK).unwrap_or(rows);
        for (number, row) in rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                let mut vector = output.flat_vector(column);
                match cell {
                    Some(text) => vector.insert(number, text.as_str()),
                    None => vector.set_null(number),
                }
            }
        }
        output.set_len(rows.len());
        Ok(())
    }

    fn parameters() -> Option<Vec<LogicalTypeHandle>> {
        Some(vec![LogicalTypeHandle::from(LogicalTypeId::Varchar)])
    }
}
