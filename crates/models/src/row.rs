//! Rows: where the values of a record go.

use std::borrow::Cow;

/// A value of a row. Text is borrowed from the line unless it had escapes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'l> {
    /// No value.
    Null,
    /// For a `BIGINT` column.
    Int(i64),
    /// For a `DOUBLE` column; always finite.
    Double(f64),
    /// For a `VARCHAR` column.
    Text(Cow<'l, str>),
    /// For a `TIMESTAMP` column: microseconds since 1970.
    Micros(i64),
}

/// A row that is filled, each column once, in any order. A column is its index in the model.
pub trait Row<'l> {
    /// No value.
    fn null(&mut self, column: usize);
    /// A value of a `BIGINT` column.
    fn int(&mut self, column: usize, value: i64);
    /// A value of a `TIMESTAMP` column, in microseconds since 1970.
    fn micros(&mut self, column: usize, value: i64);
    /// A value of a `DOUBLE` column.
    fn double(&mut self, column: usize, value: f64);
    /// A value of a `VARCHAR` column, or one of the texts of a column of few.
    fn text(&mut self, column: usize, value: Cow<'l, str>);
    /// The text with this index in the list of the column, which is of few texts.
    #[inline]
    fn one_of(&mut self, column: usize, index: usize, text: &'static str) {
        let _ = index;
        self.text(column, Cow::Borrowed(text));
    }
}

/// A row of values in memory. It has its columns already, and values for others are dropped.
impl<'l> Row<'l> for [Value<'l>] {
    #[inline]
    fn null(&mut self, column: usize) {
        set(self, column, Value::Null);
    }
    #[inline]
    fn int(&mut self, column: usize, value: i64) {
        set(self, column, Value::Int(value));
    }
    #[inline]
    fn micros(&mut self, column: usize, value: i64) {
        set(self, column, Value::Micros(value));
    }
    #[inline]
    fn double(&mut self, column: usize, value: f64) {
        set(self, column, Value::Double(value));
    }
    #[inline]
    fn text(&mut self, column: usize, value: Cow<'l, str>) {
        set(self, column, Value::Text(value));
    }
}

#[inline]
fn set<'l>(row: &mut [Value<'l>], column: usize, value: Value<'l>) {
    if let Some(slot) = row.get_mut(column) {
        *slot = value;
    }
}

/// Fills another row with the values of `row`.
pub(crate) fn copy<'l>(row: Vec<Value<'l>>, to: &mut (impl Row<'l> + ?Sized)) {
    for (column, value) in row.into_iter().enumerate() {
        match value {
            Value::Null => to.null(column),
            Value::Int(value) => to.int(column, value),
            Value::Micros(value) => to.micros(column, value),
            Value::Double(value) => to.double(column, value),
            Value::Text(value) => to.text(column, value),
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
    fn null(&mut self, _: usize) {}
    #[inline]
    fn int(&mut self, _: usize, _: i64) {}
    #[inline]
    fn micros(&mut self, column: usize, value: i64) {
        if column == self.column {
            self.micros = Some(value);
        }
    }
    #[inline]
    fn double(&mut self, _: usize, _: f64) {}
    #[inline]
    fn text(&mut self, _: usize, _: Cow<'l, str>) {}
    #[inline]
    fn one_of(&mut self, _: usize, _: usize, _: &'static str) {}
}
