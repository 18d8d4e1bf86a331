//! Why a line is not a message.

use std::fmt;

/// A line's rejection: the class, for counting, and the sentence, for the person who reads the quarantine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Rejection {
    /// The class, one of a fixed few.
    pub reason: Reason,
    /// The field and what was found.
    pub detail: String,
}

impl Rejection {
    /// A rejection of class `reason`, explained by `detail`.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// The classes of rejection. Few and fixed, so that they can label a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Not UTF-8, somewhere in the line.
    NotUtf8,
    /// Not one JSON value: syntax, trailing characters, nothing at all.
    NotJson,
    /// A required field is missing.
    MissingField,
    /// A key stands twice in an object.
    DuplicateKey,
    /// A value of the wrong type.
    WrongType,
    /// A string that is none of the allowed ones.
    UnknownValue,
    /// A number that does not fit, or an event time that no calendar holds.
    OutOfRange,
    /// A value that the stream file excludes: by a range, a pattern, a length, or because it does not know the key.
    Constraint,
    /// A message of a kind that the stream file does not describe.
    NoCase,
    /// A time that the limits of the receiver exclude, or that is in another hour than its segment.
    TimeOutOfBounds,
    /// A line longer than the limit.
    TooLong,
    /// A last line without a terminator: the connection ended inside it.
    Unfinished,
    /// The tail of a segment whose writer died while it wrote.
    Torn,
    /// Input that the receiver died of, again and again.
    Poison,
}

impl Reason {
    /// All classes, in the order of [`Reason::index`].
    pub const ALL: [Self; 14] = [
        Self::NotUtf8,
        Self::NotJson,
        Self::MissingField,
        Self::DuplicateKey,
        Self::WrongType,
        Self::UnknownValue,
        Self::OutOfRange,
        Self::Constraint,
        Self::NoCase,
        Self::TimeOutOfBounds,
        Self::TooLong,
        Self::Unfinished,
        Self::Torn,
        Self::Poison,
    ];

    /// The class's place in [`Reason::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The class as a word for labels and quarantine records: `not_json`, `wrong_type`, ...
    pub fn label(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::MissingField => "missing_field",
            Self::DuplicateKey => "duplicate_key",
            Self::WrongType => "wrong_type",
            Self::UnknownValue => "unknown_value",
            Self::OutOfRange => "out_of_range",
            Self::Constraint => "constraint",
            Self::NoCase => "no_case",
            Self::TimeOutOfBounds => "time_out_of_bounds",
            Self::TooLong => "too_long",
            Self::Unfinished => "unfinished",
            Self::Torn => "torn",
            Self::Poison => "poison",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
