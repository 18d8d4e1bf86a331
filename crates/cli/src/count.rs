//! Numbers of things in messages.

use std::fmt::Display;

/// `n` things: `1 hour`, `2 hours`.
pub fn count(n: impl Display, thing: &str) -> String {
    let n = n.to_string();
    let plural = if n == "1" { "" } else { "s" };
    format!("{n} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn one_thing_is_no_plural() {
        assert_eq!([0, 1, 2, 11].map(|n| count(n, "hour")), ["0 hours", "1 hour", "2 hours", "11 hours"]);
    }
}
