//! Judging a block of input: which lines go to which hour, which are rejected and why.
//!
//! Nothing is written here. A [`Batch`] is what one commit will write: for each hour the pieces of accepted lines, in place
//! in the block they were read into, and the records of rejected lines.

use std::collections::HashMap;
use std::io::Write as _;
use std::ops::Range;

use chrono::{DateTime, SecondsFormat, Utc};
use layout::{Hour, QuarantineRecord};
use models::{Decoder, Reason, Rejection, Repeated};

use crate::framing::{Framing, Part};

/// A batch ends when its quarantine records are this long: a record is longer than the line, much longer than a short one.
const MAX_REJECTED: usize = 1 << 20;

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

/// Accepted lines of one hour, as pieces of the block (or of [`Batch::stamped`]).
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) hour: Hour,
    pub(crate) pieces: Vec<Range<usize>>,
}

/// What one commit writes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Accepted lines by hour.
    pub(crate) runs: Vec<Run>,
    /// Records for the quarantine.
    pub(crate) rejected: Vec<u8>,
    /// Accepted lines.
    pub(crate) lines: u64,
    /// Empty lines, which some devices send as a sign of life. They are counted, and kept nowhere.
    pub(crate) empty_lines: u64,
    /// Rejected lines by [`Reason::index`].
    pub(crate) rejects: [u64; Reason::ALL.len()],
    /// How many bytes of the block it takes.
    pub(crate) taken: usize,
    /// For a model without event time: the accepted lines in their envelopes, which the pieces then refer to.
    stamped: Option<Vec<u8>>,
    places: HashMap<Hour, usize>,
    last: usize,
}

/// Judges lines for one stream on one thread.
#[derive(Debug)]
pub(crate) struct Judge {
    decoder: Decoder,
    bounds: Bounds,
    /// The last event time that is not too far ahead, in microseconds since 1970.
    latest: i64,
}

impl Judge {
    pub(crate) fn new(decoder: Decoder, bounds: Bounds) -> Self {
        Self { decoder, bounds, latest: i64::MIN }
    }

    /// Judges the complete lines of `block`, which came from `source`, as far as one batch goes. Returns whether that was
    /// all of them; if not, the rest is for the next batch.
    pub(crate) fn block(
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
            if batch.runs.len() >= self.bounds.hours || batch.rejected.len() >= MAX_REJECTED {
                return false;
            }
        }
        true
    }

    /// Judges a part of the block that takes `taken` bytes.
    fn part(&mut self, batch: &mut Batch, part: Part<'_>, taken: usize, source: &str, now: DateTime<Utc>) {
        match part {
            Part::Line([]) => batch.empty_lines += 1,
            Part::Line(line) => {
                let judged = self.decoder.message(line).map_err(|rejection| name_bom(rejection, line));
                self.place(batch, judged, line, taken, source, now);
            }
            Part::TooLong([]) => {}
            Part::TooLong(line) => {
                let words = "longer than a line may be (--max-line), or the rest of a line that was cut";
                batch.reject(&Rejection::new(Reason::TooLong, words), line, source, now);
            }
        }
    }

    /// Whether the model accepts `line`, of whatever length: nothing is learnt from it.
    pub(crate) fn accepts(&self, line: &[u8]) -> bool {
        Decoder::new(self.decoder.model()).message(line).is_ok()
    }

    /// Puts a line that was judged into its hour, or among the rejected.
    #[inline]
    fn place(
        &self,
        batch: &mut Batch,
        judged: Result<Option<i64>, Rejection>,
        line: &[u8],
        taken: usize,
        source: &str,
        now: DateTime<Utc>,
    ) {
        let hour = judged.and_then(|event_time| match event_time {
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

/// Says what to do where a byte order mark is what makes `line` unreadable: at the beginning of a file or a connection some
/// systems write one before everything else.
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

impl Batch {
    fn clear(&mut self, stamp: bool) {
        let mut stamped = self.stamped.take().unwrap_or_default();
        stamped.clear();
        self.stamped = stamp.then_some(stamped);
        self.runs.clear();
        self.rejected.clear();
        self.places.clear();
        (self.lines, self.empty_lines, self.rejects, self.taken, self.last) = (0, 0, Default::default(), 0, 0);
    }

    /// The bytes that the pieces refer to, when `block` is what was judged.
    pub(crate) fn bytes<'b>(&'b self, block: &'b [u8]) -> &'b [u8] {
        self.stamped.as_deref().unwrap_or(block)
    }

    /// Is the lines of `block`, rejected without being judged; if none is complete, the bytes there are, and `framing` knows
    /// that the line goes on.
    pub(crate) fn suspect(&mut self, framing: &mut Framing, block: &[u8], source: &str, now: DateTime<Utc>) {
        let words =
            "the receiver died again and again at these bytes, so nobody judged them; please report it as a bug";
        let poison = Rejection::new(Reason::Poison, words);
        self.clear(false);
        while self.rejected.len() < MAX_REJECTED
            && let Some((part, taken)) = block.get(self.taken..).and_then(|rest| framing.next(rest))
        {
            match part {
                Part::Line([]) => self.empty_lines += 1,
                Part::TooLong([]) => {}
                Part::Line(line) | Part::TooLong(line) => self.reject(&poison, line, source, now),
            }
            self.taken += taken;
        }
        if self.taken == 0 {
            self.reject(&poison, block, source, now);
            self.taken = block.len();
            framing.break_line();
        }
    }

    /// Adds the line of `length` bytes at the front of what is left of the block, where it takes `taken` bytes.
    fn accept(&mut self, hour: Hour, length: usize, taken: usize, line: &[u8], now: DateTime<Utc>) {
        self.lines += 1;
        let (start, end) = (self.taken, self.taken + taken);
        if let Some(stamped) = &mut self.stamped {
            let from = stamped.len();
            // Writing to memory cannot fail.
            let _ = write!(stamped, "{{\"arrival_time_us\":{},\"message\":", now.timestamp_micros());
            stamped.extend_from_slice(line);
            stamped.extend_from_slice(b"}\n");
            let to = stamped.len();
            self.run(hour).push(from..to);
        } else if length + 1 == taken {
            self.run(hour).push(start..end);
        } else {
            // CRLF: the line without its CR, then the LF, which the next line continues.
            let run = self.run(hour);
            run.push(start..start + length);
            run.push(end - 1..end);
        }
    }

    /// The run of an hour; mostly it is that of the line before.
    fn run(&mut self, hour: Hour) -> &mut Run {
        if self.runs.get(self.last).is_none_or(|run| run.hour != hour) {
            self.last = *self.places.entry(hour).or_insert_with(|| {
                self.runs.push(Run { hour, pieces: Vec::new() });
                self.runs.len() - 1
            });
        }
        #[expect(clippy::indexing_slicing, reason = "`last` is the place of a run that was found or pushed just now")]
        &mut self.runs[self.last]
    }

    /// Is only this: a last line that has no terminator, rejected.
    pub(crate) fn unfinished(&mut self, line: &[u8], why: &str, source: &str, now: DateTime<Utc>) {
        self.clear(false);
        if line == b"\r" {
            self.empty_lines += 1;
        } else {
            self.reject(&Rejection::new(Reason::Unfinished, why), line, source, now);
        }
        self.taken = line.len();
    }

    fn reject(&mut self, rejection: &Rejection, line: &[u8], source: &str, now: DateTime<Utc>) {
        if let Some(count) = self.rejects.get_mut(rejection.reason.index()) {
            *count += 1;
        }
        let (reason, detail) = (rejection.reason.label(), rejection.detail.as_str());
        QuarantineRecord { time: now, source, reason, detail, line }.write(&mut self.rejected);
    }
}

impl Run {
    /// Adds a piece; adjacent ones become one.
    fn push(&mut self, piece: Range<usize>) {
        match self.pieces.last_mut() {
            Some(last) if last.end == piece.start => last.end = piece.end,
            _ => self.pieces.push(piece),
        }
    }
}
