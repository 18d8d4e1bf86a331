//! What one commit writes: accepted lines by hour, as pieces of the block that they were read into, and rejected ones.

use std::collections::HashMap;
use std::io::Write as _;
use std::ops::Range;

use chrono::{DateTime, Utc};
use layout::{Hour, QuarantineRecord};
use models::{Reason, Rejection};

use crate::framing::{Framing, Part};

/// A batch is full when its quarantine records are this long: a record can be much longer than its line.
const MAX_REJECTED: usize = 1 << 20;

/// Accepted lines of one hour, as pieces of the block (or of [`Batch::stamped`]).
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) hour: Hour,
    pub(crate) pieces: Vec<Range<usize>>,
}

#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) runs: Vec<Run>,
    pub(crate) rejected: Vec<u8>,
    pub(crate) lines: u64,
    /// Empty lines, which some devices send as a sign of life. They are counted, and kept nowhere.
    pub(crate) empty_lines: u64,
    /// Rejected lines by [`Reason::index`].
    pub(crate) rejects: [u64; Reason::ALL.len()],
    pub(crate) taken: usize,
    /// For a model without event time: the accepted lines in their envelopes, which the pieces then refer to.
    stamped: Option<Vec<u8>>,
    run_of: HashMap<Hour, usize>,
    last: usize,
}

impl Batch {
    /// Empties it for the next block. With `stamp`, lines are put into envelopes with the time of arrival.
    pub(crate) fn clear(&mut self, stamp: bool) {
        let mut stamped = self.stamped.take().unwrap_or_default();
        stamped.clear();
        self.stamped = stamp.then_some(stamped);
        self.runs.clear();
        self.rejected.clear();
        self.run_of.clear();
        (self.lines, self.empty_lines, self.rejects, self.taken, self.last) = (0, 0, Default::default(), 0, 0);
    }

    #[inline]
    pub(crate) fn is_full(&self, max_hours: usize) -> bool {
        self.runs.len() >= max_hours || self.rejected.len() >= MAX_REJECTED
    }

    /// The bytes that the pieces refer to, when `block` is what the batch was made of.
    pub(crate) fn bytes<'b>(&'b self, block: &'b [u8]) -> &'b [u8] {
        self.stamped.as_deref().unwrap_or(block)
    }

    /// Becomes the lines of `block`, not parsed because workers died of them, or the beginning of a line that goes on.
    pub(crate) fn reject_unparsed(&mut self, framing: &mut Framing, block: &[u8], source: &str, now: DateTime<Utc>) {
        let words =
            "the receiver died again and again at these bytes, so they were not parsed; please report it as a bug";
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

    /// Adds the line of `length` bytes at the front of the rest of the block, where it takes `taken` bytes.
    #[inline]
    pub(crate) fn accept(&mut self, hour: Hour, length: usize, taken: usize, line: &[u8], now: DateTime<Utc>) {
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
            self.last = *self.run_of.entry(hour).or_insert_with(|| {
                self.runs.push(Run { hour, pieces: Vec::new() });
                self.runs.len() - 1
            });
        }
        #[expect(clippy::indexing_slicing, reason = "`last` is the place of a run that was found or pushed just now")]
        &mut self.runs[self.last]
    }

    /// Becomes a last line that has no terminator, rejected.
    pub(crate) fn reject_unfinished(&mut self, line: &[u8], why: &str, source: &str, now: DateTime<Utc>) {
        self.clear(false);
        if line == b"\r" {
            self.empty_lines += 1;
        } else {
            self.reject(&Rejection::new(Reason::Unfinished, why), line, source, now);
        }
        self.taken = line.len();
    }

    pub(crate) fn reject(&mut self, rejection: &Rejection, line: &[u8], source: &str, now: DateTime<Utc>) {
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
