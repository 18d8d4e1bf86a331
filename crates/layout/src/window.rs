//! Windows: the span of time that a Parquet file covers, an hour or, for an aggregate, perhaps longer.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::hour::{Hour, HourRange};

/// A span of time, and from when on rows were read for it. It need not be of full hours: a day in India starts at 18:30 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    /// Its first instant.
    pub start: DateTime<Utc>,
    /// The first instant after it.
    pub end: DateTime<Utc>,
    /// From when on rows are read for it: its start, or earlier by a look-back.
    pub reads_from: DateTime<Utc>,
}

impl Window {
    /// The window that is `hour`.
    pub fn of_hour(hour: Hour) -> Self {
        Self { start: hour.start(), end: hour.end(), reads_from: hour.start() }
    }

    /// The hour of its file's name: the one in which it starts.
    pub fn hour(&self) -> Hour {
        Hour::of(self.start)
    }

    /// The last hour of which it covers anything.
    pub fn last_hour(&self) -> Hour {
        // The last instant before the end: an end on the hour does not touch it.
        Hour::of(self.end - TimeDelta::microseconds(1))
    }

    /// Whether it is nothing but the hour of its file's name.
    pub fn is_hour(&self) -> bool {
        *self == Self::of_hour(self.hour())
    }

    /// The hours of which rows are read for it, the first and last perhaps in part.
    pub fn hours_read(&self) -> HourRange {
        HourRange { from: Some(Hour::of(self.reads_from)), to: Some(self.last_hour().plus(1)) }
    }

    /// How another window lies to the rows that are read for this one.
    pub fn overlap(&self, other: &Self) -> Overlap {
        if other.start >= self.end || other.end <= self.reads_from {
            Overlap::Nothing
        } else if other.start >= self.reads_from && other.end <= self.end {
            Overlap::All
        } else {
            Overlap::Part
        }
    }
}

/// What is read of a file for a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// None of its rows.
    Nothing,
    /// All of its rows.
    All,
    /// Those rows whose time lies in the window.
    Part,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(reads_from: &str, start: &str, end: &str) -> Window {
        let time = |text: &str| format!("2025-09-{text}:00Z").parse().unwrap();
        Window { reads_from: time(reads_from), start: time(start), end: time(end) }
    }

    #[test]
    fn a_day_that_starts_between_hours_reads_both_hours_at_its_ends_in_part() {
        let day = window("01T18:30", "01T18:30", "02T18:30");
        let hour = |text: &str| text.parse::<Hour>().unwrap();
        assert_eq!(day.hour(), hour("2025-09-01T18"));
        let hours = day.hours_read();
        assert_eq!((hours.from, hours.to), (Some(hour("2025-09-01T18")), Some(hour("2025-09-02T19"))));
        let overlap = |text: &str| day.overlap(&Window::of_hour(hour(text)));
        assert_eq!(overlap("2025-09-01T17"), Overlap::Nothing);
        assert_eq!(overlap("2025-09-01T18"), Overlap::Part);
        assert_eq!(overlap("2025-09-01T19"), Overlap::All);
        assert_eq!(overlap("2025-09-02T18"), Overlap::Part);
        assert_eq!(overlap("2025-09-02T19"), Overlap::Nothing);
    }

    #[test]
    fn a_window_that_ends_on_the_hour_does_not_read_the_next_and_one_with_a_look_back_reads_earlier_ones() {
        let day = window("01T00:00", "02T00:00", "03T00:00");
        let hours = day.hours_read();
        assert_eq!(hours.from.unwrap().to_string(), "2025-09-01T00");
        assert_eq!(hours.to.unwrap().to_string(), "2025-09-03T00");
        assert!(!day.is_hour() && Window::of_hour(day.hour()).is_hour());
        assert_eq!(day.overlap(&window("01T00:00", "01T00:00", "02T00:00")), Overlap::All);
        assert_eq!(day.overlap(&window("02T12:00", "02T12:00", "03T12:00")), Overlap::Part);
    }
}
