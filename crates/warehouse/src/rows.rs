//! `warehouse_rows(sql)`: a table function of DuckDB that yields what a warehouse answers over a connection of our own. The
//! query runs on the connection of the load, and sees what its transaction has changed. Its rows are taken from the warehouse
//! as DuckDB asks for them, so that there may be more of them than memory holds. One statement reads one such answer at a
//! time.

use std::error::Error;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use duckdb::Connection;
use duckdb::core::{DataChunkHandle, FlatVector, Inserter as _, LogicalTypeHandle, LogicalTypeId};
use duckdb::vtab::{BindInfo, InitInfo, TableFunctionInfo, VTab};
use engine::literal;

use crate::column::{SqlType, TableColumn};

/// A warehouse that answers.
pub(crate) trait Answers: Send + Sync {
    /// The columns of a query, which is not run for that. Those that come as numbers are `BigInt` or `Double`, times
    /// `Timestamp`, days `Date`; all others are `Text`. (A truth is, so that 2 is not taken for one.)
    fn columns(&self, sql: &str) -> anyhow::Result<Vec<TableColumn>>;

    /// Hands over the rows of a query, as long as somebody takes them. The connection is busy until then.
    fn answer(&self, sql: &str, rows: &mut Rows) -> anyhow::Result<()>;
}

/// A value as it comes from the warehouse; a time is in microseconds.
pub(crate) type Cell = duckdb::types::Value;

/// Puts a value into row `at` of a column of `sql_type`.
fn put(vector: &mut FlatVector<'_>, at: usize, sql_type: SqlType, cell: &Cell) -> anyhow::Result<()> {
    match (sql_type, cell) {
        (_, Cell::Null) => vector.set_null(at),
        (SqlType::BigInt, Cell::BigInt(bits)) | (SqlType::Timestamp, Cell::Timestamp(_, bits)) => {
            put_bits(vector, at, *bits);
        }
        (SqlType::Double, Cell::Double(value)) => put_bits(vector, at, *value),
        (SqlType::Date, Cell::Date32(days)) => put_bits(vector, at, *days),
        (SqlType::Text, Cell::Text(text)) => vector.insert(at, text.as_str()),
        (SqlType::Text, Cell::BigInt(value)) => vector.insert(at, value.to_string().as_str()),
        (SqlType::Text, Cell::Double(value)) => vector.insert(at, value.to_string().as_str()),
        (expected, found) => {
            anyhow::bail!("Conversion Error: the warehouse has {found:?} where it is to have {expected}")
        }
    }
    Ok(())
}

fn put_bits<T>(vector: &mut FlatVector<'_>, at: usize, bits: T) {
    // SAFETY: `put` has matched the type of the column, whose values DuckDB holds as `T`.
    if let Some(place) = unsafe { vector.as_mut_slice::<T>() }.get_mut(at) {
        *place = bits;
    }
}

/// Some rows of an answer.
type Chunk = Vec<Vec<Cell>>;

/// Where the rows of an answer go.
#[derive(Debug)]
pub(crate) struct Rows {
    chunk: Chunk,
    sender: SyncSender<anyhow::Result<Chunk>>,
}

impl Rows {
    /// Adds a row; says whether more are wanted.
    pub(crate) fn push(&mut self, row: Vec<Cell>) -> bool {
        self.chunk.push(row);
        self.chunk.len() < CHUNK || self.send()
    }

    fn send(&mut self) -> bool {
        self.sender.send(Ok(std::mem::take(&mut self.chunk))).is_ok()
    }
}

/// Makes what `warehouse` answers readable for the queries of `connection`.
pub(crate) fn register(connection: &Connection, warehouse: &Arc<impl Answers + 'static>) -> duckdb::Result<()> {
    let warehouse = Arc::clone(warehouse) as Arc<dyn Answers>;
    connection.register_table_function_with_extra_info::<WarehouseRows, _>("warehouse_rows", &warehouse)
}

/// What the warehouse answers to `sql`, as a table expression.
pub(crate) fn table(sql: &str) -> String {
    format!("warehouse_rows({})", literal(sql))
}

/// How many rows are handed over at a time: what DuckDB takes.
const CHUNK: usize = 2048;

struct Query {
    sql: String,
    types: Vec<SqlType>,
}

struct WarehouseRows;

impl VTab for WarehouseRows {
    /// The rows of an answer, from when DuckDB first asks for some; none at their end.
    type InitData = Mutex<Option<Receiver<anyhow::Result<Chunk>>>>;
    type BindData = Query;

    fn bind(bind: &BindInfo) -> Result<Self::BindData, Box<dyn Error>> {
        // SAFETY: this is what `register` has set, which DuckDB holds as long as the function.
        let warehouse = unsafe { &*bind.get_extra_info::<Arc<dyn Answers>>() };
        let sql = bind.get_parameter(0).to_string();
        let columns = warehouse.columns(&sql)?;
        for column in &columns {
            let type_id = match column.sql_type {
                SqlType::BigInt => LogicalTypeId::Bigint,
                SqlType::Double => LogicalTypeId::Double,
                SqlType::Timestamp => LogicalTypeId::Timestamp,
                SqlType::Date => LogicalTypeId::Date,
                _ => LogicalTypeId::Varchar,
            };
            bind.add_result_column(&column.name, LogicalTypeHandle::from(type_id));
        }
        Ok(Query { sql, types: columns.iter().map(|column| column.sql_type).collect() })
    }

    fn init(init: &InitInfo) -> Result<Self::InitData, Box<dyn Error>> {
        init.set_max_threads(1);
        Ok(Mutex::default())
    }

    fn func(info: &TableFunctionInfo<Self>, output: &mut DataChunkHandle) -> Result<(), Box<dyn Error>> {
        let mut answer = info.get_init_data().lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answer.get_or_insert_with(|| {
            // SAFETY: as in `bind`.
            let warehouse = unsafe { &*info.get_extra_info::<Arc<dyn Answers>>() };
            ask(Arc::clone(warehouse), info.get_bind_data().sql.clone())
        });
        // An answer ends with no rows: one that breaks off is not taken for a short one.
        let chunk = answer.recv()??;
        for (column, sql_type) in info.get_bind_data().types.iter().enumerate() {
            let mut vector = output.flat_vector(column);
            for (number, row) in chunk.iter().enumerate() {
                put(&mut vector, number, *sql_type, row.get(column).ok_or("a row has too few values")?)?;
            }
        }
        output.set_len(chunk.len());
        Ok(())
    }

    fn parameters() -> Option<Vec<LogicalTypeHandle>> {
        Some(vec![LogicalTypeHandle::from(LogicalTypeId::Varchar)])
    }
}

/// Runs a query on a thread of its own, which waits until its rows are taken, and ends when nobody does.
fn ask(warehouse: Arc<dyn Answers>, sql: String) -> Receiver<anyhow::Result<Chunk>> {
    let (sender, answer) = mpsc::sync_channel(2);
    std::thread::spawn(move || {
        let mut rows = Rows { chunk: Vec::new(), sender };
        match warehouse.answer(&sql, &mut rows) {
            // Nobody receives them where the statement has failed for another reason.
            Ok(()) => drop(rows.send() && rows.send()),
            Err(error) => drop(rows.sender.send(Err(error))),
        }
    });
    answer
}
