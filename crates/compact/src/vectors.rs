//! Rows into DuckDB's vectors, straight from the decoder's values: the one place with `unsafe` writing.
//!
//! DuckDB's C interface would check, allocate or look up the vector for each value. The columns are looked up once per
//! chunk here; strings of up to twelve bytes (all names of kinds and units) lie in the vector itself.

use std::error::Error;
use std::marker::PhantomData;
use std::os::raw::c_char;
use std::ptr;

use duckdb::Connection;
use duckdb::core::{DataChunkHandle, LogicalTypeHandle};
use duckdb::ffi;
use layout::Hour;
use models::{ColumnType, Row, Value};

/// The columns of a chunk that is being filled.
pub(crate) struct Columns<'c> {
    fields: Vec<Column<'c>>,
    capacity: usize,
    /// Bytes of text that DuckDB keeps beside the vectors.
    text: usize,
    _chunk: PhantomData<&'c mut DataChunkHandle>,
}

struct Column<'m> {
    vector: ffi::duckdb_vector,
    data: Data<'m>,
    /// One bit for each row, set if it has a value; null until there is a row without.
    validity: *mut u64,
}

/// A vector's values by physical type.
#[derive(Clone, Copy)]
enum Data<'m> {
    Bool(*mut bool),
    Int16(*mut i16),
    Int32(*mut i32),
    Int(*mut i64),
    Int128(*mut i128),
    Double(*mut f64),
    Text(*mut ffi::duckdb_string_t),
    /// Indices in a list of texts.
    Code(*mut u8),
    /// One of few texts that are too many for a code of one byte.
    OneOf(*mut ffi::duckdb_string_t, &'m [String]),
    List(*mut ffi::duckdb_list_entry, &'m ColumnType),
}

/// The longest string that a `duckdb_string_t` holds itself.
const INLINE: usize = 12;

/// The type of a model's rows, as DuckDB knows it: a struct with a member for each column.
#[derive(Debug)]
pub(crate) struct RowType(LogicalTypeHandle);

// SAFETY: no thread changes a logical type; its members are copied out of it.
unsafe impl Send for RowType {}
// SAFETY: the same.
unsafe impl Sync for RowType {}

impl RowType {
    /// The type for rows with these columns. One of few texts becomes an enum: DuckDB writes its column as it writes text,
    /// but neither copies nor hashes a text for each row.
    pub(crate) fn new(connection: &Connection, columns: &[models::Column]) -> duckdb::Result<Self> {
        let name = |column: &models::Column| {
            let name = match &column.column_type {
                ColumnType::OneOf(texts) if has_codes(texts) => {
                    let texts: Vec<_> = texts.iter().map(|text| engine::literal(text)).collect();
                    format!("ENUM({})", texts.join(", "))
                }
                column_type => column_type.to_string(),
            };
            format!("{} {name}", engine::identifier(&column.name))
        };
        let columns: Vec<_> = columns.iter().map(name).collect();
        let mut statement = connection.prepare(&format!("SELECT CAST(NULL AS STRUCT({}))", columns.join(", ")))?;
        statement.execute([])?;
        Ok(Self(statement.column_logical_type(0)))
    }

    /// The type of a column.
    pub(crate) fn column(&self, index: usize) -> LogicalTypeHandle {
        self.0.child(index)
    }
}

/// Whether the texts of a column are so few that a code of one byte stands for each.
fn has_codes(texts: &[String]) -> bool {
    u8::try_from(texts.len()).is_ok()
}

impl<'m> Column<'m> {
    /// The column of a vector of this type.
    ///
    /// # Safety
    /// The vector is alive as long as the column, and of the logical type that `RowType` gave to the column.
    unsafe fn new(vector: ffi::duckdb_vector, column_type: &'m ColumnType) -> Self {
        // SAFETY: the physical type of the data follows from the logical type.
        let data = unsafe { ffi::duckdb_vector_get_data(vector) };
        let data = match column_type {
            ColumnType::Boolean => Data::Bool(data.cast()),
            ColumnType::Double => Data::Double(data.cast()),
            ColumnType::Decimal { precision: ..=4, .. } => Data::Int16(data.cast()),
            ColumnType::Date | ColumnType::Decimal { precision: ..=9, .. } => Data::Int32(data.cast()),
            ColumnType::BigInt
            | ColumnType::Timestamp
            | ColumnType::Time
            | ColumnType::Decimal { precision: ..=18, .. } => Data::Int(data.cast()),
            ColumnType::Decimal { .. } => Data::Int128(data.cast()),
            ColumnType::Varchar | ColumnType::Blob => Data::Text(data.cast()),
            ColumnType::OneOf(texts) if has_codes(texts) => Data::Code(data.cast()),
            ColumnType::OneOf(texts) => Data::OneOf(data.cast(), texts),
            ColumnType::List(element) => Data::List(data.cast(), element),
        };
        Self { vector, data, validity: ptr::null_mut() }
    }

    /// Writes a value. Returns it if it needs memory of its own ([`Column::write_long`]); an error if it is of another type.
    ///
    /// # Safety
    /// The row is below the vector's capacity.
    unsafe fn write<'l>(&mut self, row: usize, value: Value<'l>) -> Result<Option<Value<'l>>, ()> {
        // SAFETY: the row is below the capacity that the data has.
        unsafe {
            if let Value::Null = value {
                self.set_null(row);
                return Ok(None);
            }
            self.set_valid(row);
            match (self.data, value) {
                (Data::Int(data), Value::Int(value) | Value::Micros(value) | Value::TimeOfDay(value)) => {
                    data.add(row).write(value);
                }
                (Data::Double(data), Value::Double(value)) => data.add(row).write(value),
                (Data::Code(data), Value::OneOf(index)) => data.add(row).write(u8::try_from(index).map_err(drop)?),
                (Data::Text(data), Value::Text(text)) => match inline(text.as_bytes()) {
                    Some(string) => data.add(row).write(string),
                    None => return Ok(Some(Value::Text(text))),
                },
                (Data::Bool(data), Value::Bool(value)) => data.add(row).write(value),
                (Data::Int32(data), Value::Days(days)) => data.add(row).write(days),
                (Data::Int16(data), Value::Decimal(digits)) => data.add(row).write(digits.try_into().map_err(drop)?),
                (Data::Int32(data), Value::Decimal(digits)) => data.add(row).write(digits.try_into().map_err(drop)?),
                (Data::Int(data), Value::Decimal(digits)) => data.add(row).write(digits.try_into().map_err(drop)?),
                // DuckDB's 128 bits need not be aligned as Rust's are.
                (Data::Int128(data), Value::Decimal(digits)) => data.add(row).write_unaligned(digits),
                (Data::OneOf(data, texts), Value::OneOf(index)) => {
                    let text = texts.get(index as usize).ok_or(())?;
                    match inline(text.as_bytes()) {
                        Some(string) => data.add(row).write(string),
                        None => return Ok(Some(Value::OneOf(index))),
                    }
                }
                (Data::Text(_), value @ Value::Bytes(_)) | (Data::List(..), value @ Value::List(_)) => {
                    return Ok(Some(value));
                }
                _ => return Err(()),
            }
        }
        Ok(None)
    }

    /// # Safety
    /// The row is below the vector's capacity.
    #[inline]
    unsafe fn set_valid(&mut self, row: usize) {
        // An earlier try at this row may have left it without a value.
        if !self.validity.is_null() {
            // SAFETY: the mask has a bit for each row of the capacity, in words of 64.
            unsafe {
                let word = self.validity.add(row / 64);
                word.write(word.read() | 1 << (row % 64));
            }
        }
    }

    /// # Safety
    /// The row is below the vector's capacity.
    #[inline]
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

    /// Writes a value that needs memory of its own; returns how many bytes it takes, about. An error if it is of another
    /// type.
    ///
    /// # Safety
    /// The row is below the vector's capacity.
    unsafe fn write_long(&self, row: usize, value: &Value<'_>) -> Result<usize, ()> {
        let bytes = match (self.data, value) {
            (Data::Text(_), Value::Text(text)) => text.as_bytes(),
            (Data::Text(_), Value::Bytes(bytes)) => bytes,
            (Data::OneOf(_, texts), Value::OneOf(index)) => texts.get(*index as usize).ok_or(())?.as_bytes(),
            // SAFETY: the caller's.
            (Data::List(entries, element), Value::List(elements)) => unsafe {
                return self.write_list(entries.add(row), element, elements);
            },
            _ => return Err(()),
        };
        // SAFETY: the caller's; the function copies the bytes, which are valid UTF-8 where the vector holds text.
        unsafe {
            let (text, length) = (bytes.as_ptr().cast(), bytes.len() as ffi::idx_t);
            ffi::duckdb_vector_assign_string_element_len(self.vector, row as ffi::idx_t, text, length);
        }
        Ok(bytes.len())
    }

    /// Appends the elements of a list to the vector of all elements, and says at `entry` where they are.
    ///
    /// # Safety
    /// The vector is one of lists with elements of this type, and `entry` is in its data.
    unsafe fn write_list(
        &self,
        entry: *mut ffi::duckdb_list_entry,
        element: &ColumnType,
        elements: &[Value<'_>],
    ) -> Result<usize, ()> {
        let mut taken = 0;
        // SAFETY: there is room for all elements once it is reserved, which may move what the child vector has.
        unsafe {
            let offset = ffi::duckdb_list_vector_get_size(self.vector);
            let end = offset + elements.len() as ffi::idx_t;
            ffi::duckdb_list_vector_reserve(self.vector, end);
            let mut child = Column::new(ffi::duckdb_list_vector_get_child(self.vector), element);
            if let ColumnType::OneOf(texts) = element {
                // As an element it is a text.
                child.data = Data::OneOf(ffi::duckdb_vector_get_data(child.vector).cast(), texts);
            }
            child.validity = ffi::duckdb_vector_get_validity(child.vector);
            for (row, value) in (usize::try_from(offset).map_err(drop)?..).zip(elements) {
                taken += size_of::<ffi::duckdb_string_t>();
                if let Some(long) = child.write(row, value.clone())? {
                    taken += child.write_long(row, &long)?;
                }
            }
            ffi::duckdb_list_vector_set_size(self.vector, end);
            entry.write(ffi::duckdb_list_entry { offset, length: end - offset });
        }
        Ok(taken)
    }
}

impl<'c> Columns<'c> {
    /// The columns of `chunk`, which a table function with result columns of a [`RowType`] of `types` was given to fill.
    pub(crate) fn new(chunk: &'c mut DataChunkHandle, types: impl Iterator<Item = &'c ColumnType>) -> Self {
        let count = chunk.num_columns();
        // SAFETY: the chunk is alive for 'c and has a column of each of these indices.
        let columns = types.take(count).enumerate().map(|(index, column_type)| unsafe {
            Column::new(ffi::duckdb_data_chunk_get_vector(chunk.get_ptr(), index as ffi::idx_t), column_type)
        });
        let fields = columns.collect();
        // SAFETY: asks for a constant.
        let capacity = usize::try_from(unsafe { ffi::duckdb_vector_size() }).unwrap_or_default();
        Self { fields, capacity, text: 0, _chunk: PhantomData }
    }

    /// Whether there is no room for more than `rows` rows: DuckDB ends the process when it gets no memory for a text.
    pub(crate) fn is_full(&self, rows: usize) -> bool {
        const MOST_TEXT: usize = 4 << 20;
        rows >= self.capacity || self.text >= MOST_TEXT
    }

    /// The row behind `rows` others, to be filled; none if they are full.
    pub(crate) fn row<'l>(&mut self, rows: usize) -> Option<RowOf<'_, 'c, 'l>> {
        let full = self.is_full(rows);
        (!full).then_some(RowOf {
            fields: &mut self.fields,
            text: &mut self.text,
            row: rows,
            long: Vec::new(),
            misfit: false,
        })
    }
}

/// A row of a chunk, below the capacity that each of its vectors has.
pub(crate) struct RowOf<'r, 'c, 'l> {
    fields: &'r mut [Column<'c>],
    text: &'r mut usize,
    row: usize,
    /// Values that need memory of their own, each with its column: only an accepted row is worth that.
    long: Vec<(usize, Value<'l>)>,
    /// Some value was of another type than its column.
    misfit: bool,
}

impl RowOf<'_, '_, '_> {
    /// The decoder has accepted the row. Returns whether it belongs to `hour`, by the time in the column `placed_by`; if
    /// not, the next row takes its place. Fails if some value did not fit its column.
    #[inline]
    pub(crate) fn finish(self, placed_by: usize, hour: Hour) -> Result<bool, Box<dyn Error>> {
        const MISFIT: &str = "a value of another type than its column";
        let time = self.fields.get(placed_by).map(|column| &column.data);
        let (Some(Data::Int(times)), false) = (time, self.misfit) else { return Err(MISFIT.into()) };
        // SAFETY: the row is below the capacity, and has a value for the time by which it is placed.
        if !hour.contains(unsafe { times.add(self.row).read() }) {
            return Ok(false);
        }
        for (column, value) in &self.long {
            if let Some(column) = self.fields.get(*column) {
                // SAFETY: the row is below the capacity.
                *self.text += unsafe { column.write_long(self.row, value) }.map_err(|()| MISFIT)?;
            }
        }
        Ok(true)
    }
}

impl<'l> Row<'l> for RowOf<'_, '_, 'l> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "where the value's type is known, a few instructions are left")]
    fn set(&mut self, column: usize, value: Value<'l>) {
        if !self.long.is_empty() {
            // What an earlier try at this row left for the column is void.
            self.long.retain(|(other, _)| *other != column);
        }
        let (row, field) = (self.row, self.fields.get_mut(column));
        // SAFETY: the row is below the capacity.
        let is_done = unsafe {
            match (&value, field) {
                (Value::Null, Some(field)) => {
                    field.set_null(row);
                    true
                }
                (Value::Int(value) | Value::Micros(value), Some(field)) => match field.data {
                    Data::Int(data) => {
                        field.set_valid(row);
                        data.add(row).write(*value);
                        true
                    }
                    _ => false,
                },
                (Value::Double(value), Some(field)) => match field.data {
                    Data::Double(data) => {
                        field.set_valid(row);
                        data.add(row).write(*value);
                        true
                    }
                    _ => false,
                },
                (Value::OneOf(index @ ..256), Some(field)) => match field.data {
                    Data::Code(data) => {
                        field.set_valid(row);
                        data.add(row).write(index.to_le_bytes()[0]);
                        true
                    }
                    _ => false,
                },
                _ => false,
            }
        };
        if is_done {
            // None of these has anything to be dropped, which the compiler does not see.
            std::mem::forget(value);
        } else {
            self.set_any(column, value);
        }
    }
}

impl<'l> RowOf<'_, '_, 'l> {
    #[inline(never)]
    fn set_any(&mut self, column: usize, value: Value<'l>) {
        // SAFETY: the row is below the capacity.
        match self.fields.get_mut(column).ok_or(()).and_then(|column| unsafe { column.write(self.row, value) }) {
            Ok(None) => {}
            Ok(Some(long)) => self.long.push((column, long)),
            Err(()) => self.misfit = true,
        }
    }
}

/// `text` as a string that needs no memory of its own, if it is short enough.
fn inline(bytes: &[u8]) -> Option<ffi::duckdb_string_t> {
    let mut inlined: [c_char; INLINE] = [0; INLINE];
    for (to, from) in inlined.get_mut(..bytes.len())?.iter_mut().zip(bytes) {
        *to = c_char::from_ne_bytes([*from]);
    }
    let length = u32::try_from(bytes.len()).ok()?;
    let inlined = ffi::duckdb_string_t__bindgen_ty_1__bindgen_ty_2 { length, inlined };
    Some(ffi::duckdb_string_t { value: ffi::duckdb_string_t__bindgen_ty_1 { inlined } })
}
