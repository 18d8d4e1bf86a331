//! Windows that fail.

use std::fmt;

use cli::Failure;
use layout::Hour;

/// The files that a window was made of, as the context of an error that may be about any window.
#[derive(Debug)]
pub(crate) struct MadeOf(pub(crate) String);

impl fmt::Display for MadeOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "made of {}", self.0)
    }
}

/// The failure of the window `hour` because of `error`.
pub(crate) fn failure(hour: Hour, error: &anyhow::Error) -> Failure {
    let files = error.downcast_ref::<MadeOf>().map(ToString::to_string).unwrap_or_default();
    Failure::of_error(hour, &engine::explain(error), &files)
}
