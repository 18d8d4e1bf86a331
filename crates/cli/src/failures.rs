//! Hours that failed, as they are reported: each cause once with its remedy, however many hours it concerns.

use std::collections::BTreeMap;

use layout::{Hour, Name};

/// What can go wrong with the machine, and so for many hours at once: one of the texts is in the message, and this is to
/// be done. Such errors come from the system, from layout and from DuckDB, and only their text has all of it.
const CAUSES: [(&[&str], &str); 4] = [
    (&["max_temp_directory_size"], "make room in --temp-dir, or name another folder"),
    (&["No space left on device", "Disk quota exceeded"], "make room"),
    (&["Read-only file system"], "make it writable"),
    (&["Out of Memory Error"], "raise --memory-limit or lower --threads"),
];

/// What the system says of many files at once. The remedy depends on what was tried, and stands in the message.
const REFUSED: [&str; 4] = ["Permission denied", "Input/output error", "Too many open files", "No such device"];

/// An hour, or the window that starts in it, that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The hour.
    pub hour: Hour,
    /// What happened, and what to do about it.
    text: String,
    /// What is equal for hours that failed for the same reason.
    cause: String,
}

impl Failure {
    /// The failure of `hour`; `text` says what happened and what to do about it.
    pub fn new(hour: Hour, text: String) -> Self {
        let cause = cause(&text);
        Self { hour, text, cause }
    }

    /// The failure of `hour` because of `error`. If the machine is the cause, the remedy is added; `place` at the
    /// beginning of the text is about this hour alone and no part of the cause.
    pub fn of_error(hour: Hour, error: &str, place: &str) -> Self {
        let cause = cause(error.strip_prefix(place).unwrap_or(error));
        let text = match known_cause(error) {
            (text, Some(remedy)) => format!("{text}: {remedy}"),
            (text, None) => text.to_owned(),
        };
        Self { hour, text, cause }
    }
}

/// Reports hours of `name` that failed: one error for each cause, with the first hour's text. With `-v`, each hour's.
pub fn report_failures(name: &Name, failures: &[Failure]) {
    let mut failures: Vec<_> = failures.iter().collect();
    failures.sort_by_key(|failure| failure.hour);
    let mut causes = BTreeMap::<&str, Vec<&Failure>>::new();
    for failure in failures {
        causes.entry(&failure.cause).or_default().push(failure);
    }
    let mut causes: Vec<_> = causes.into_values().collect();
    causes.sort_by_key(|failures| failures.first().map(|failure| failure.hour));
    for failures in causes {
        let Some((first, more)) = failures.split_first() else { continue };
        let each = if more.is_empty() { "" } else { " (-v names each)" };
        let hours = hours_in_words(failures.iter().map(|failure| failure.hour).collect());
        log::error!("{name} {hours}: {}{each}", first.text);
        for failure in more {
            log::info!("{name} {}: {}", failure.hour, failure.text);
        }
    }
}

/// Hours as people write them: `2025-09-02T10 to 2025-09-02T14, 2025-09-03T00`.
pub fn hours_in_words(mut hours: Vec<Hour>) -> String {
    hours.sort_unstable();
    let runs: Vec<_> = hours.chunk_by(|before, after| after.since(*before) == 1).collect();
    let words = |run: &[Hour]| match run {
        [] => String::new(),
        [hour] => hour.to_string(),
        [first, .., last] => format!("{first} to {last}"),
    };
    if runs.len() > 4 {
        return format!("{} ({} of them)", words(&hours), hours.len());
    }
    runs.into_iter().map(words).collect::<Vec<_>>().join(", ")
}

/// The text of an error without DuckDB's or the tree's advice, and what to do if the cause is known.
pub fn known_cause(text: &str) -> (&str, Option<&'static str>) {
    let known = CAUSES.iter().find(|(texts, _)| texts.iter().any(|known| text.contains(known)));
    let end = known.and_then(|_| text.find(" Possible solutions:")).unwrap_or(text.len());
    let text = text.get(..end).unwrap_or(text);
    let Some((_, remedy)) = known else { return (text, None) };
    (text.strip_suffix(remedy).and_then(|text| text.strip_suffix(": ")).unwrap_or(text), Some(remedy))
}

/// What is equal in the texts of errors that have the same cause.
fn cause(text: &str) -> String {
    let refused = || REFUSED.into_iter().find(|refused| text.contains(refused));
    known_cause(text).1.or_else(refused).map_or_else(|| without_values(text), str::to_owned)
}

/// `text` without numbers and what is quoted, which are values of rows. Paths stay: a damaged file is a cause of its own.
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
        assert_eq!(cause("Could not convert string 'six' to INT32"), cause("Could not convert string '7' to INT32"));
        assert_eq!(cause("3 rows have the key (a) (17)"), cause("2 rows have the key (a) (5)"));
        assert_ne!(cause("column \"a\" not found"), cause("column \"b\" not found"));
        assert_ne!(cause("/x/01.parquet: cannot be read"), cause("/x/02.parquet: cannot be read"));
        assert_eq!(cause("/x/01: No space left on device"), cause("/x/02: No space left on device"));
        assert_eq!(cause("/x/01: cannot open: Permission denied"), cause("/x/02: cannot create: Permission denied"));
    }

    #[test]
    fn hours_in_a_row_are_named_by_their_ends_and_many_rows_by_the_first_and_the_last() {
        let named = |list: &[&str]| hours_in_words(list.iter().map(|hour| hour.parse().unwrap()).collect());
        assert_eq!(named(&["2025-09-02T10"]), "2025-09-02T10");
        assert_eq!(
            named(&["2025-09-03T05", "2025-09-02T23", "2025-09-03T00", "2025-09-02T10"]),
            "2025-09-02T10, 2025-09-02T23 to 2025-09-03T00, 2025-09-03T05"
        );
        assert_eq!(
            named(&["2025-01", "2025-02", "2025-03", "2025-04", "2025-05"]),
            "2025-01-01T00 to 2025-05-01T00 (5 of them)"
        );
    }
}
