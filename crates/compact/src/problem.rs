//! What is wrong with an hour, with what to do about it.

use std::error::Error;
use std::fmt;

use cli::{Failure, known_cause};
use layout::Hour;

/// What is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) what: String,
    /// As an order: "make room".
    pub(crate) remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Problem {}

/// The text of an error without the advice that DuckDB has for its own users, and what to do, if the cause is known.
pub(crate) fn explain(error: &anyhow::Error) -> (String, Option<&'static str>) {
    let text = engine::explain(error);
    let (text, remedy) = known_cause(&text);
    (text.to_owned(), remedy)
}

/// The failure of an hour that is not compacted because of `error`.
pub(crate) fn failure(hour: Hour, error: &anyhow::Error) -> Failure {
    let (text, known) = explain(error);
    let own = error.downcast_ref().map(|Problem { remedy, .. }| remedy.as_str());
    let remedy = own.or(known).unwrap_or("put it right");
    Failure::new(hour, format!("{text}; its segments are kept: {remedy}, then run compact again"))
}
