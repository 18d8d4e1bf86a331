//! `server_rows(sql)`: a table function of DuckDB that yields what the server answers, all columns as text. The query runs
//! on the connection of the load, and sees what its transaction has changed. Its rows are taken from the server as DuckDB
//! asks for them, so that there may be more of them than memory holds. One statement reads one such answer at a time.

use std::error::Error;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use duckdb::Connection;
use duckdb::core::{DataChunkHandle, Inserter as _, LogicalTypeHandle, LogicalTypeId};
use duckdb::vtab::{BindInfo, InitInfo, TableFunctionInfo, VTab};
use engine::literal;

use super::client::{Client, ClientError, TextRow};

/// Makes what `client` answers readable for the queries of `connection`.
pub(super) fn register(connection: &Connection, client: &Arc<Client>) -> duckdb::Result<()> {
    connection.register_table_function_with_extra_info::<ServerRows, _>("server_rows", client)
}

/// What the server answers to `sql`, as a table expression.
pub(super) fn table(sql: &str) -> String {
    format!("server_rows({})", literal(sql))
}

/// The rows of an answer, from when DuckDB first asks for some.
type Answer = Option<Receiver<Result<Vec<TextRow>, ClientError>>>;

struct ServerRows;

impl VTab for ServerRows {
    type InitData = Mutex<Answer>;
    type BindData = String;

    fn bind(bind: &BindInfo) -> Result<Self::BindData, Box<dyn Error>> {
        // SAFETY: this is what `register` has set, which DuckDB holds as long as the function.
        let client = unsafe { &*bind.get_extra_info::<Arc<Client>>() };
        let sql = bind.get_parameter(0).to_string();
        for column in client.columns(&sql)? {
            bind.add_result_column(&column, LogicalTypeHandle::from(LogicalTypeId::Varchar));
        }
        Ok(sql)
    }

    fn init(init: &InitInfo) -> Result<Self::InitData, Box<dyn Error>> {
        init.set_max_threads(1);
        Ok(Mutex::default())
    }

    fn func(info: &TableFunctionInfo<Self>, output: &mut DataChunkHandle) -> Result<(), Box<dyn Error>> {
        let mut answer = info.get_init_data().lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answer.get_or_insert_with(|| {
            // SAFETY: as in `bind`.
            let client = unsafe { &*info.get_extra_info::<Arc<Client>>() };
            client.answer(info.get_bind_data())
        });
        // An answer ends with no rows: one that breaks off is not taken for a short one.
        let rows = answer.recv()??;
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
