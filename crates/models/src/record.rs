//! Records: the lines of raw/.
//!
//! A message is kept as it was sent. What is known from outside of it stands in an envelope around it:
//! `{"arrival_time_us":<microseconds since 1970>,"message":<as sent>}`. Of a message that gives several rows each row is a
//! record of its own, an object with a member for each column.

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime};

use crate::decimal;
use crate::leaf::{BytesFormat, Kind, Leaf};
use crate::row::Value;
use crate::schema::{Column, ColumnType, Member, Meta, Model, Node, Object, Step, Variant, Variants, When};
use crate::time::{DateFormat, TimeFormat, TimestampFormat, Unit};

/// What is known of a message from outside of it.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'o> {
    /// When it arrived, in microseconds since 1970.
    pub arrival_us: i64,
    /// Who sent it, if it came over a network.
    pub source: Option<(IpAddr, u16)>,
    /// The address that it was sent to, as the program was told it; empty for standard input.
    pub listener: &'o str,
}

impl Origin<'_> {
    fn value(&self, meta: Meta) -> Value<'static> {
        match meta {
            Meta::ArrivalTime => Value::Micros(self.arrival_us),
            Meta::SourceAddress => self.source.map_or(Value::Null, |(ip, _)| Value::Text(ip.to_string().into())),
            Meta::SourcePort => self.source.map_or(Value::Null, |(_, port)| Value::Int(port.into())),
            Meta::Listener => Value::Text(self.listener.to_owned().into()),
        }
    }
}

impl Model {
    /// Writes what stands before a message that is kept as it was sent; it ends with a `}`. Nothing for a model that asks for
    /// nothing from outside of its messages.
    pub fn begin_envelope(&self, origin: &Origin<'_>, record: &mut Vec<u8>) {
        record.push(b'{');
        for (meta, _) in &self.meta {
            write_json(meta.key(), record);
            record.push(b':');
            match origin.value(*meta) {
                // Writing to memory cannot fail.
                Value::Micros(number) | Value::Int(number) => drop(write!(record, "{number}")),
                Value::Text(text) => write_json(&text, record),
                _ => record.extend_from_slice(b"null"),
            }
            record.push(b',');
        }
        record.extend_from_slice(b"\"message\":");
    }

    /// Writes one row as a record, with its line end.
    pub(crate) fn write_row(&self, row: &mut [Value<'_>], origin: &Origin<'_>, record: &mut Vec<u8>) {
        for (meta, column) in &self.meta {
            if let Some(value) = row.get_mut(*column) {
                *value = origin.value(*meta);
            }
        }
        for (index, (column, value)) in self.columns.iter().zip(row).enumerate() {
            record.push(if index == 0 { b'{' } else { b',' });
            write_json(&column.name, record);
            record.push(b':');
            write_value(&column.column_type, self.json.contains(&index), value, record);
        }
        record.extend_from_slice(b"}\n");
    }
}

fn write_json(text: &str, record: &mut Vec<u8>) {
    // Writing a text to memory cannot fail.
    let _ = serde_json::to_writer(record, text);
}

fn write_value(column_type: &ColumnType, is_json: bool, value: &Value<'_>, record: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = match (value, column_type) {
        (Value::Null, _) => write!(record, "null"),
        (Value::Bool(value), _) => write!(record, "{value}"),
        (Value::Int(value), _) => write!(record, "{value}"),
        (Value::Double(value), _) => serde_json::to_writer(record, value).map_err(Into::into),
        (Value::Decimal(digits), ColumnType::Decimal { scale, .. }) => {
            write!(record, "\"{}\"", decimal::write(*digits, *scale))
        }
        (Value::Decimal(digits), _) => write!(record, "\"{digits}\""),
        (Value::Text(text), _) if is_json => record.write_all(text.as_bytes()),
        (Value::Text(text), _) => serde_json::to_writer(record, text).map_err(Into::into),
        (Value::OneOf(index), ColumnType::OneOf(texts)) => {
            let text = texts.get(*index as usize).map_or("", String::as_str);
            serde_json::to_writer(record, text).map_err(Into::into)
        }
        (Value::OneOf(index), _) => write!(record, "{index}"),
        (Value::Bytes(bytes), _) => {
            record.push(b'"');
            for byte in bytes {
                let _ = write!(record, "{byte:02x}");
            }
            record.write_all(b"\"")
        }
        (Value::Micros(micros), _) => match DateTime::from_timestamp_micros(*micros) {
            Some(time) if is_four_digit_year(time.date_naive()) => {
                write!(record, "\"{}Z\"", time.naive_utc().format("%Y-%m-%dT%H:%M:%S%.6f"))
            }
            _ => write!(record, "{micros}"),
        },
        (Value::Days(days), _) => {
            let date = NaiveDate::default() + chrono::TimeDelta::days((*days).into());
            write!(record, "\"{date}\"")
        }
        (Value::TimeOfDay(micros), _) => {
            let seconds = u32::try_from(micros / 1_000_000).unwrap_or_default();
            let nanos = u32::try_from(micros % 1_000_000 * 1000).unwrap_or_default();
            let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos).unwrap_or_default();
            write!(record, "\"{}\"", time.format("%H:%M:%S%.6f"))
        }
        (Value::List(elements), column_type) => {
            let element = if let ColumnType::List(element) = column_type { element } else { column_type };
            record.push(b'[');
            for (index, value) in elements.iter().enumerate() {
                if index > 0 {
                    record.push(b',');
                }
                write_value(element, false, value, record);
            }
            record.write_all(b"]")
        }
    };
}

impl Value<'_> {
    /// The value of a column as a text, in the form that it has in a record.
    pub fn text(&self, column_type: &ColumnType) -> String {
        let mut text = Vec::new();
        write_value(column_type, false, self, &mut text);
        let text = String::from_utf8_lossy(&text);
        text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&text).to_owned()
    }
}

fn is_four_digit_year(date: NaiveDate) -> bool {
    (0..=9999).contains(&chrono::Datelike::year(&date))
}

/// The kinds of records for these kinds of messages.
pub(crate) fn records(
    columns: &[Column],
    meta: &[(Meta, usize)],
    json: &[usize],
    has_rows: bool,
    message: &Variants,
) -> Variants {
    let member =
        |key: &str, node| Member { step: Step::Key(key.to_owned()), may_miss: false, may_be_null: false, node };
    if has_rows {
        let leaf = |(index, column): (usize, &Column)| {
            let kind = if json.contains(&index) { Kind::Json } else { canonical(&column.column_type) };
            let leaf = Leaf { may_be_null: true, coerce: true, ..Leaf::plain(Some(index), kind) };
            let otherwise = matches!(column.column_type, ColumnType::Timestamp).then(|| {
                Arc::new(Leaf::plain(Some(index), Kind::Timestamp(TimestampFormat::Epoch(Unit::Microseconds))))
            });
            member(&column.name, Node::Leaf(Arc::new(Leaf { otherwise, ..leaf })))
        };
        let members = columns.iter().enumerate().map(leaf).collect();
        let root = Node::Object(Object { members, closed: false });
        let all = vec![Variant { when: When::Always, root, constants: Vec::new() }];
        return Variants { all, discriminator: Vec::new() };
    }
    if meta.is_empty() {
        return message.clone();
    }
    let outside = |(meta, column): &(Meta, usize)| {
        let kind = match meta {
            Meta::ArrivalTime => Kind::Timestamp(TimestampFormat::Epoch(Unit::Microseconds)),
            Meta::SourcePort => Kind::Int,
            Meta::SourceAddress | Meta::Listener => Kind::Text,
        };
        let may_be_null = *meta != Meta::ArrivalTime;
        member(meta.key(), Node::Leaf(Arc::new(Leaf { may_be_null, ..Leaf::plain(Some(*column), kind) })))
    };
    let envelope = |variant: &Variant| {
        let members = meta.iter().map(outside).chain([member("message", variant.root.clone())]).collect();
        Variant { root: Node::Object(Object { members, closed: false }), ..variant.clone() }
    };
    let discriminator = match message.discriminator.as_slice() {
        [] => Vec::new(),
        path => [&[Step::Key("message".to_owned())], path].concat(),
    };
    Variants { all: message.all.iter().map(envelope).collect(), discriminator }
}

/// How a value of a column is written in a record of its own.
fn canonical(column_type: &ColumnType) -> Kind {
    match column_type {
        ColumnType::Boolean => Kind::Bool,
        ColumnType::BigInt => Kind::Int,
        ColumnType::Double => Kind::Float,
        ColumnType::Decimal { precision, scale } => Kind::Decimal { precision: *precision, scale: *scale },
        ColumnType::Varchar => Kind::Text,
        ColumnType::OneOf(texts) => Kind::OneOf(
            (0..).zip(texts.iter()).map(|(index, text)| (crate::leaf::Literal::Text(text.clone()), index)).collect(),
        ),
        ColumnType::Blob => Kind::Bytes(BytesFormat::Hex),
        ColumnType::Timestamp => Kind::Timestamp(TimestampFormat::Iso(None)),
        ColumnType::Date => Kind::Date(DateFormat(None)),
        ColumnType::Time => Kind::Time(TimeFormat(None)),
        ColumnType::List(element) => {
            Kind::List(Arc::new(Leaf { may_be_null: true, coerce: true, ..Leaf::plain(None, canonical(element)) }))
        }
    }
}
