//! What is wrong with a stream file, each with its place.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

/// All that is wrong with a stream file, as a person reads it: for each problem file, line and column, what is wrong and
/// what would be right, and the line itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Problems {
    /// One problem without a place.
    pub(crate) fn one(words: String) -> Self {
        Self(vec![words])
    }
}

/// Collects problems while a file is read.
pub(super) struct Collector<'t> {
    file: &'t str,
    text: &'t str,
    found: RefCell<Vec<(Range<usize>, String)>>,
}

impl<'t> Collector<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, found: RefCell::default() }
    }

    /// Notes what is wrong at `place`, a range of bytes.
    pub(super) fn add(&self, place: Range<usize>, words: impl Into<String>) {
        self.found.borrow_mut().push((place, words.into()));
    }

    /// Whether there is a problem already, so that others may only follow from it.
    pub(super) fn any(&self) -> bool {
        !self.found.borrow().is_empty()
    }

    /// `value`, unless there are problems.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Problems> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|(place, _)| place.start);
        found.dedup();
        match value {
            Some(value) if found.is_empty() => Ok(value),
            _ => Err(Problems(
                found.into_iter().map(|(place, words)| drawn(self.file, self.text, place, &words)).collect(),
            )),
        }
    }
}

/// The problem with its line, and marks below what it is about.
fn drawn(file: &str, text: &str, place: Range<usize>, words: &str) -> String {
    let start = place.start.min(text.len());
    let before = text.get(..start).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let indent = before.get(line_start..).unwrap_or_default();
    let length = place.end.saturating_sub(start).min((line_start + line.len()).saturating_sub(start)).max(1);
    let marked = text.get(start..start + length).map_or(1, |marked| marked.chars().count());
    // Tabs stay tabs, so that the marks stand where they should.
    let blank: String = indent.chars().map(|character| if character == '\t' { '\t' } else { ' ' }).collect();
    let column = indent.chars().count() + 1;
    let margin = " ".repeat(number.to_string().len());
    let marks = "^".repeat(marked);
    format!("{file}:{number}:{column}: {words}\n  {number} | {line}\n  {margin} | {blank}{marks}")
}
