//! What is wrong with an hour, with what to do about it.

use cli::{Failure, known_cause};
use layout::Hour;

/// What is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Problem {
    pub(crate) what: String,
    /// As an order: "make room".
    pub(crate) remedy: String,
}

impl From<&layout::Error> for Problem {
    fn from(error: &layout::Error) -> Self {
        Self { what: error.problem.clone(), remedy: error.remedy.clone().unwrap_or_default() }
    }
}

/// The text of an error without advice (DuckDB's, which is for its own users, or the tree's), and what to do, if the cause
/// is known.
pub(crate) fn explain(error: &anyhow::Error) -> (String, Option<String>) {
    let text = engine::explain(error);
    let (text, known) = known_cause(&text);
    let of_tree = error.chain().find_map(|cause| cause.downcast_ref::<layout::Error>()?.remedy.clone());
    let remedy = of_tree.or(known.map(str::to_owned));
    let without = remedy.as_ref().and_then(|remedy| text.strip_suffix(remedy.as_str())?.strip_suffix(": "));
    (without.unwrap_or(text).to_owned(), remedy)
}

/// The failure of an hour that is not compacted because of `error`.
pub(crate) fn failure(hour: Hour, error: &anyhow::Error) -> Failure {
    let (text, known) = explain(error);
    let own = error.downcast_ref().map(|Problem { remedy, .. }| remedy.clone());
    let remedy = own.or(known).unwrap_or_else(|| "put it right".to_owned());
    Failure::new(hour, format!("{text}; its segments are kept: {remedy}, then run compact again"))
}
