//! Rows: where the values of a record go.

use std::borrow::Cow;

/// A value of a row. Text is borrowed from the line unless it had escapes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'l> {
    /// No value.
    Null,
    /// For a `BOOLEAN` column.
    Bool(bool),
    /// For a `BIGINT` column.
    Int(i64),
    /// For a `DOUBLE` column; always finite.
    Double(f64),
    /// For a `DECIMAL` column: all digits as a whole number.
    Decimal(i128),
    /// For a `VARCHAR` column.
    Text(Cow<'l, str>),
    /// For a column of few texts: the index of one.
    OneOf(u32),
    /// For a `BLOB` column.
    Bytes(Vec<u8>),
    /// For a `TIMESTAMP` column: microseconds since 1970.
    Micros(i64),
    /// For a `DATE` column: days since 1970-01-01.
    Days(i32),
    /// For a `TIME` column: microseconds since midnight.
    TimeOfDay(i64),
    /// For a column of lists.
    List(Vec<Value<'l>>),
}

/// A row that is filled, in any order. A column is its index in the model.
pub trait Row<'l> {
    /// Gives a column its value, which is of the column's type. What was set before is void.
    fn set(&mut self, column: usize, value: Value<'l>);
}

/// A row of values in memory. It has its columns already, and values for others are dropped.
impl<'l> Row<'l> for [Value<'l>] {
    #[inline]
    fn set(&mut self, column: usize, value: Value<'l>) {
        if let Some(slot) = self.get_mut(column) {
            *slot = value;
        }
    }
}

/// A row of which only the time in one column is kept.
pub(crate) struct EventTimeOnly {
    column: usize,
    pub(crate) micros: Option<i64>,
}

impl EventTimeOnly {
    pub(crate) fn new(column: Option<usize>) -> Self {
        Self { column: column.unwrap_or(usize::MAX), micros: None }
    }
}

impl<'l> Row<'l> for EventTimeOnly {
    #[inline]
    fn set(&mut self, column: usize, value: Value<'l>) {
        if let Value::Micros(micros) = value
            && column == self.column
        {
            self.micros = Some(micros);
        }
    }
}
