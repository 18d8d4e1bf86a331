//! `warehouse_rows(sql)`: a table function of DuckDB that yields what a warehouse answers over a connection of our own. The
//! query runs on the connection of the load, and sees what its transaction has changed. Its rows are taken from the warehouse
//! as DuckDB asks for them, so that there may be more of them than memory holds. One statement reads one such answer at a
//! time.

use std::borrow::Cow;
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

/// A value as it comes from the warehouse.
#[derive(Debug)]
pub(crate) enum Cell<'c> {
    Null,
    Integer(i64),
    Double(f64),
    Text(Cow<'c, str>),
    /// Microseconds since 1970.
    Timestamp(i64),
    /// Days since 1970.
    Date(i32),
}

/// The values of a column, as many as DuckDB takes at a time.
#[derive(Debug)]
struct Values {
    sql_type: SqlType,
    /// The bits of each value; of a text where it ends in `text`; of a NULL anything.
    bits: Vec<u64>,
    nulls: Vec<usize>,
    text: String,
}

impl Values {
    fn push(&mut self, cell: Cell<'_>) -> anyhow::Result<()> {
        let bits = match (self.sql_type, cell) {
            (SqlType::BigInt, Cell::Integer(value)) | (SqlType::Timestamp, Cell::Timestamp(value)) => {
                value.cast_unsigned()
            }
            (SqlType::Double, Cell::Double(value)) => value.to_bits(),
            (SqlType::Date, Cell::Date(days)) => days.cast_unsigned().into(),
            (_, Cell::Null) => {
                self.nulls.push(self.bits.len());
                self.text.len() as u64
            }
            (SqlType::Text, Cell::Text(text)) => self.append(&text),
            (SqlType::Text, Cell::Integer(value)) => self.append(&value.to_string()),
            (SqlType::Text, Cell::Double(value)) => self.append(&value.to_string()),
            (expected, found) => {
                anyhow::bail!("Conversion Error: the warehouse has {found:?} where it is to have {expected}")
            }
        };
        self.bits.push(bits);
        Ok(())
    }

    /// Adds a text; returns where it ends.
    fn append(&mut self, text: &str) -> u64 {
        self.text.push_str(text);
        self.text.len() as u64
    }

    fn fill(&self, vector: &mut FlatVector<'_>) {
        match self.sql_type {
            SqlType::Text => {
                let mut begin = 0;
                for (number, end) in self.bits.iter().enumerate() {
                    let end = usize::try_from(*end).unwrap_or_default();
                    vector.insert(number, self.text.get(begin..end).unwrap_or_default());
                    begin = end;
                }
            }
            SqlType::Date => {
                let days: Vec<_> = self.bits.iter().map(|bits| u32::try_from(*bits).unwrap_or_default()).collect();
                // SAFETY: a day has 32 bits.
                unsafe { vector.copy::<u32>(&days) };
            }
            // SAFETY: each of the other types has 64 bits.
            _ => unsafe { vector.copy::<u64>(&self.bits) },
        }
        self.nulls.iter().for_each(|number| vector.set_null(*number));
    }
}

/// Some rows, column by column.
type Chunk = Vec<Values>;

fn empty(types: &[SqlType]) -> Chunk {
    let values = |sql_type: &SqlType| Values {
        sql_type: *sql_type,
        bits: Vec::with_capacity(CHUNK),
        nulls: Vec::new(),
        text: String::new(),
    };
    types.iter().map(values).collect()
}

/// Where the rows of an answer go.
#[derive(Debug)]
pub(crate) struct Rows {
    types: Vec<SqlType>,
    chunk: Chunk,
    sender: SyncSender<anyhow::Result<Chunk>>,
}

impl Rows {
    /// Adds a row; says whether more are wanted.
    pub(crate) fn push<'c>(&mut self, cells: impl Iterator<Item = anyhow::Result<Cell<'c>>>) -> anyhow::Result<bool> {
        for (column, cell) in self.chunk.iter_mut().zip(cells) {
            column.push(cell?)?;
        }
        let is_full = self.chunk.first().is_some_and(|column| column.bits.len() == CHUNK);
        Ok(!is_full || self.send())
    }

    fn send(&mut self) -> bool {
        let chunk = std::mem::replace(&mut self.chunk, empty(&self.types));
        self.sender.send(Ok(chunk)).is_ok()
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

/// The rows of an answer, from when DuckDB first asks for some; none at their end.
type Answer = Option<Receiver<anyhow::Result<Chunk>>>;

struct Query {
    sql: String,
    types: Vec<SqlType>,
}

struct WarehouseRows;

impl VTab for WarehouseRows {
    type InitData = Mutex<Answer>;
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
            let Query { sql, types } = info.get_bind_data();
            ask(Arc::clone(warehouse), sql.clone(), types.clone())
        });
        // An answer ends with no rows: one that breaks off is not taken for a short one.
        let chunk = answer.recv()??;
        for (column, values) in chunk.iter().enumerate() {
            values.fill(&mut output.flat_vector(column));
        }
        output.set_len(chunk.first().map_or(0, |column| column.bits.len()));
        Ok(())
    }

    fn parameters() -> Option<Vec<LogicalTypeHandle>> {
        Some(vec![LogicalTypeHandle::from(LogicalTypeId::Varchar)])
    }
}

/// Runs a query on a thread of its own, which waits until its rows are taken, and ends when nobody does.
fn ask(warehouse: Arc<dyn Answers>, sql: String, types: Vec<SqlType>) -> Receiver<anyhow::Result<Chunk>> {
    let (sender, answer) = mpsc::sync_channel(2);
    std::thread::spawn(move || {
        let mut rows = Rows { chunk: empty(&types), types, sender };
        match warehouse.answer(&sql, &mut rows) {
            // Nobody receives them where the statement has failed for another reason.
            Ok(()) => drop(rows.send() && rows.send()),
            Err(error) => drop(rows.sender.send(Err(error))),
        }
    });
    answer
}
