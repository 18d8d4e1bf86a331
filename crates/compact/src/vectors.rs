//! Rows into DuckDB's vectors, straight from the decoder's values: the one place with `unsafe` writing.
//!
//! DuckDB's C interface would check, allocate or look up the vector for each value. The columns are looked up once per
//! chunk here; strings of up to twelve bytes (all names of kinds and units) lie in the vector itself.

use std::error::Error;
use std::marker::PhantomData;
use std::os::raw::c_char;
use std::ptr;

use duckdb::core::{DataChunkHandle, LogicalTypeHandle, LogicalTypeId};
use duckdb::ffi;
use models::{ColumnType, Value};

/// The columns of a chunk that is being filled.
pub(crate) struct Columns<'c> {
    fields: Vec<Column>,
    capacity: usize,
    _chunk: PhantomData<&'c mut DataChunkHandle>,
}

struct Column {
    vector: ffi::duckdb_vector,
    data: Data,
    /// One bit for each row, set if it has a value; null until there is a row without.
    validity: *mut u64,
}

/// A vector's values by physical type.
enum Data {
    Int(*mut i64),
    Double(*mut f64),
    Text(*mut ffi::duckdb_string_t),
}

/// The longest string that a `duckdb_string_t` holds itself.
const INLINE: usize = 12;

/// DuckDB's name for a column's type.
pub(crate) fn logical_type(column: ColumnType) -> LogicalTypeHandle {
    LogicalTypeHandle::from(match column {
        ColumnType::BigInt => LogicalTypeId::Bigint,
        ColumnType::Double => LogicalTypeId::Double,
        ColumnType::Varchar => LogicalTypeId::Varchar,
        ColumnType::Timestamp => LogicalTypeId::Timestamp,
    })
}

impl<'c> Columns<'c> {
    /// The columns of `chunk`, which a table function with result columns of `types` was given to fill.
    pub(crate) fn new(chunk: &'c mut DataChunkHandle, types: impl Iterator<Item = ColumnType>) -> Self {
        let count = chunk.num_columns();
        let columns = types.take(count).enumerate().map(|(index, column_type)| {
            // SAFETY: the chunk is alive for 'c and has a column of that index. The physical type of its data follows
            // from the logical type that `logical_type` gave to the result column.
            unsafe {
                let vector = ffi::duckdb_data_chunk_get_vector(chunk.get_ptr(), index as ffi::idx_t);
                let data = ffi::duckdb_vector_get_data(vector);
                let data = match column_type {
                    ColumnType::BigInt | ColumnType::Timestamp => Data::Int(data.cast()),
                    ColumnType::Double => Data::Double(data.cast()),
                    ColumnType::Varchar => Data::Text(data.cast()),
                };
                Column { vector, data, validity: ptr::null_mut() }
            }
        });
        let fields = columns.collect();
        // SAFETY: asks for a constant.
        let capacity = usize::try_from(unsafe { ffi::duckdb_vector_size() }).unwrap_or_default();
        Self { fields, capacity, _chunk: PhantomData }
    }

    /// How many rows there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Sets a row, one value for each column.
    pub(crate) fn set(&mut self, row: usize, values: &[Value<'_>]) -> Result<(), Box<dyn Error>> {
        if row >= self.capacity || values.len() != self.fields.len() {
            return Err("a row that does not fit the chunk".into());
        }
        for (column, value) in self.fields.iter_mut().zip(values) {
            // SAFETY: the row is below the capacity that each vector of a chunk has, as was just made sure.
            unsafe {
                match (&column.data, value) {
                    (Data::Int(data), Value::Int(value) | Value::Micros(value)) => data.add(row).write(*value),
                    (Data::Double(data), Value::Double(value)) => data.add(row).write(*value),
                    (Data::Text(data), Value::Text(text)) => match inline(text) {
                        Some(string) => data.add(row).write(string),
                        None => column.assign(row, text),
                    },
                    (_, Value::Null) => column.set_null(row),
                    (_, value) => return Err(format!("a value of another type than its column: {value:?}").into()),
                }
            }
        }
        Ok(())
    }
}

impl Column {
    /// # Safety
    /// `row` is below the vector's capacity, and the vector holds strings.
    unsafe fn assign(&self, row: usize, text: &str) {
        // SAFETY: the caller's; the function copies the bytes, which are valid UTF-8.
        unsafe {
            ffi::duckdb_vector_assign_string_element_len(
                self.vector,
                row as ffi::idx_t,
                text.as_ptr().cast(),
                text.len() as ffi::idx_t,
            );
        }
    }

    /// # Safety
    /// `row` is below the vector's capacity.
    unsafe fn set_null(&mut self, row: usize) {
        // SAFETY: once made writable, the mask has a bit for each row of the capacity, in words of 64.
        unsafe {
            if self.validity.is_null() {
                ffi::duckdb_vector_ensure_validity_writable(self.vector);
                self.validity = ffi::duckdb_vector_get_validity(self.vector);
            }
            let word = self.validity.add(row / 64);
            word.write(word.read() & !(1 << (row % 64)));
        }
    }
}

/// `text` as a string that needs no memory of its own, if it is short enough.
fn inline(text: &str) -> Option<ffi::duckdb_string_t> {
    let mut inlined: [c_char; INLINE] = [0; INLINE];
    let bytes = text.as_bytes();
    for (to, from) in inlined.get_mut(..bytes.len())?.iter_mut().zip(bytes) {
        *to = c_char::from_ne_bytes([*from]);
    }
    let length = u32::try_from(bytes.len()).ok()?;
    let inlined = ffi::duckdb_string_t__bindgen_ty_1__bindgen_ty_2 { length, inlined };
    Some(ffi::duckdb_string_t { value: ffi::duckdb_string_t__bindgen_ty_1 { inlined } })
}
