//! Numbers, as people write and read them.

use std::fmt::{self, Display};
use std::str::FromStr;

/// `n` things: `1 hour`, `2 hours`.
pub fn count(n: impl Display, thing: &str) -> String {
    let n = n.to_string();
    let plural = if n == "1" { "" } else { "s" };
    format!("{n} {thing}{plural}")
}

/// A number of bytes, written as `64KiB`, `1GiB`, `500MB` or plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const BINARY: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

const OTHERS: [(&str, u64); 6] =
    [("", 1), ("B", 1), ("kB", 1000), ("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000)];

impl Size {
    /// With one decimal in the largest unit that it fills, for people: `1.5 KiB`.
    pub fn human(self) -> String {
        let bytes = self.0;
        match BINARY.iter().find(|(_, factor)| bytes >= *factor) {
            Some((unit, factor)) => format!("{}.{} {unit}", bytes / factor, bytes % factor * 10 / factor),
            None => format!("{bytes} B"),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = || {
            let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
            let unit = text.get(digits.len()..)?.trim();
            let (_, factor) = BINARY.iter().chain(&OTHERS).find(|(name, _)| *name == unit)?;
            digits.parse::<u64>().ok()?.checked_mul(*factor).map(Self)
        };
        size().ok_or_else(|| format!("{text:?} is not a size: write 4096, 64KiB, 500MB or 1GiB"))
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fills = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        let (unit, factor) = BINARY.iter().find(fills).unwrap_or(&("", 1));
        f.pad(&format!("{}{unit}", self.0 / factor))
    }
}

#[cfg(test)]
mod tests {
    use super::{Size, count};

    #[test]
    fn one_thing_is_no_plural() {
        assert_eq!([0, 1, 2, 11].map(|n| count(n, "hour")), ["0 hours", "1 hour", "2 hours", "11 hours"]);
    }

    #[test]
    fn bytes_are_shown_in_the_largest_unit_they_fill() {
        let shown = [0, 1023, 1024, 1536, 1 << 20, (1 << 30) - 1, 5 << 40].map(|bytes| Size(bytes).human());
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1023.9 MiB", "5.0 TiB"]);
    }
}
