//! Numbers of bytes, as people write and read them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes, written as `64KiB`, `1GiB`, `500MB` or plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

impl Size {
    /// With one decimal in the largest unit that it fills, for people: `1.5 KiB`.
    pub fn human(self) -> String {
        let bytes = self.0;
        match UNITS.iter().take(4).rev().find(|(_, factor)| bytes >= *factor) {
            Some((unit, factor)) => format!("{}.{} {unit}", bytes / factor, bytes % factor * 10 / factor),
            None => format!("{bytes} B"),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = text.get(digits.len()..).unwrap_or_default().trim();
        let factor = match unit {
            "" | "B" => Some(1),
            _ => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor),
        };
        digits
            .parse::<u64>()
            .ok()
            .zip(factor)
            .and_then(|(number, factor)| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size: write 4096, 64KiB, 500MB or 1GiB"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS
            .iter()
            .take(4)
            .rev()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(&("", 1));
        f.pad(&format!("{}{unit}", self.0 / factor))
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn bytes_are_shown_in_the_largest_unit_they_fill() {
        let shown = [0, 1023, 1024, 1536, 1 << 20, (1 << 30) - 1, 5 << 40].map(|bytes| Size(bytes).human());
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1023.9 MiB", "5.0 TiB"]);
    }
}
