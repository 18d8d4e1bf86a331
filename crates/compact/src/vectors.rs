//! Rows into DuckDB's vectors, straight from the decoder's values: the one place with `unsafe` writing.
//!
//! DuckDB's C interface would check, allocate or look up the vector for each value. The columns are looked up once per
//! chunk here; strings of up to twelve bytes (all names of kinds and units) lie in the vector itself.

use std::borrow::Cow;
use std::error::Error;
use std::marker::PhantomData;
use std::os::raw::c_char;
use std::ptr;

use duckdb::Connection;
use duckdb::core::{DataChunkHandle, LogicalTypeHandle};
use duckdb::ffi;
use layout::Hour;
use models::{ColumnType, Row};

/// The columns of a chunk that is being filled.
pub(crate) struct Columns<'c> {
    fields: Vec<Column>,
    capacity: usize,
    /// Bytes of text that DuckDB keeps beside the vectors.
    text: usize,
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
    /// Indices in a list of texts.
    Code(*mut u8, &'static [&'static str]),
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
            let quoted = |texts: &[&str]| texts.iter().map(|text| engine::literal(text)).collect::<Vec<_>>().join(", ");
            let name = match codes(column.column_type) {
                Some(texts) => format!("ENUM({})", quoted(texts)),
                None => column.column_type.sql().to_owned(),
            };
            format!("{} {name}", engine::identifier(column.name))
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

/// The texts of a column whose values are codes of one byte.
fn codes(column_type: ColumnType) -> Option<&'static [&'static str]> {
    match column_type {
        ColumnType::OneOf(texts) if u8::try_from(texts.len()).is_ok() => Some(texts),
        _ => None,
    }
}

impl<'c> Columns<'c> {
    /// The columns of `chunk`, which a table function with result columns of a [`RowType`] of `types` was given to fill.
    pub(crate) fn new(chunk: &'c mut DataChunkHandle, types: impl Iterator<Item = ColumnType>) -> Self {
        let count = chunk.num_columns();
        let columns = types.take(count).enumerate().map(|(index, column_type)| {
            // SAFETY: the chunk is alive for 'c and has a column of that index. The physical type of its data follows
            // from the logical type that `RowType` gave to the result column.
            unsafe {
                let vector = ffi::duckdb_data_chunk_get_vector(chunk.get_ptr(), index as ffi::idx_t);
                let data = ffi::duckdb_vector_get_data(vector);
                let data = match (column_type, codes(column_type)) {
                    (_, Some(texts)) => Data::Code(data.cast(), texts),
                    (ColumnType::BigInt | ColumnType::Timestamp, _) => Data::Int(data.cast()),
                    (ColumnType::Double, _) => Data::Double(data.cast()),
                    (ColumnType::Varchar | ColumnType::OneOf(_), _) => Data::Text(data.cast()),
                };
                Column { vector, data, validity: ptr::null_mut() }
            }
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
    pub(crate) fn row<'l>(&mut self, rows: usize) -> Option<RowOf<'_, 'l>> {
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
pub(crate) struct RowOf<'c, 'l> {
    fields: &'c mut [Column],
    text: &'c mut usize,
    row: usize,
    /// Texts that need memory of their own, each with its column: only an accepted row is worth that.
    long: Vec<(usize, Cow<'l, str>)>,
    /// Some value was of another type than its column.
    misfit: bool,
}

impl RowOf<'_, '_> {
    /// The decoder has accepted the row. Returns whether it belongs to `hour`, by the time in the column `placed_by`; if
    /// not, the next row takes its place. Fails if some value did not fit its column.
    #[inline]
    pub(crate) fn finish(self, placed_by: usize, hour: Hour) -> Result<bool, Box<dyn Error>> {
        let time = self.fields.get(placed_by).map(|column| &column.data);
        let (Some(Data::Int(times)), false) = (time, self.misfit) else {
            return Err("a value of another type than its column".into());
        };
        // SAFETY: the row is below the capacity, and has a value for the time by which it is placed.
        if !hour.contains(unsafe { times.add(self.row).read() }) {
            return Ok(false);
        }
        for (column, text) in &self.long {
            *self.text += text.len();
            if let Some(Column { vector, .. }) = self.fields.get(*column) {
                let (row, bytes, length) = (self.row as ffi::idx_t, text.as_ptr().cast(), text.len() as ffi::idx_t);
                // SAFETY: the row is below the capacity, and only the text of a column of texts is kept for later. The
                // function copies the bytes, which are valid UTF-8.
                unsafe { ffi::duckdb_vector_assign_string_element_len(*vector, row, bytes, length) };
            }
        }
        Ok(true)
    }

    /// What an earlier try at this row left for `column` is void.
    #[inline]
    fn forget(&mut self, column: usize) {
        if !self.long.is_empty() {
            self.long.retain(|(other, _)| *other != column);
        }
    }

    /// Has `write` write the value of a column; none is said to be a misfit.
    #[inline]
    fn set(&mut self, column: usize, write: impl FnOnce(&Column, usize) -> Option<()>) {
        let row = self.row;
        let done = self.fields.get(column).and_then(|column| {
            // An earlier try at this row may have left it without a value.
            if !column.validity.is_null() {
                // SAFETY: the mask has a bit for each row of the capacity, in words of 64.
                unsafe {
                    let word = column.validity.add(row / 64);
                    word.write(word.read() | 1 << (row % 64));
                }
            }
            write(column, row)
        });
        self.misfit |= done.is_none();
    }
}

impl<'l> Row<'l> for RowOf<'_, 'l> {
    #[inline]
    fn null(&mut self, column: usize) {
        self.forget(column);
        let Some(Column { vector, validity, .. }) = self.fields.get_mut(column) else { return };
        // SAFETY: once made writable, the mask has a bit for each row of the capacity, in words of 64.
        unsafe {
            if validity.is_null() {
                ffi::duckdb_vector_ensure_validity_writable(*vector);
                *validity = ffi::duckdb_vector_get_validity(*vector);
            }
            let word = validity.add(self.row / 64);
            word.write(word.read() & !(1 << (self.row % 64)));
        }
    }

    #[inline]
    fn int(&mut self, column: usize, value: i64) {
        self.set(column, |column, row| {
            let Data::Int(data) = column.data else { return None };
            // SAFETY: the row is below the capacity.
            unsafe { data.add(row).write(value) };
            Some(())
        });
    }

    #[inline]
    fn micros(&mut self, column: usize, value: i64) {
        self.int(column, value);
    }

    #[inline]
    fn double(&mut self, column: usize, value: f64) {
        self.set(column, |column, row| {
            let Data::Double(data) = column.data else { return None };
            // SAFETY: the row is below the capacity.
            unsafe { data.add(row).write(value) };
            Some(())
        });
    }

    fn text(&mut self, column: usize, value: Cow<'l, str>) {
        self.forget(column);
        let mut long = false;
        self.set(column, |column, row| {
            // SAFETY: the row is below the capacity.
            unsafe {
                match column.data {
                    Data::Text(data) => match inline(&value) {
                        Some(string) => data.add(row).write(string),
                        None => long = true,
                    },
                    Data::Code(data, texts) => {
                        let code = texts.iter().position(|text| *text == value)?;
                        data.add(row).write(u8::try_from(code).ok()?);
                    }
                    _ => return None,
                }
            }
            Some(())
        });
        if long {
            self.long.push((column, value));
        }
    }

    #[inline]
    fn one_of(&mut self, column: usize, index: usize, text: &'static str) {
        if !matches!(self.fields.get(column), Some(Column { data: Data::Code(..), .. })) {
            return self.text(column, Cow::Borrowed(text));
        }
        self.set(column, |column, row| {
            let Data::Code(data, texts) = column.data else { return None };
            let code = u8::try_from(index).ok().filter(|_| index < texts.len())?;
            // SAFETY: the row is below the capacity.
            unsafe { data.add(row).write(code) };
            Some(())
        });
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
