//! Hours, the unit of the tree. All of them are UTC.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _, Utc};

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

    /// Its folder below a stream or data set: `YYYY/MM/DD`.
    pub(crate) fn folder(self) -> PathBuf {
        let start = self.start();
        PathBuf::from(format!("{:04}/{:02}/{:02}", start.year(), start.month(), start.day()))
    }

    /// How its files' names begin: `HH`.
    pub(crate) fn prefix(self) -> String {
        format!("{:02}", self.start().hour())
    }

    /// The hour of the folder `YYYY/MM/DD` and the prefix `HH`.
    pub(crate) fn from_parts(folder: &Path, prefix: &str) -> Option<Self> {
        let hour = Self::from_str(&format!("{}T{prefix}", folder.to_str()?.replace('/', "-"))).ok()?;
        (hour.folder() == folder && hour.prefix() == prefix).then_some(hour)
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.start().format("%Y-%m-%dT%H").to_string())
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
            let (date, hour) = text.split_once('T').map_or((text, None), |(date, hour)| (date, Some(hour)));
            let number = |text: &str, digits: usize| {
                (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u32>().ok())?
            };
            let mut parts = date.split('-');
            let year = number(parts.next()?, 4)?;
            let month = parts.next().map(|text| number(text, 2));
            let day = parts.next().map(|text| number(text, 2));
            if parts.next().is_some() || (hour.is_some() && day.is_none()) {
                return None;
            }
            let (month, day) = (month.unwrap_or(Some(1))?, day.unwrap_or(Some(1))?);
            let hour = hour.map_or(Some(0), |text| number(text, 2))?;
            let start = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?.and_hms_opt(hour, 0, 0)?;
            Self::new(start.and_utc().timestamp() / 3600)
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

    /// Whether any hour from `first` to `last` is one of them.
    pub(crate) fn overlaps(self, first: Hour, last: Hour) -> bool {
        self.from.is_none_or(|from| from <= last) && self.to.is_none_or(|to| first < to)
    }
}
