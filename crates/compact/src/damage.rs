//! The damaged lines of a segment, to quarantine.
//!
//! Damage is rare, so the scan that makes the rows only counts it. A segment that has some is read once more from its
//! beginning, by one thread, line by line: that gives line numbers and order for nothing, in bounded memory.

use std::fs::File;
use std::io::{BufWriter, Write as _};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use layout::{Draft, Hour, Name, QuarantineRecord, Tree, fault};
use models::{Decoder, Model, Reason, Rejection, Value};

use crate::count::Counted;
use crate::failures::Advised;
use crate::lines::{Block, Limits, LineReader, lines};

/// The quarantine's draft for a segment.
#[derive(Debug)]
pub(crate) struct Damaged {
    /// The records, in order of line.
    pub(crate) draft: Draft,
    /// How many lines are damaged.
    pub(crate) lines: u64,
    /// The first of them: place and reason.
    pub(crate) first: String,
}

/// The most of a line that goes into one record.
const PART: usize = 1 << 20;

/// Reads `segment` and writes the draft of its quarantine file. That a single line's time is in another hour is damage. But
/// a segment of which each line that can be read is of another hour was moved or copied there: it is sound, and an error.
pub(crate) fn collect(
    tree: &Tree,
    stream: &Name,
    model: &'static Model,
    segment: &Counted,
    now: DateTime<Utc>,
) -> anyhow::Result<Damaged> {
    let draft = tree.draft_damaged(stream, &segment.segment)?;
    let cannot_write = || format!("{}: cannot be written", draft.path().display());
    let mut records = Records {
        out: BufWriter::new(File::create(draft.path()).with_context(cannot_write)?),
        now,
        file: tree.relative(&segment.segment.path),
        first: None,
        record: Vec::new(),
    };
    let found = each_damaged(segment, model, |damage| records.write(&damage).with_context(cannot_write))?;
    records.out.flush().with_context(cannot_write)?;
    if let (Some(hour), true) = (found.elsewhere, found.lines == segment.lines) {
        let there = tree.relative(&tree.raw_segment(stream, hour, &segment.segment.name));
        let what = format!("{}: no line of it is of its hour", segment.segment.path.display());
        return Err(Advised { what, remedy: format!("move it to {there}, or remove it if it is a copy") }.into());
    }
    Ok(Damaged { lines: found.lines, first: records.first.unwrap_or_default(), draft })
}

/// A damaged line, or a part of one.
struct Damage<'d> {
    line: u64,
    /// Where in the line the bytes begin.
    from: u64,
    /// Whether the bytes are not the whole line.
    partial: bool,
    reason: Reason,
    detail: &'d str,
    bytes: &'d [u8],
}

/// What there is of damaged lines.
#[derive(Debug, Default)]
struct Found {
    /// Their number.
    lines: u64,
    /// The hour of the last one that is sound, and of another hour than the segment.
    elsewhere: Option<Hour>,
}

/// Calls `each` for every damaged line of `segment` in order.
fn each_damaged(
    segment: &Counted,
    model: &'static Model,
    mut each: impl FnMut(Damage<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Found> {
    let mut reader = LineReader::new(segment.segment.open()?, segment.len, 0..segment.len, Limits::DEFAULT);
    let mut decoder = Decoder::new(model);
    let (mut line, mut found, mut from) = (0, Found::default(), 0);
    loop {
        let block = reader.block().map_err(|error| anyhow::anyhow!(segment.unreadable(&error)))?;
        let used = match block {
            Block::End => return Ok(found),
            Block::Lines(block) => {
                let mut row = Vec::new();
                for bytes in lines(block) {
                    line += 1;
                    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                    let judged = decoder.record(bytes, &mut row).and_then(|()| {
                        let hour = hour_of(model, &row).filter(|hour| *hour != segment.segment.hour);
                        found.elsewhere = hour.or(found.elsewhere);
                        hour.map_or(Ok(()), |hour| Err(elsewhere(hour, segment.segment.hour)))
                    });
                    if let Err(rejection) = judged {
                        found.lines += 1;
                        let (reason, detail) = (rejection.reason, &*rejection.detail);
                        each(Damage { line, from: 0, partial: false, reason, detail, bytes })?;
                    }
                }
                block.len()
            }
            Block::Part { bytes, first } => {
                if first {
                    (line, found.lines, from) = (line + 1, found.lines + 1, 0);
                }
                let used = bytes.len();
                let (reason, detail) = (Reason::TooLong, "the line is longer than 16 MiB");
                let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                each(Damage { line, from, partial: true, reason, detail, bytes })?;
                from += used as u64;
                used
            }
        };
        reader.consume(used);
    }
}

/// A rejection of a line of `hour` in a segment of another one.
fn elsewhere(hour: Hour, segment: Hour) -> Rejection {
    Rejection::new(Reason::TimeOutOfBounds, format!("the line is of {hour}, and its segment of {segment}"))
}

/// The hour of a row, by the time that it is placed by.
fn hour_of(model: &Model, row: &[Value<'_>]) -> Option<Hour> {
    match row.get(model.placed_by()) {
        Some(Value::Micros(micros)) => Hour::of_micros(*micros),
        _ => None,
    }
}

/// The quarantine's records on their way to the draft.
struct Records {
    out: BufWriter<File>,
    now: DateTime<Utc>,
    file: String,
    first: Option<String>,
    record: Vec<u8>,
}

impl Records {
    fn write(&mut self, damage: &Damage<'_>) -> std::io::Result<()> {
        let source = format!("{}:{}", self.file, damage.line);
        if self.first.is_none() {
            self.first = Some(format!("line {}: {}", damage.line, damage.detail));
        }
        if damage.bytes.len() <= PART && !damage.partial {
            return self.record(&source, damage, damage.detail, damage.bytes);
        }
        for (part, bytes) in (0..).zip(damage.bytes.chunks(PART)) {
            let from = damage.from + part * PART as u64;
            let to = from + bytes.len() as u64;
            let detail = format!("{} (here bytes {} to {to} of it)", damage.detail, from + 1);
            self.record(&source, damage, &detail, bytes)?;
        }
        Ok(())
    }

    fn record(&mut self, source: &str, damage: &Damage<'_>, detail: &str, line: &[u8]) -> std::io::Result<()> {
        self.record.clear();
        QuarantineRecord { time: self.now, source, reason: damage.reason.label(), detail, line }
            .write(&mut self.record);
        fault::fails("quarantine.write")?;
        self.out.write_all(&self.record)?;
        fault::point("quarantine.written");
        Ok(())
    }
}
