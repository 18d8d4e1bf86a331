//! Times, in every notation that a stream file can name.
//!
//! What a notation leaves open is decided by the stream file, never guessed: the zone of a time without one, and which hour
//! is meant when clocks are set back. A time of day that its zone skips, and second 60, are refused.
//!
//! Fractions of a second below a microsecond are cut off: neither Parquet's nor the warehouses' types hold them.

use std::fmt;

use chrono::format::{Item, Parsed, StrftimeItems};
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::misfit::Misfit;

const SECOND: i64 = 1_000_000;

/// How a point in time is written.
#[derive(Debug, Clone)]
pub(crate) enum TimestampFormat {
    /// A whole number of these since 1970.
    Epoch(Unit),
    /// A number of seconds since 1970, with or without a fraction.
    EpochFraction,
    /// As ISO 8601 has it.
    Iso(Option<Zone>),
    /// By a pattern of strptime's.
    Pattern(Pattern, Option<Zone>),
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    /// How many microseconds it has, if it has any.
    pub(crate) fn micros(self) -> Option<i64> {
        match self {
            Self::Seconds => Some(SECOND),
            Self::Milliseconds => Some(1000),
            Self::Microseconds => Some(1),
            Self::Nanoseconds => None,
        }
    }
}

/// The zone of a time that does not name its own.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    pub(crate) zone: TimeZone,
    pub(crate) fold: Fold,
}

/// What becomes of a time that clocks show twice, because they were set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fold {
    Earlier,
    Later,
    Reject,
}

impl Zone {
    /// Whether clocks are never set in it.
    pub(crate) fn is_fixed(&self) -> bool {
        self.zone.to_fixed_offset().is_ok()
    }

    /// The offset from UTC at a time of this zone's clocks.
    fn offset(&self, local: NaiveDateTime) -> Result<i32, Misfit> {
        // Only date and time of the clock matter, not the fraction of a second.
        let seconds = local.and_utc().timestamp();
        let local = jiff::Timestamp::from_second(seconds).map_err(|_| Misfit::TooLarge)?;
        let local: civil::DateTime = TimeZone::UTC.to_datetime(local);
        let offset = match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { .. } => return Err(Misfit::NoSuchTime),
            AmbiguousOffset::Fold { before, after } => match self.fold {
                Fold::Earlier => before,
                Fold::Later => after,
                Fold::Reject => return Err(Misfit::NoSuchTime),
            },
        };
        Ok(offset.seconds())
    }
}

/// Microseconds since 1970 of a time at an offset from UTC, or in a zone.
fn utc(local: NaiveDateTime, offset: Option<i32>, zone: Option<&Zone>) -> Result<i64, Misfit> {
    let offset = match (offset, zone) {
        (Some(offset), _) => offset,
        (None, Some(zone)) => zone.offset(local)?,
        (None, None) => return Err(Misfit::Type),
    };
    Ok(local.and_utc().timestamp_micros() - i64::from(offset) * SECOND)
}

impl TimestampFormat {
    /// The time of a whole number.
    #[inline]
    pub(crate) fn integer(&self, value: i64) -> Result<i64, Misfit> {
        match self {
            Self::Epoch(Unit::Nanoseconds) => Ok(value.div_euclid(1000)),
            Self::Epoch(unit) => value.checked_mul(unit.micros().unwrap_or(1)).ok_or(Misfit::TooLarge),
            Self::EpochFraction => value.checked_mul(SECOND).ok_or(Misfit::TooLarge),
            Self::Iso(_) | Self::Pattern(..) => Err(Misfit::Type),
        }
    }

    /// Whether a number may have a fraction.
    pub(crate) fn takes_fractions(&self) -> bool {
        matches!(self, Self::EpochFraction)
    }

    /// The time of a text.
    pub(crate) fn text(&self, text: &str) -> Result<i64, Misfit> {
        match self {
            Self::Epoch(_) | Self::EpochFraction => Err(Misfit::Type),
            Self::Iso(zone) => {
                let (local, offset) = iso(text).ok_or(Misfit::Type)?;
                utc(local, offset, zone.as_ref())
            }
            Self::Pattern(pattern, zone) => {
                let parsed = pattern.parse(text)?;
                let local = parsed.to_naive_datetime_with_offset(parsed.offset().unwrap_or(0)).map_err(refused)?;
                utc(local, parsed.offset(), zone.as_ref())
            }
        }
    }

    /// What is expected, in words.
    pub(crate) fn expectation(&self) -> String {
        match self {
            Self::Epoch(unit) => format!("an integer ({} since 1970)", unit.name()),
            Self::EpochFraction => "a number (seconds since 1970)".into(),
            Self::Iso(None) => "a time as 2026-01-31T23:59:59Z".into(),
            Self::Iso(Some(_)) => "a time as 2026-01-31T23:59:59".into(),
            Self::Pattern(pattern, _) => format!("a time as {pattern}"),
        }
    }

    /// Since when numbers count what.
    pub(crate) fn unit(&self) -> String {
        let unit = if let Self::Epoch(unit) = self { *unit } else { Unit::Seconds };
        format!("{} since 1970", unit.name())
    }
}

/// The time of a number of seconds since 1970 with a fraction, in microseconds.
pub(crate) fn epoch_fraction(seconds: f64) -> Result<i64, Misfit> {
    // Whole seconds and the fraction apart: together they have more digits than a float keeps.
    let whole = seconds.floor();
    let micros = ((seconds - whole) * 1e6).round();
    if whole.abs() >= 2f64.powi(43) {
        return Err(Misfit::TooLarge);
    }
    #[expect(clippy::cast_possible_truncation, reason = "both are whole, and less than 2^43")]
    Ok(whole as i64 * SECOND + micros as i64)
}

/// How a day is written: by a pattern of strptime's, or as 2026-01-31.
#[derive(Debug, Clone)]
pub(crate) struct DateFormat(pub(crate) Option<Pattern>);

impl DateFormat {
    /// Days since 1970.
    pub(crate) fn text(&self, text: &str) -> Result<i32, Misfit> {
        let date = match &self.0 {
            None => iso_date(text.as_bytes()).filter(|(_, rest)| rest.is_empty()).ok_or(Misfit::Type)?.0,
            Some(pattern) => pattern.parse(text)?.to_naive_date().map_err(refused)?,
        };
        i32::try_from((date - NaiveDate::default()).num_days()).map_err(|_| Misfit::TooLarge)
    }

    pub(crate) fn expectation(&self) -> String {
        self.0.as_ref().map_or("a date as 2026-01-31".into(), |pattern| format!("a date as {pattern}"))
    }
}

/// How a time of day is written: by a pattern of strptime's, or as 23:59:59.
#[derive(Debug, Clone)]
pub(crate) struct TimeFormat(pub(crate) Option<Pattern>);

impl TimeFormat {
    /// Microseconds since midnight.
    pub(crate) fn text(&self, text: &str) -> Result<i64, Misfit> {
        let time = match &self.0 {
            None => iso_time(text.as_bytes()).filter(|(_, rest)| rest.is_empty()).ok_or(Misfit::Type)?.0,
            Some(pattern) => pattern.parse(text)?.to_naive_time().map_err(refused)?,
        };
        Ok(i64::from(time.num_seconds_from_midnight()) * SECOND + i64::from(time.nanosecond() / 1000))
    }

    pub(crate) fn expectation(&self) -> String {
        self.0.as_ref().map_or("a time of day as 23:59:59".into(), |pattern| format!("a time of day as {pattern}"))
    }
}

/// A pattern of strptime's.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    text: String,
    items: Vec<Item<'static>>,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn refused(error: chrono::ParseError) -> Misfit {
    if error.kind() == chrono::format::ParseErrorKind::OutOfRange { Misfit::TooLarge } else { Misfit::Type }
}

impl Pattern {
    /// The pattern `text`; none if it has a letter after `%` that does not exist.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let items = StrftimeItems::new(text).parse_to_owned().ok()?;
        Some(Self { text: text.to_owned(), items })
    }

    fn parse(&self, text: &str) -> Result<Parsed, Misfit> {
        let mut parsed = Parsed::new();
        chrono::format::parse(&mut parsed, text, self.items.iter()).map_err(refused)?;
        // chrono takes it for a leap second, which no column holds.
        if parsed.second() == Some(60) { Err(Misfit::NoSuchTime) } else { Ok(parsed) }
    }

    /// What is parsed of a time that was written by this pattern: it tells what the pattern leaves out.
    fn example(&self) -> Option<Parsed> {
        let time: DateTime<FixedOffset> = DateTime::<Utc>::from_timestamp(1_000_000_000, 0)?.fixed_offset();
        self.parse(&time.format_with_items(self.items.iter()).to_string()).ok()
    }

    /// Whether it gives a date.
    pub(crate) fn has_date(&self) -> bool {
        self.example().is_some_and(|parsed| parsed.to_naive_date().is_ok())
    }

    /// Whether it gives a time of day.
    pub(crate) fn has_time(&self) -> bool {
        self.example().is_some_and(|parsed| parsed.to_naive_time().is_ok())
    }

    /// Whether it gives both, or seconds since 1970.
    pub(crate) fn has_date_and_time(&self) -> bool {
        self.example().is_some_and(|parsed| parsed.to_naive_datetime_with_offset(0).is_ok())
    }

    /// Whether it gives an offset from UTC.
    pub(crate) fn has_offset(&self) -> bool {
        self.example().is_some_and(|parsed| parsed.offset().is_some() || parsed.timestamp().is_some())
    }
}

/// A date and time as ISO 8601 has it, and its offset from UTC in seconds if it has one. A space or an underscore may stand
/// for the T, and seconds may be missing.
fn iso(text: &str) -> Option<(NaiveDateTime, Option<i32>)> {
    let (date, rest) = iso_date(text.as_bytes())?;
    let (b'T' | b't' | b' ' | b'_', rest) = rest.split_first()? else { return None };
    let (time, rest) = iso_time(rest)?;
    let offset = match rest {
        [] => None,
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (hours, rest) = two_digits(rest)?;
            let (minutes, rest) = two_digits(rest.strip_prefix(b":").unwrap_or(rest))?;
            if !rest.is_empty() || hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => return None,
    };
    Some((date.and_time(time), offset))
}

fn two_digits(text: &[u8]) -> Option<(u32, &[u8])> {
    let ([high @ b'0'..=b'9', low @ b'0'..=b'9'], rest) = text.split_first_chunk()? else { return None };
    Some((u32::from(high - b'0') * 10 + u32::from(low - b'0'), rest))
}

/// `2026-01-31`, and what follows it.
fn iso_date(text: &[u8]) -> Option<(NaiveDate, &[u8])> {
    let (century, rest) = two_digits(text)?;
    let (year, rest) = two_digits(rest)?;
    let (month, rest) = two_digits(rest.strip_prefix(b"-")?)?;
    let (day, rest) = two_digits(rest.strip_prefix(b"-")?)?;
    let year = i32::try_from(century * 100 + year).ok()?;
    Some((NaiveDate::from_ymd_opt(year, month, day)?, rest))
}

/// `23:59`, `23:59:59` or `23:59:59.123456`, and what follows it.
fn iso_time(text: &[u8]) -> Option<(NaiveTime, &[u8])> {
    let (hour, rest) = two_digits(text)?;
    let (minute, rest) = two_digits(rest.strip_prefix(b":")?)?;
    let (second, rest) = match rest.strip_prefix(b":") {
        None => (0, rest),
        Some(rest) => two_digits(rest)?,
    };
    let (micros, rest) = match rest.split_first() {
        Some((b'.' | b',', fraction)) => {
            let count = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (digits, rest) = fraction.split_at_checked(count).filter(|_| count > 0)?;
            let first = digits.iter().chain(std::iter::repeat(&b'0')).take(6);
            (first.fold(0, |micros, digit| micros * 10 + u32::from(digit - b'0')), rest)
        }
        _ => (0, rest),
    };
    Some((NaiveTime::from_hms_micro_opt(hour, minute, second, micros)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str, fold: Fold) -> Zone {
        Zone { zone: TimeZone::get(name).unwrap(), fold }
    }

    fn read(format: &TimestampFormat, text: &str) -> Result<String, Misfit> {
        format.text(text).map(|micros| DateTime::from_timestamp_micros(micros).unwrap().to_rfc3339())
    }

    #[test]
    fn iso_times_are_read_with_their_offset_or_in_the_zone_of_the_file() {
        let format = TimestampFormat::Iso(None);
        for (text, utc) in [
            ("2026-01-31T23:59:59Z", "2026-01-31T23:59:59+00:00"),
            ("2026-01-31 23:59z", "2026-01-31T23:59:00+00:00"),
            ("2026-01-31t23:59:59.1234567+02:00", "2026-01-31T21:59:59.123456+00:00"),
            ("2026-01-31T23:59:59,5-0530", "2026-02-01T05:29:59.500+00:00"),
        ] {
            assert_eq!(read(&format, text).as_deref(), Ok(utc), "{text}");
        }
        for text in [
            "2026-01-31T23:59:59",
            "2026-02-30T00:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T23:59:60Z",
            "2026-01-31",
            "2026-1-31T23:59:59Z",
            "2026-01-31T23:59:59ZZ",
            "2026-01-31T23:59:59.Z",
            "2026-01-31T23:59:59+24:00",
            "",
            "é",
        ] {
            assert_eq!(read(&format, text), Err(Misfit::Type), "{text}");
        }
        let format = TimestampFormat::Iso(Some(zone("Europe/Berlin", Fold::Earlier)));
        assert_eq!(read(&format, "2026-07-01T12:00:00").unwrap(), "2026-07-01T10:00:00+00:00");
        assert_eq!(read(&format, "2026-07-01T12:00:00Z").unwrap(), "2026-07-01T12:00:00+00:00");
    }

    #[test]
    fn what_clocks_show_twice_or_never_is_decided() {
        for (fold, twice) in [
            (Fold::Earlier, Ok("2026-10-25T00:30:00+00:00".to_owned())),
            (Fold::Later, Ok("2026-10-25T01:30:00+00:00".to_owned())),
            (Fold::Reject, Err(Misfit::NoSuchTime)),
        ] {
            let format =
                TimestampFormat::Pattern(Pattern::new("%d.%m.%Y %H:%M").unwrap(), Some(zone("Europe/Berlin", fold)));
            assert_eq!(read(&format, "25.10.2026 02:30"), twice);
            assert_eq!(read(&format, "29.03.2026 02:30"), Err(Misfit::NoSuchTime));
        }
    }

    #[test]
    fn a_pattern_tells_what_it_leaves_out() {
        let has = |text: &str| {
            let pattern = Pattern::new(text).unwrap();
            (pattern.has_date(), pattern.has_time(), pattern.has_date_and_time(), pattern.has_offset())
        };
        assert_eq!(has("%Y-%m-%d %H:%M:%S"), (true, true, true, false));
        assert_eq!(has("%d%m%y %H%M%S%.f"), (true, true, true, false));
        assert_eq!(has("%Y-%m-%dT%H:%M:%S%z"), (true, true, true, true));
        assert_eq!(has("%m-%d %H:%M"), (false, true, false, false));
        assert_eq!(has("%Y-%m-%d"), (true, false, false, false));
        assert!(has("%s").2);
        assert!(Pattern::new("%Y-%K").is_none());
        let format =
            TimestampFormat::Pattern(Pattern::new("%Y-%m-%d %H:%M:%S").unwrap(), Some(zone("UTC", Fold::Reject)));
        assert_eq!(format.text("2026-01-31 23:59:60"), Err(Misfit::NoSuchTime));
    }

    #[test]
    fn epochs_of_every_unit() {
        let at = |unit, value| TimestampFormat::Epoch(unit).integer(value);
        assert_eq!(at(Unit::Seconds, -1), Ok(-1_000_000));
        assert_eq!(at(Unit::Milliseconds, 1_700_000_000_123), Ok(1_700_000_000_123_000));
        assert_eq!(at(Unit::Nanoseconds, -1), Ok(-1));
        assert_eq!(at(Unit::Nanoseconds, 1_700_000_000_123_456_789), Ok(1_700_000_000_123_456));
        assert_eq!(at(Unit::Seconds, i64::MAX), Err(Misfit::TooLarge));
        assert_eq!(epoch_fraction(1_700_000_000.25), Ok(1_700_000_000_250_000));
        assert_eq!(epoch_fraction(-0.5), Ok(-500_000));
        assert_eq!(epoch_fraction(1e300), Err(Misfit::TooLarge));
    }
}
