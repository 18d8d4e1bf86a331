//! Windows that fail, as they are told: one message for all that fail in the same way, and each by its name with `-v`.

use std::collections::BTreeMap;
use std::fmt;

use layout::Hour;

use crate::query::Query;

/// A window that cannot be made, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failure {
    pub(crate) hour: Hour,
    text: String,
    /// What is equal for windows that fail in the same way.
    cause: String,
}

/// The files that a window was made of, as the context of an error that may be about any window.
#[derive(Debug)]
pub(crate) struct MadeOf(pub(crate) String);

impl fmt::Display for MadeOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "made of {}", self.0)
    }
}

impl Failure {
    /// The failure of the window `hour` because of `error`.
    pub(crate) fn new(hour: Hour, error: &anyhow::Error) -> Self {
        let text = engine::explain(error);
        let files = error.downcast_ref::<MadeOf>().map(ToString::to_string).unwrap_or_default();
        let cause = text.strip_prefix(&files).unwrap_or(&text).to_owned();
        Self::told(hour, text, &cause)
    }

    /// The failure of the window `hour` that is told by `text`.
    pub(crate) fn plain(hour: Hour, text: String) -> Self {
        let cause = text.clone();
        Self::told(hour, text, &cause)
    }

    fn told(hour: Hour, text: String, cause: &str) -> Self {
        match cli::known_cause(&text) {
            (text, Some(remedy)) => Self { hour, text: format!("{text}: {remedy}"), cause: remedy.to_owned() },
            _ => Self { hour, text, cause: without_values(cause) },
        }
    }
}

/// Tells of windows that failed, in order of the hours.
pub(crate) fn tell(query: &Query, failures: &[Failure]) {
    let mut causes = BTreeMap::<&str, Vec<&Failure>>::new();
    for failure in failures {
        causes.entry(&failure.cause).or_default().push(failure);
    }
    let mut causes: Vec<_> = causes.into_values().collect();
    causes.sort_unstable_by_key(|failures| failures.first().map(|failure| failure.hour));
    for failures in causes {
        let [first, more @ ..] = failures.as_slice() else { continue };
        let others = more.last().map_or(String::new(), |last| {
            let more = cli::count(more.len(), &format!("more {}", query.calendar.unit().as_str()));
            format!("; {more} to {} in the same way (-v names each)", last.hour)
        });
        log::error!("{} {}: {}{others}", query.name, first.hour, first.text);
        for failure in more {
            log::info!("{} {}: {}", query.name, failure.hour, failure.text);
        }
    }
}

/// `text` without numbers and what is quoted, which are values of rows; paths stay, since each file is another cause.
fn without_values(text: &str) -> String {
    let unquoted = text.split('\'').enumerate().map(|(i, part)| if i % 2 == 1 { "" } else { part });
    let unquoted = unquoted.collect::<Vec<_>>().join("'");
    let words = unquoted
        .split_inclusive(' ')
        .map(|word| if word.contains('/') { word.to_owned() } else { word.replace(|c: char| c.is_ascii_digit(), "") });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_no_causes_and_files_and_columns_are() {
        let cause = |text: &str| Failure::plain(Hour::MIN, text.to_owned()).cause;
        assert_eq!(cause("Could not convert string 'six' to INT32"), cause("Could not convert string '7' to INT32"));
        assert_eq!(cause("3 rows have the key (a) (17)"), cause("2 rows have the key (a) (5)"));
        assert_ne!(cause("column \"a\" not found"), cause("column \"b\" not found"));
        assert_ne!(cause("/x/01.parquet: cannot be read"), cause("/x/02.parquet: cannot be read"));
        assert_eq!(cause("/x/01: No space left on device"), cause("/x/02: No space left on device"));
    }
}
