//! Validating a block of input: which lines go to which hour, which are rejected and why. The result is a [`Batch`].

use chrono::{DateTime, SecondsFormat, Utc};
use layout::Hour;
use models::{Decoder, Reason, Rejection, Repeated};

use crate::batch::Batch;
use crate::framing::{Framing, Part};

/// What is accepted besides what the model says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// First event time, in microseconds since 1970.
    pub(crate) earliest: i64,
    /// How far event times may be ahead of the clock, in microseconds.
    pub(crate) ahead: i64,
    /// How many hours one batch may touch: so many files are open at once for it.
    pub(crate) hours: usize,
}

#[derive(Debug)]
pub(crate) struct Validator {
    decoder: Decoder,
    bounds: Bounds,
    /// The last event time that is not too far ahead, in microseconds since 1970.
    latest: i64,
}

impl Validator {
    pub(crate) fn new(decoder: Decoder, bounds: Bounds) -> Self {
        Self { decoder, bounds, latest: i64::MIN }
    }

    /// Fills `batch` with the complete lines of `block`. Returns false if there are more of them than one batch takes.
    pub(crate) fn validate(
        &mut self,
        batch: &mut Batch,
        framing: &mut Framing,
        block: &[u8],
        source: &str,
        now: DateTime<Utc>,
    ) -> bool {
        layout::fault::poison(block);
        batch.clear(self.decoder.model().event_time.is_none());
        self.latest = now.timestamp_micros().saturating_add(self.bounds.ahead);
        while let Some(rest) = block.get(batch.taken..).filter(|rest| !rest.is_empty()) {
            let repeated = if framing.inside_too_long() { None } else { self.decoder.repeated(rest) };
            if let Some(Repeated { length, taken, event_time }) = repeated {
                let line = rest.get(..length).unwrap_or_default();
                self.place(batch, Ok(event_time), line, taken, source, now);
                batch.taken += taken;
            } else if let Some((part, taken)) = framing.next(rest) {
                self.part(batch, part, taken, source, now);
                batch.taken += taken;
            } else {
                break;
            }
            if batch.is_full(self.bounds.hours) {
                return false;
            }
        }
        true
    }

    fn part(&mut self, batch: &mut Batch, part: Part<'_>, taken: usize, source: &str, now: DateTime<Utc>) {
        match part {
            Part::Line([]) => batch.empty_lines += 1,
            Part::Line(line) => {
                let validated = self.decoder.message(line).map_err(|rejection| name_bom(rejection, line));
                self.place(batch, validated, line, taken, source, now);
            }
            Part::TooLong([]) => {}
            Part::TooLong(line) => {
                let words = "longer than a line may be (--max-line), or the rest of a line that was cut";
                batch.reject(&Rejection::new(Reason::TooLong, words), line, source, now);
            }
        }
    }

    /// Whether the model accepts `line`, of whatever length. The validator learns nothing from it.
    pub(crate) fn accepts(&self, line: &[u8]) -> bool {
        Decoder::new(self.decoder.model()).message(line).is_ok()
    }

    #[inline]
    fn place(
        &self,
        batch: &mut Batch,
        event_time: Result<Option<i64>, Rejection>,
        line: &[u8],
        taken: usize,
        source: &str,
        now: DateTime<Utc>,
    ) {
        let hour = event_time.and_then(|event_time| match event_time {
            Some(micros) => self.event_hour(micros),
            None => Ok(Hour::of(now)),
        });
        match hour {
            Ok(hour) => batch.accept(hour, line.len(), taken, line, now),
            Err(rejection) => batch.reject(&rejection, line, source, now),
        }
    }

    #[inline]
    fn event_hour(&self, micros: i64) -> Result<Hour, Rejection> {
        if (self.bounds.earliest..=self.latest).contains(&micros)
            && let Some(hour) = Hour::of_micros(micros)
        {
            return Ok(hour);
        }
        Err(self.out_of_bounds(micros))
    }

    #[cold]
    fn out_of_bounds(&self, micros: i64) -> Rejection {
        let time = DateTime::from_timestamp_micros(micros)
            .map_or_else(|| format!("{micros} microseconds"), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        let why = if micros < self.bounds.earliest {
            "is earlier than allowed (--earliest)"
        } else if micros > self.latest {
            "is too far ahead of the clock (--max-ahead)"
        } else {
            "is in no calendar year 1 to 9999"
        };
        Rejection::new(Reason::TimeOutOfBounds, format!("the event time {time} {why}"))
    }
}

/// Says what to do where a byte order mark makes `line` unreadable: some systems write one before everything else.
#[cold]
fn name_bom(rejection: Rejection, line: &[u8]) -> Rejection {
    let encoding = match line {
        [0xef, 0xbb, 0xbf, ..] => "UTF-8",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16",
        _ => return rejection,
    };
    let detail = format!(
        "the line begins with the byte order mark (BOM) of {encoding}: have the source send UTF-8 without it ({})",
        rejection.detail
    );
    Rejection { detail, ..rejection }
}
