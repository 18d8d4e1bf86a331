//! Ages, as people write them: `36h`, `90d`, `12w`.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use layout::Hour;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age {
    number: u32,
    unit: char,
}

impl Age {
    pub(crate) fn span(self) -> TimeDelta {
        let hours = match self.unit {
            'h' => 1,
            'd' => 24,
            _ => 7 * 24,
        };
        TimeDelta::hours(i64::from(self.number) * hours)
    }

    /// Whether `hour` ended this long before `now`, or longer.
    pub(crate) fn is_past(self, hour: Hour, now: DateTime<Utc>) -> bool {
        now.signed_duration_since(hour.plus(1).start()) >= self.span()
    }
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let age = || {
            let unit = text.chars().next_back().filter(|unit| ['h', 'd', 'w'].contains(unit))?;
            let digits = text.strip_suffix(unit)?;
            let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
            Some(Self { number, unit })
        };
        age().ok_or_else(|| format!("{text:?} is not an age: write 36h, 90d or 12w (hours, days or weeks)"))
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_of_hours_days_or_weeks() {
        for (text, hours) in [("36h", 36), ("90d", 90 * 24), ("12w", 12 * 7 * 24), ("0d", 0)] {
            let age: Age = text.parse().unwrap();
            assert_eq!((age.span(), age.to_string()), (TimeDelta::hours(hours), text.to_owned()));
        }
        for text in ["", "d", "90", "90 d", "-1d", "+1d", "1.5d", "90m", "1d2h", "99999999999d", "90D", "９d"] {
            let error = text.parse::<Age>().unwrap_err();
            assert!(error.contains("36h, 90d or 12w"), "{text}: {error}");
        }
    }

    #[test]
    fn an_hour_ages_from_its_end() {
        let hour: Hour = "2025-09-02T10".parse().unwrap();
        let age: Age = "1h".parse().unwrap();
        let noon: DateTime<Utc> = "2025-09-02T12:00:00Z".parse().unwrap();
        assert!(age.is_past(hour, noon));
        assert!(!age.is_past(hour, noon - TimeDelta::seconds(1)));
    }
}
