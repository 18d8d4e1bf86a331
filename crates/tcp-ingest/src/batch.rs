//! What one commit writes: accepted lines by hour, as pieces of the block that they were read into, and rejected ones.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use chrono::{DateTime, Utc};
use layout::{Hour, QuarantineRecord};
use models::{Frame, Model, Origin, Reason, Rejection};

use crate::framing::{Framing, Part};

/// A batch is full when its quarantine records are this long: a record can be much longer than its line.
const MAX_REJECTED: usize = 1 << 20;

/// Accepted lines of one hour, as pieces of the block (or of [`Batch::records`]).
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
    /// Messages that the stream file says are to be counted and not kept.
    pub(crate) dropped: u64,
    /// Rejected lines by [`Reason::index`].
    pub(crate) rejects: [u64; Reason::ALL.len()],
    pub(crate) taken: usize,
    /// What raw/ gets, and the pieces refer to, where that is not the messages as they were sent.
    records: Option<Vec<u8>>,
    /// What stands before a message in its record.
    envelope: Vec<u8>,
    /// Whether a message may span lines, which a record does not.
    spans_lines: bool,
    /// Where the run of an hour is.
    run_of: HashMap<Hour, usize>,
    last: usize,
}

impl Batch {
    /// Empties it for the next block, whose messages are kept as they are sent.
    pub(crate) fn clear(&mut self) {
        self.records = None;
        self.runs.clear();
        self.rejected.clear();
        self.run_of.clear();
        (self.lines, self.empty_lines, self.dropped, self.taken, self.last) = (0, 0, 0, 0, 0);
        self.rejects = Default::default();
    }

    /// Empties it for the next block, whose messages from `origin` are put into records.
    pub(crate) fn clear_for_records(&mut self, model: &Model, origin: &Origin<'_>) {
        let mut records = self.records.take().unwrap_or_default();
        self.clear();
        records.clear();
        self.records = Some(records);
        self.envelope.clear();
        self.spans_lines = model.frame == Frame::Json;
        if !model.keeps_messages_as_sent() {
            model.begin_envelope(origin, &mut self.envelope);
        }
    }

    #[inline]
    pub(crate) fn is_full(&self, max_hours: usize) -> bool {
        self.runs.len() >= max_hours || self.rejected.len() >= MAX_REJECTED
    }

    /// The bytes that the pieces refer to, when `block` is what the batch was made of.
    pub(crate) fn bytes<'b>(&'b self, block: &'b [u8]) -> &'b [u8] {
        self.records.as_deref().unwrap_or(block)
    }

    /// Becomes the lines of `block`, not parsed because workers died of them, or the beginning of a line that goes on.
    pub(crate) fn reject_unparsed(&mut self, framing: &mut Framing, block: &[u8], source: &str, now: DateTime<Utc>) {
        let words =
            "the receiver died again and again at these bytes, so they were not parsed; please report it as a bug";
        let poison = Rejection::new(Reason::Poison, words);
        self.clear();
        while self.rejected.len() < MAX_REJECTED
            && let Some((part, taken)) = block.get(self.taken..).and_then(|rest| framing.next(rest))
        {
            match part {
                Part::Line([]) => self.empty_lines += 1,
                Part::Blank | Part::TooLong([]) => {}
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
    pub(crate) fn accept(&mut self, hour: Hour, length: usize, taken: usize, line: &[u8]) {
        self.lines += 1;
        let (start, end) = (self.taken, self.taken + taken);
        if let Some(records) = &mut self.records {
            let from = records.len();
            records.extend_from_slice(&self.envelope);
            let start = records.len();
            records.extend_from_slice(line);
            if self.spans_lines {
                // Between the values of a document, a space is as good as the end of a line.
                let message = records.get_mut(start..).unwrap_or_default();
                message.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
            }
            records.extend_from_slice(if self.envelope.is_empty() { b"\n" } else { b"}\n" });
            let to = records.len();
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

    /// Adds the records of a message that gives several rows. `write` appends them, and returns of each its hour and where it
    /// ends. False, with nothing added, if they are of more hours than there is room for.
    pub(crate) fn accept_rows(
        &mut self,
        max_hours: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Vec<(Hour, usize)>, Rejection>,
    ) -> Result<bool, Rejection> {
        let records = self.records.get_or_insert_default();
        let before = records.len();
        let rows = write(records).inspect_err(|_| records.truncate(before))?;
        let new: BTreeSet<_> =
            rows.iter().map(|(hour, _)| hour).filter(|hour| !self.run_of.contains_key(hour)).collect();
        if self.runs.len() + new.len() > max_hours {
            records.truncate(before);
            return Ok(false);
        }
        // A message without rows leaves nothing in raw/.
        if rows.is_empty() {
            self.dropped += 1;
        } else {
            self.lines += 1;
        }
        let mut from = before;
        for (hour, to) in rows {
            self.run(hour).push(from..to);
            from = to;
        }
        Ok(true)
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
        self.clear();
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
