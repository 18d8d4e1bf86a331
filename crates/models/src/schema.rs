//! The description of a stream: what its messages must hold, and to which column of a row each value goes.

use std::fmt;
use std::sync::Arc;

use regex::bytes::RegexSet;

use crate::leaf::{Leaf, Literal, listed};
use crate::row::Value;

/// A stream, as its stream file describes it. Compiled once, and shared by all threads.
#[derive(Debug)]
pub struct Model {
    /// The stream's name.
    pub name: String,
    /// The columns of a row, in the order of the Parquet file.
    pub columns: Vec<Column>,
    /// The column with the event time, if the messages have one.
    pub event_time: Option<usize>,
    /// The column whose time says to which hour a row belongs: the event time, or else the time of arrival. Every row has a
    /// value in it.
    pub placed_by: usize,
    /// How the documents of a connection are told apart.
    pub frame: Frame,
    /// Whether a message of a kind that is not described is counted and not kept.
    pub drops_no_case: bool,
    /// The text of the stream file.
    pub text: String,
    /// What is known from outside the message, in the order of the record's members.
    pub(crate) meta: Vec<(Meta, usize)>,
    /// Messages that are counted and not kept.
    pub(crate) drop: RegexSet,
    /// The columns that hold JSON.
    pub(crate) json: Vec<usize>,
    /// Whether a message may give several rows, or none.
    pub(crate) has_rows: bool,
    pub(crate) message: Variants,
    /// What raw/ holds: the message itself, the message in an envelope, or one object for each row.
    pub(crate) record: Variants,
}

impl Model {
    /// The name of the column that places a row.
    pub fn time_column(&self) -> &str {
        self.columns.get(self.placed_by).map_or("", |column| &column.name)
    }

    /// Whether a message may give several rows, or none.
    pub fn has_rows(&self) -> bool {
        self.has_rows
    }

    /// Whether raw/ holds each message as it was sent, without anything around it.
    pub fn keeps_messages_as_sent(&self) -> bool {
        self.meta.is_empty() && !self.has_rows
    }
}

/// How the documents of a connection are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Each line is a message; it ends with LF or CRLF.
    Lines,
    /// JSON documents, with or without anything between them; they may span lines.
    Json,
}

/// One column of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name in Parquet and SQL.
    pub name: String,
    /// Type in Parquet and SQL.
    pub column_type: ColumnType,
}

/// The type of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    /// `true` or `false`.
    Boolean,
    /// 64-bit signed integer.
    BigInt,
    /// 64-bit float.
    Double,
    /// A number of at most `precision` digits (1 to 38), `scale` of them after the point.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// UTF-8 text.
    Varchar,
    /// UTF-8 text, one of these.
    OneOf(Arc<[String]>),
    /// Bytes.
    Blob,
    /// Microseconds since 1970-01-01T00:00:00 UTC, without a zone.
    Timestamp,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since midnight.
    Time,
    /// A list of values of one type.
    List(Box<ColumnType>),
}

/// The type's name in SQL.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::BigInt => f.write_str("BIGINT"),
            Self::Double => f.write_str("DOUBLE"),
            Self::Decimal { precision, scale } => write!(f, "DECIMAL({precision},{scale})"),
            Self::Varchar | Self::OneOf(_) => f.write_str("VARCHAR"),
            Self::Blob => f.write_str("BLOB"),
            Self::Timestamp => f.write_str("TIMESTAMP"),
            Self::Date => f.write_str("DATE"),
            Self::Time => f.write_str("TIME"),
            Self::List(element) => write!(f, "{element}[]"),
        }
    }
}

/// What is known of a message from outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Meta {
    ArrivalTime,
    SourceAddress,
    SourcePort,
    Listener,
}

impl Meta {
    /// All of them, by their names in a stream file.
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("arrival_time", Self::ArrivalTime),
        ("source_address", Self::SourceAddress),
        ("source_port", Self::SourcePort),
        ("listener", Self::Listener),
    ];

    /// Its key in the envelope around a message.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::ArrivalTime => "arrival_time_us",
            Self::SourceAddress => "source_address",
            Self::SourcePort => "source_port",
            Self::Listener => "listener",
        }
    }
}

/// The kinds of messages of a stream. There is one, unless a discriminator tells several apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variants {
    pub(crate) all: Vec<Variant>,
    /// Where the value is that tells which kind a message is of; empty if there is one kind.
    pub(crate) discriminator: Vec<Step>,
}

/// One kind of message.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    /// What the discriminator must be.
    pub(crate) when: When,
    /// The message, which is an object.
    pub(crate) root: Node,
    /// The columns that have the same value in each message of this kind: those of other kinds, which are NULL, and constants.
    pub(crate) constants: Vec<(usize, Value<'static>)>,
}

/// What a discriminator must be for a kind of message.
#[derive(Debug, Clone)]
pub(crate) enum When {
    /// Any message is of this kind.
    Always,
    OneOf(Vec<Literal>),
    Pattern(regex::Regex),
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("anything"),
            Self::OneOf(literals) => f.write_str(&listed(literals.iter())),
            Self::Pattern(pattern) => write!(f, "'{pattern}'"),
        }
    }
}

/// A step on the way from a message to a value in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Into the member of an object.
    Key(String),
    /// Into the element of an array.
    Index(usize),
    /// Into each element of an array, which gives a row.
    Each,
}

/// An object with members that columns read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object {
    pub(crate) members: Vec<Member>,
    /// Whether a member that is not among these makes the message invalid.
    pub(crate) closed: bool,
}

/// A member of an object, or an element of an array.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) step: Step,
    /// Whether it may be missing; its columns are NULL then.
    pub(crate) may_miss: bool,
    /// Whether an object or array may be `null` instead. A leaf decides that itself.
    pub(crate) may_be_null: bool,
    pub(crate) node: Node,
}

/// What a value must be.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Object(Object),
    /// An array of which some elements are read.
    Array(Object),
    /// An array whose elements are rows.
    Each(Box<Node>),
    Leaf(Arc<Leaf>),
}

impl Node {
    /// What is expected, in words, for a rejection.
    pub(crate) fn expectation(&self) -> String {
        match self {
            Self::Object(_) => "an object".into(),
            Self::Array(_) | Self::Each(_) => "an array".into(),
            Self::Leaf(leaf) => leaf.expectation(),
        }
    }

    /// Calls `visit` for each leaf in it.
    pub(crate) fn leaves<'n>(&'n self, visit: &mut dyn FnMut(&'n Arc<Leaf>)) {
        match self {
            Self::Object(object) | Self::Array(object) => {
                object.members.iter().for_each(|member| member.node.leaves(visit));
            }
            Self::Each(node) => node.leaves(visit),
            Self::Leaf(leaf) => visit(leaf),
        }
    }

    /// Whether there is an object or array at the end of a path.
    pub(crate) fn has_object(&self, path: &[Step]) -> bool {
        match (self, path.split_first()) {
            (Self::Leaf(_), _) => false,
            (_, None) => true,
            (Self::Each(node), Some((step, rest))) => *step == Step::Each && node.has_object(rest),
            (Self::Object(object) | Self::Array(object), Some((step, rest))) => {
                object.members.iter().any(|member| member.step == *step && member.node.has_object(rest))
            }
        }
    }

    /// The array whose elements are rows, if there is one.
    pub(crate) fn each(&self) -> Option<&Self> {
        match self {
            Self::Object(object) | Self::Array(object) => object.members.iter().find_map(|member| member.node.each()),
            Self::Each(node) => Some(node),
            Self::Leaf(_) => None,
        }
    }
}

impl Member {
    pub(crate) fn has_key(&self, key: &[u8]) -> bool {
        matches!(&self.step, Step::Key(own) if own.as_bytes() == key)
    }
}

/// A path as it is written in a stream file.
pub(crate) struct Written<'p>(pub(crate) &'p [Step]);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            let point = if index == 0 { "" } else { "." };
            match step {
                Step::Key(key) if is_plain_key(key) => write!(f, "{point}{key}")?,
                Step::Key(key) => write!(f, "{point}{key:?}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Each => f.write_str("[]")?,
            }
        }
        Ok(())
    }
}

/// Whether a key needs no quotes in a path.
pub(crate) fn is_plain_key(key: &str) -> bool {
    !key.is_empty()
        && key.chars().all(|character| character.is_alphanumeric() || matches!(character, '_' | '-' | '$' | '@' | ':'))
}
