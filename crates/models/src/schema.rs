//! The description of a model: fields of a message and columns of a row.

use std::fmt::Write as _;

/// A stream's messages described: what is required of them and where each value goes.
#[derive(Debug)]
pub struct Model {
    /// The stream's name.
    pub name: &'static str,
    /// The columns of a row, in the order of the Parquet file.
    pub columns: &'static [Column],
    /// The fields a message must have. It may have others, which are ignored.
    pub message: &'static [Field],
    /// The fields of a record in raw/: the message's own, or those of the envelope around it.
    pub record: &'static [Field],
    /// The column with the event time, if the message has one.
    pub event_time: Option<usize>,
}

impl Model {
    /// The column whose time says to which hour a row belongs: the event time, or else the time of arrival, which is the
    /// first timestamp. Every model has such a column, and every row has a value in it.
    pub fn placed_by(&self) -> usize {
        let is_timestamp = |column: &Column| column.column_type == ColumnType::Timestamp;
        self.event_time.or_else(|| self.columns.iter().position(is_timestamp)).unwrap_or_default()
    }

    /// The name of that column.
    pub fn time_column(&self) -> Option<&'static str> {
        self.columns.get(self.placed_by()).map(|column| column.name)
    }
}

/// One column of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name in Parquet and SQL.
    pub name: &'static str,
    /// Type in Parquet and SQL.
    pub column_type: ColumnType,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// 64-bit signed integer.
    BigInt,
    /// 64-bit float.
    Double,
    /// UTF-8 text.
    Varchar,
    /// UTF-8 text, one of these.
    OneOf(&'static [&'static str]),
    /// Microseconds since 1970-01-01T00:00:00 UTC, without a zone.
    Timestamp,
}

impl ColumnType {
    /// The type's name in SQL.
    pub fn sql(self) -> &'static str {
        match self {
            Self::BigInt => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Varchar | Self::OneOf(_) => "VARCHAR",
            Self::Timestamp => "TIMESTAMP",
        }
    }
}

/// One required member of a JSON object.
#[derive(Debug)]
pub struct Field {
    /// The member's key.
    pub key: &'static str,
    /// What its value must be.
    pub kind: Kind,
}

/// What a value must be, and the index of the column it goes to.
#[derive(Debug)]
pub enum Kind {
    /// An object with at least these members.
    Object(&'static [Field]),
    /// An integer of 64 bits, written as one: `1.0`, `"1"` and `true` are not.
    Integer(usize),
    /// An integer that counts seconds since 1970, to a timestamp column.
    EpochSeconds(usize),
    /// An integer that counts microseconds since 1970, to a timestamp column.
    EpochMicros(usize),
    /// A number to the one column, or a string to the other.
    NumberOrText {
        /// Column for a number.
        number: usize,
        /// Column for a string.
        text: usize,
    },
    /// One of the listed strings.
    OneOf(&'static [&'static str], usize),
}

impl Kind {
    /// What the kind expects, in words, for a rejection.
    pub(crate) fn expectation(&self) -> String {
        match self {
            Self::Object(_) => "an object".into(),
            Self::Integer(_) => "an integer".into(),
            Self::EpochSeconds(_) => "an integer (seconds since 1970)".into(),
            Self::EpochMicros(_) => "an integer (microseconds since 1970)".into(),
            Self::NumberOrText { .. } => "a number or a string".into(),
            Self::OneOf(allowed, _) => {
                let mut words = String::from("one of");
                for (i, value) in allowed.iter().enumerate() {
                    let _ = write!(words, "{} {value:?}", if i == 0 { "" } else { "," });
                }
                words
            }
        }
    }
}
