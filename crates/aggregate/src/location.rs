//! Locations in a query's file, as people and editors write them.

use std::fmt::Display;

use anyhow::anyhow;

/// An error about the byte `position` of `sql`, which stands in `origin`: the line and column, and the line itself.
pub(crate) fn error_at(origin: &str, sql: &str, position: Option<usize>, message: impl Display) -> anyhow::Error {
    let Some(before) = position.and_then(|position| sql.get(..position)) else {
        return anyhow!("{origin}: {message}");
    };
    let line = before.split('\n').count();
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let shown = sql.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    let lead = before.get(start..).unwrap_or_default();
    // Tabs stay, so that the mark stands below its place.
    let space: String = lead.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    anyhow!("{origin}:{line}:{}: {message}\n  {shown}\n  {space}^", lead.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_shown_with_a_mark_below_its_place() {
        let error = error_at("q.sql", "SELECT\n\t'ä', nope\nFROM x", Some(14), "no such column");
        assert_eq!(error.to_string(), "q.sql:2:7: no such column\n  \t'ä', nope\n  \t     ^");
        assert_eq!(error_at("q.sql", "x", None, "empty").to_string(), "q.sql: empty");
        assert_eq!(error_at("q.sql", "ä", Some(1), "within a letter").to_string(), "q.sql: within a letter");
    }
}
