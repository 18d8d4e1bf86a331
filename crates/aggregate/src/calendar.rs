//! Windows of calendars: hours, and days, weeks and months in a time zone.
//!
//! Windows follow each other without a gap, whatever the clocks do: where they are put forward or back, a day has 23 or
//! 25 hours, and a midnight that does not exist or comes twice is the first instant of its date.

use std::fmt;
use std::str::FromStr;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use jiff::civil::{Date, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Span, Timestamp, ToSpan as _, Zoned};
use layout::{Hour, HourRange, Window};

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    Hour,
    Day,
    /// From Monday to Sunday, as ISO 8601 has it.
    Week,
    Month,
}

impl Unit {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The unit of a window that lasts as long as `window`; a day in which clocks are put back has 25 hours.
    pub(crate) fn of(window: &Window) -> Self {
        match (window.end - window.start).num_hours() {
            ..=1 => Self::Hour,
            2..=26 => Self::Day,
            27..=170 => Self::Week,
            _ => Self::Month,
        }
    }

    /// The first date of the unit, of a day or longer, that holds `date`, and the first after it.
    fn dates(self, date: Date) -> Result<(Date, Date), jiff::Error> {
        let first = match self {
            Self::Hour | Self::Day => date,
            Self::Week => date.checked_sub(i64::from(date.weekday().since(Weekday::Monday)).days())?,
            Self::Month => date.first_of_month(),
        };
        Ok((first, first.checked_add(self.span(1))?))
    }

    fn span(self, number: i64) -> Span {
        match self {
            Self::Hour => number.hours(),
            Self::Day => number.days(),
            Self::Week => number.weeks(),
            Self::Month => number.months(),
        }
    }
}

impl FromStr for Unit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [Self::Hour, Self::Day, Self::Week, Self::Month];
        let unit = units.into_iter().find(|unit| unit.as_str() == text);
        unit.ok_or_else(|| format!("{text:?} is not a window: write hour, day, week or month"))
    }
}

/// How far before its start a window reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LookBack {
    number: i64,
    unit: Unit,
}

impl fmt::Display for LookBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&cli::count(self.number, self.unit.as_str()))
    }
}

impl FromStr for LookBack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (number, unit) = text.split_once(' ')?;
            let unit = unit.trim().strip_suffix('s').unwrap_or(unit.trim()).parse().ok()?;
            Some(Self { number: number.parse::<u16>().ok()?.into(), unit })
        };
        parse().ok_or_else(|| format!("{text:?} is not a span of time: write 12 hours, 7 days, 1 week or 2 months"))
    }
}

/// The windows of a data set.
#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    pub(crate) unit: Unit,
    zone: TimeZone,
    pub(crate) look_back: Option<LookBack>,
}

impl Calendar {
    /// Hours, without a look-back.
    pub(crate) fn hourly() -> Self {
        Self { unit: Unit::Hour, zone: TimeZone::UTC, look_back: None }
    }

    /// The windows of `unit`, of which days and longer ones follow the clocks of `zone`, an IANA name; in UTC without one.
    pub(crate) fn new(unit: Unit, zone: Option<&str>, look_back: Option<LookBack>) -> Result<Self, String> {
        let zone = match zone {
            None => TimeZone::UTC,
            Some(_) if unit == Unit::Hour => {
                return Err("a time zone is for windows of a day, week or month: hours are those of UTC".to_owned());
            }
            Some(zone) => TimeZoneDatabase::bundled()
                .get(zone)
                .map_err(|_| format!("{zone:?} is not a time zone: write an IANA name, for example Europe/Berlin"))?,
        };
        Ok(Self { unit, zone, look_back })
    }

    pub(crate) fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// Whether each window reads the rows of one hour and no others.
    pub(crate) fn is_hourly(&self) -> bool {
        self.unit == Unit::Hour && self.look_back.is_none()
    }

    /// The window that holds `time`.
    pub(crate) fn window_at(&self, time: DateTime<Utc>) -> anyhow::Result<Window> {
        let hour = Hour::of(time);
        let (start, end) = if self.unit == Unit::Hour {
            (hour.start(), hour.end())
        } else {
            self.days_at(time).with_context(|| format!("{hour}: there is no {} of it", self.unit.as_str()))?
        };
        let before =
            |LookBack { number, unit }| chrono_time(self.zoned(start)?.checked_sub(unit.span(number))?.timestamp());
        let reads_from = self.look_back.map_or(Ok(start), before).context("the look-back leaves the calendar")?;
        Ok(Window { start, end, reads_from })
    }

    /// The date on which a window starts, in its time zone, as days since 1970.
    pub(crate) fn date(&self, window: &Window) -> anyhow::Result<i64> {
        let days = self.zoned(window.start)?.date().since((jiff::Unit::Day, Date::constant(1970, 1, 1)))?;
        Ok(days.get_days().into())
    }

    /// The windows that have a part in any of `spans`, which are in order of their starts; each once, in order.
    pub(crate) fn windows(&self, spans: impl IntoIterator<Item = Window>) -> anyhow::Result<Vec<Window>> {
        let mut windows: Vec<Window> = Vec::new();
        for span in spans {
            let mut time = span.start;
            while time < span.end {
                let window = match windows.last() {
                    Some(last) if last.start <= time && time < last.end => *last,
                    _ => self.window_at(time)?,
                };
                windows.push(window);
                time = window.end;
            }
        }
        windows.sort_unstable();
        windows.dedup();
        Ok(windows)
    }

    /// Whether `window` begins in `range`, which is read as times on the clocks of its zone.
    pub(crate) fn begins_in(&self, window: &Window, range: HourRange) -> anyhow::Result<bool> {
        if range == HourRange::ALL {
            return Ok(true);
        }
        let local = self.zoned(window.start)?.datetime().to_zoned(TimeZone::UTC)?;
        Ok(range.contains(Hour::of(chrono_time(local.timestamp())?)))
    }

    /// Hours in which everything lies that the windows read which begin in `range`.
    pub(crate) fn hours_read(&self, range: HourRange) -> anyhow::Result<HourRange> {
        if self.is_hourly() {
            return Ok(range);
        }
        let read = |at| anyhow::Ok(self.window_at(self.local(at)?)?.hours_read());
        let (from, to) = (range.from.map(read).transpose()?, range.to.map(read).transpose()?);
        Ok(HourRange { from: from.and_then(|hours| hours.from), to: to.and_then(|hours| hours.to) })
    }

    /// Hours in which the files lie of the windows that begin in `range`.
    pub(crate) fn hours_made(&self, range: HourRange) -> anyhow::Result<HourRange> {
        let from = range.from.map(|from| self.local(from)).transpose()?;
        let to = range.to.map(|to| self.local(to)).transpose()?;
        // A window that starts between two hours has the name of the first.
        Ok(HourRange {
            from: from.map(Hour::of),
            to: to.map(|to| Hour::of(to - chrono::TimeDelta::microseconds(1)).plus(1)),
        })
    }

    /// The first and the first later instant of the days around `time`.
    fn days_at(&self, time: DateTime<Utc>) -> anyhow::Result<(DateTime<Utc>, DateTime<Utc>)> {
        let mut date = self.zoned(time)?.date();
        loop {
            let (first, next) = self.unit.dates(date)?;
            let (start, end) = (self.midnight(first)?, self.midnight(next)?);
            // Clocks that are put back over midnight come to the date before once more, which is over then.
            if time < end {
                return Ok((start, end));
            }
            date = next;
        }
    }

    fn midnight(&self, date: Date) -> anyhow::Result<DateTime<Utc>> {
        chrono_time(date.to_zoned(self.zone.clone())?.timestamp())
    }

    /// The instant at which the clocks of the zone show `hour`.
    fn local(&self, hour: Hour) -> anyhow::Result<DateTime<Utc>> {
        let shown = timestamp(hour.start())?.to_zoned(TimeZone::UTC).datetime();
        chrono_time(shown.to_zoned(self.zone.clone())?.timestamp())
    }

    fn zoned(&self, time: DateTime<Utc>) -> anyhow::Result<Zoned> {
        Ok(timestamp(time)?.to_zoned(self.zone.clone()))
    }
}

fn timestamp(time: DateTime<Utc>) -> anyhow::Result<Timestamp> {
    Ok(Timestamp::from_microsecond(time.timestamp_micros())?)
}

fn chrono_time(time: Timestamp) -> anyhow::Result<DateTime<Utc>> {
    let chrono = DateTime::from_timestamp_micros(time.as_microsecond());
    chrono.with_context(|| format!("{time}: there is no such time in the tree"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn calendar(unit: Unit, zone: &str) -> Calendar {
        Calendar::new(unit, Some(zone), None).unwrap()
    }

    fn shown(window: Window) -> String {
        let text = |time: DateTime<Utc>| time.format("%Y-%m-%dT%H:%M").to_string();
        let back = if window.reads_from == window.start { String::new() } else { text(window.reads_from) + " " };
        format!("{back}{} {}", text(window.start), text(window.end))
    }

    fn window(unit: Unit, zone: &str, at: &str) -> String {
        shown(calendar(unit, zone).window_at(time(at)).unwrap())
    }

    #[test]
    fn days_follow_the_clocks_of_their_zone() {
        let day = |zone: &str, at: &str| window(Unit::Day, zone, at);
        assert_eq!(day("UTC", "2025-09-02T10:00:00Z"), "2025-09-02T00:00 2025-09-03T00:00");
        assert_eq!(day("Asia/Kolkata", "2025-09-02T18:29:59Z"), "2025-09-01T18:30 2025-09-02T18:30");
        assert_eq!(day("Asia/Kolkata", "2025-09-02T18:30:00Z"), "2025-09-02T18:30 2025-09-03T18:30");
        assert_eq!(day("Europe/Berlin", "2025-03-30T12:00:00Z"), "2025-03-29T23:00 2025-03-30T22:00", "23 hours");
        assert_eq!(day("Europe/Berlin", "2025-10-26T12:00:00Z"), "2025-10-25T22:00 2025-10-26T23:00", "25 hours");
        assert_eq!(
            day("America/Santiago", "2025-09-07T12:00:00Z"),
            "2025-09-07T04:00 2025-09-08T03:00",
            "no midnight: clocks go from 24:00 to 1:00"
        );
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        assert_eq!(window(Unit::Week, "Europe/Berlin", "2025-09-07T21:59:00Z"), "2025-08-31T22:00 2025-09-07T22:00");
        assert_eq!(window(Unit::Week, "Europe/Berlin", "2025-09-07T22:00:00Z"), "2025-09-07T22:00 2025-09-14T22:00");
        assert_eq!(window(Unit::Month, "Europe/Berlin", "2025-03-31T21:59:00Z"), "2025-02-28T23:00 2025-03-31T22:00");
        assert_eq!(window(Unit::Month, "UTC", "2024-02-29T23:59:00Z"), "2024-02-01T00:00 2024-03-01T00:00");
        assert_eq!(window(Unit::Month, "Asia/Kolkata", "2025-12-31T18:30:00Z"), "2025-12-31T18:30 2026-01-31T18:30");
    }

    #[test]
    fn windows_follow_each_other_without_a_gap_whatever_the_clocks_do() {
        // Clocks put back over midnight, a day that was skipped, offsets with seconds, half hours of daylight saving.
        for (zone, from, to) in [
            ("America/St_Johns", "2006-10-01T00:00:00Z", "2006-12-01T00:00:00Z"),
            ("Pacific/Apia", "2011-12-01T00:00:00Z", "2012-02-01T00:00:00Z"),
            ("America/Sao_Paulo", "2018-01-01T00:00:00Z", "2019-03-01T00:00:00Z"),
            ("Australia/Lord_Howe", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("Europe/Amsterdam", "1930-01-01T00:00:00Z", "1931-01-01T00:00:00Z"),
        ] {
            for unit in [Unit::Day, Unit::Week, Unit::Month] {
                let calendar = calendar(unit, zone);
                let mut at = time(from);
                let mut last: Option<Window> = None;
                while at < time(to) {
                    let window = calendar.window_at(at).unwrap();
                    assert!(window.start <= at && at < window.end, "{zone} {at}");
                    if let Some(last) = last {
                        assert!(last == window || last.end == window.start, "{zone} {at}: {last:?} {window:?}");
                    }
                    last = Some(window);
                    at += chrono::TimeDelta::minutes(20);
                }
            }
        }
    }

    #[test]
    fn a_look_back_is_counted_on_the_calendar() {
        let with = |unit, look_back: &str| {
            Calendar::new(unit, (unit != Unit::Hour).then_some("Europe/Berlin"), Some(look_back.parse().unwrap()))
                .unwrap()
        };
        let at = time("2025-10-27T12:00:00Z");
        let shown = |calendar: Calendar| shown(calendar.window_at(at).unwrap());
        assert_eq!(shown(with(Unit::Day, "1 day")), "2025-10-25T22:00 2025-10-26T23:00 2025-10-27T23:00");
        assert_eq!(shown(with(Unit::Day, "24 hours")), "2025-10-25T23:00 2025-10-26T23:00 2025-10-27T23:00");
        assert_eq!(shown(with(Unit::Month, "1 month")), "2025-08-31T22:00 2025-09-30T22:00 2025-10-31T23:00");
        assert_eq!(shown(with(Unit::Hour, "2 hours")), "2025-10-27T10:00 2025-10-27T12:00 2025-10-27T13:00");
        for text in ["", "day", "1", "-1 days", "1 year", "1day", "99999 days"] {
            assert!(text.parse::<LookBack>().unwrap_err().contains("write 12 hours, 7 days"), "{text}");
        }
    }

    #[test]
    fn a_range_names_the_windows_that_begin_in_it_on_the_clocks_of_their_zone() {
        let calendar = calendar(Unit::Day, "Asia/Kolkata");
        let range = HourRange { from: Some("2025-09".parse().unwrap()), to: Some("2025-10".parse().unwrap()) };
        let span = Window {
            start: time("2025-08-01T00:00:00Z"),
            end: time("2025-11-01T00:00:00Z"),
            reads_from: time("2025-08-01T00:00:00Z"),
        };
        let windows: Vec<_> = calendar.windows([span]).unwrap();
        let windows: Vec<_> = windows.into_iter().filter(|window| calendar.begins_in(window, range).unwrap()).collect();
        assert_eq!(windows.len(), 30);
        assert_eq!(windows[0].start, time("2025-08-31T18:30:00Z"));
        let (read, made) = (calendar.hours_read(range).unwrap(), calendar.hours_made(range).unwrap());
        for window in &windows {
            let hours = window.hours_read();
            assert!(read.contains(hours.from.unwrap()) && read.contains(hours.to.unwrap().plus(-1)), "{window:?}");
            assert!(made.contains(window.hour()), "{window:?}");
        }
    }

    #[test]
    fn what_is_no_zone_is_refused_and_hours_have_none() {
        assert!(Calendar::new(Unit::Day, Some("Europe/Berlim"), None).unwrap_err().contains("IANA name"));
        assert!(Calendar::new(Unit::Hour, Some("Europe/Berlin"), None).unwrap_err().contains("hours are those of UTC"));
    }
}
