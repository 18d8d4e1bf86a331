//! Why a value is not accepted, without words: most values that do not fit one leaf fit the next.

/// Why a value is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// Of another type.
    Type,
    /// Of a type that fits, but none of the values that are listed.
    NotListed,
    /// Beyond what the column's type holds.
    TooLarge,
    /// A time that no clock of its zone shows, or shows twice.
    NoSuchTime,
    /// Below or above the range.
    Range,
    MultipleOf,
    Pattern,
    Length,
}
