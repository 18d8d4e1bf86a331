//! Validating a block of input: which lines go to which hour, which are rejected and why. The result is a [`Batch`].

use std::net::SocketAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use layout::Hour;
use models::{Decoder, Frame, Origin, Reason, Rejection, Repeated};

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

/// Where messages come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'s> {
    /// As the quarantine names it.
    pub(crate) words: &'s str,
    pub(crate) peer: Option<SocketAddr>,
    /// The address that was connected to; empty for standard input.
    pub(crate) listener: &'s str,
}

impl<'s> Source<'s> {
    fn origin(self, now: DateTime<Utc>) -> Origin<'s> {
        let source = self.peer.map(|peer| (peer.ip(), peer.port()));
        Origin { arrival_us: now.timestamp_micros(), source, listener: self.listener }
    }
}

/// Validates lines for one stream on one thread.
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
        source: Source<'_>,
        now: DateTime<Utc>,
    ) -> bool {
        layout::fault::poison(block);
        let (model, origin) = (self.decoder.model(), source.origin(now));
        if model.keeps_messages_as_sent() && model.frame == Frame::Lines {
            batch.clear();
        } else {
            batch.clear_for_records(model, &origin);
        }
        self.latest = now.timestamp_micros().saturating_add(self.bounds.ahead);
        while let Some(rest) = block.get(batch.taken..).filter(|rest| !rest.is_empty()) {
            let repeated = if framing.is_plain() { self.decoder.repeated(rest) } else { None };
            if let Some(Repeated { length, taken, event_time }) = repeated {
                let line = rest.get(..length).unwrap_or_default();
                self.place(batch, Ok(event_time), line, taken, source.words, now);
                batch.taken += taken;
            } else if let Some((part, taken)) = framing.next(rest) {
                if !self.part(batch, part, taken, source, now) {
                    return false;
                }
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

    /// Validates a part of the block that takes `taken` bytes. False if it has to wait for the next batch.
    fn part(
        &mut self,
        batch: &mut Batch,
        part: Part<'_>,
        taken: usize,
        source: Source<'_>,
        now: DateTime<Utc>,
    ) -> bool {
        match part {
            Part::Line([]) => batch.empty_lines += 1,
            Part::Line(line) if self.decoder.drops(line) => batch.dropped += 1,
            Part::Line(line) if self.decoder.model().has_rows() => return self.rows(batch, line, source, now),
            Part::Line(line) => {
                let validated = self.decoder.message(line).map_err(|rejection| name_bom(rejection, line));
                self.place(batch, validated, line, taken, source.words, now);
            }
            Part::Blank | Part::TooLong([]) => {}
            Part::TooLong(line) => {
                let words = "longer than a line may be (--max-line), or the rest of a line that was cut";
                batch.reject(&Rejection::new(Reason::TooLong, words), line, source.words, now);
            }
        }
        true
    }

    /// Validates a message that gives several rows: all of them, or none. False if they have to wait for the next batch.
    fn rows(&mut self, batch: &mut Batch, line: &[u8], source: Source<'_>, now: DateTime<Utc>) -> bool {
        let is_first = batch.runs.is_empty();
        let this = &*self;
        let placed = batch.accept_rows(self.bounds.hours, |records| {
            let rows = this.decoder.rows(line, &source.origin(now), records)?;
            rows.into_iter().map(|(event_time, end)| Ok((this.hour(event_time, now)?, end))).collect()
        });
        let rejection = match placed {
            Ok(false) if !is_first => return false,
            Ok(false) => {
                Rejection::new(Reason::Constraint, "its rows are of more hours than a batch takes (--max-open)")
            }
            Ok(true) => return true,
            Err(rejection) => name_bom(rejection, line),
        };
        self.reject(batch, &rejection, line, source.words, now);
        true
    }

    /// Whether the model accepts `line`, of whatever length. The validator learns nothing from it.
    pub(crate) fn accepts(&self, line: &[u8]) -> bool {
        let mut decoder = Decoder::new(self.decoder.model().clone());
        let nowhere = Origin { arrival_us: 0, source: None, listener: "" };
        decoder.drops(line)
            || if decoder.model().has_rows() {
                decoder.rows(line, &nowhere, &mut Vec::new()).is_ok()
            } else {
                decoder.message(line).is_ok()
            }
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
        match event_time.and_then(|event_time| self.hour(event_time, now)) {
            Ok(hour) => batch.accept(hour, line.len(), taken, line),
            Err(rejection) => self.reject(batch, &rejection, line, source, now),
        }
    }

    #[cold]
    fn reject(&self, batch: &mut Batch, rejection: &Rejection, line: &[u8], source: &str, now: DateTime<Utc>) {
        if rejection.reason == Reason::NoCase && self.decoder.model().drops_no_case {
            batch.dropped += 1;
        } else {
            batch.reject(rejection, line, source, now);
        }
    }

    /// The hour of a message with this event time.
    #[inline]
    fn hour(&self, event_time: Option<i64>, now: DateTime<Utc>) -> Result<Hour, Rejection> {
        match event_time {
            Some(micros) => self.event_hour(micros),
            None => Ok(Hour::of(now)),
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
