//! Hours, the unit of the tree. All of them are UTC.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, Timelike as _, Utc};

/// One hour of the years 1 to 9999, counted from 1970-01-01T00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hour(i64);

const MICROS: i64 = 3_600_000_000;

impl Hour {
    /// The first hour that has a place in the tree: 0001-01-01T00.
    pub const MIN: Self = Self(-17_259_888);
    /// The last hour that has a place in the tree: 9999-12-31T23.
    pub const MAX: Self = Self(70_389_527);

    /// The hour of a time in microseconds since 1970; none outside the years 1 to 9999.
    pub fn of_micros(micros: i64) -> Option<Self> {
        Self::new(micros.div_euclid(MICROS))
    }

    /// The hour of a clock's reading.
    pub fn of(time: DateTime<Utc>) -> Self {
        Self(time.timestamp().div_euclid(3600)).clamp(Self::MIN, Self::MAX)
    }

    fn new(hour: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&hour).then_some(Self(hour))
    }

    /// Its first microsecond, since 1970.
    pub fn start_micros(self) -> i64 {
        self.0 * MICROS
    }

    /// The first microsecond after it, since 1970.
    pub fn end_micros(self) -> i64 {
        (self.0 + 1) * MICROS
    }

    /// Whether a time in microseconds since 1970 is in it.
    pub fn contains(self, micros: i64) -> bool {
        micros.div_euclid(MICROS) == self.0
    }

    /// Its start as a date and time.
    pub fn start(self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.0 * 3600, 0).unwrap_or_default()
    }

    /// The instant at which it ends.
    pub fn end(self) -> DateTime<Utc> {
        DateTime::from_timestamp((self.0 + 1) * 3600, 0).unwrap_or_default()
    }

    /// The hour `hours` later, or the last there is.
    #[must_use]
    pub fn plus(self, hours: i64) -> Self {
        Self(self.0.saturating_add(hours)).clamp(Self::MIN, Self::MAX)
    }

    /// Hours from `earlier` to this one.
    pub fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Where its files are below a stream or data set, up to the first dot of their names: `YYYY/MM/DD/HH`.
    pub(crate) fn path(self) -> String {
        let start = self.start();
        format!("{:04}/{:02}/{:02}/{:02}", start.year(), start.month(), start.day(), start.hour())
    }

    /// The hour of the folder `YYYY/MM/DD` and the prefix `HH`.
    pub(crate) fn from_parts(folder: &Path, prefix: &str) -> Option<Self> {
        // Without chrono's patterns, which take longer than all else that is done for a file.
        let (year, rest) = folder.to_str()?.split_once('/')?;
        let (month, day) = rest.split_once('/')?;
        let number = |text: &str, length: usize| {
            let is_number = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| is_number)
        };
        let date = NaiveDate::from_ymd_opt(number(year, 4)?.cast_signed(), number(month, 2)?, number(day, 2)?)?;
        Self::new(date.and_hms_opt(number(prefix, 2)?, 0, 0)?.and_utc().timestamp().div_euclid(3600))
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.start();
        f.pad(&format!("{:04}-{:02}-{:02}T{:02}", start.year(), start.month(), start.day(), start.hour()))
    }
}

impl TryFrom<String> for Hour {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Hour> for String {
    fn from(hour: Hour) -> Self {
        hour.to_string()
    }
}

impl FromStr for Hour {
    type Err = String;

    /// Reads `2025`, `2025-09`, `2025-09-02` or `2025-09-02T10`: the first hour of it.
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let rest = "0000-01-01T00".get(text.len()..).filter(|_| [4, 7, 10, 13].contains(&text.len()))?;
            let first = format!("{text}{rest}");
            let start = NaiveDateTime::parse_from_str(&format!("{first}:00"), "%Y-%m-%dT%H:%M").ok()?;
            // chrono also reads what is not written in full.
            Self::new(start.and_utc().timestamp().div_euclid(3600)).filter(|hour| hour.to_string() == first)
        };
        parse().ok_or_else(|| {
            format!("{text:?} is not a UTC hour, day, month or year: write 2025-09-02T10, 2025-09-02, 2025-09 or 2025")
        })
    }
}

/// Hours from one (included) to another (excluded); an end that is not given is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HourRange {
    /// The first hour.
    pub from: Option<Hour>,
    /// The hour after the last.
    pub to: Option<Hour>,
}

impl HourRange {
    /// All hours.
    pub const ALL: Self = Self { from: None, to: None };

    /// Just `hour`.
    pub fn only(hour: Hour) -> Self {
        // After the last hour there is none.
        Self { from: Some(hour), to: (hour < Hour::MAX).then(|| hour.plus(1)) }
    }

    /// Whether `hour` is one of them.
    pub fn contains(self, hour: Hour) -> bool {
        self.from.is_none_or(|from| from <= hour) && self.to.is_none_or(|to| hour < to)
    }
}
