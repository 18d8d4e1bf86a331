//! Lines of sealed segments that go to quarantine: damaged lines, and all lines of an hour that is closed.
//!
//! Damage is rare, so the scan that makes the rows only counts it. A segment that has some is read once more from its
//! beginning, by one thread, line by line: that gives line numbers and order for nothing, in bounded memory.
//!
//! An hour is closed when retention has removed its Parquet file and left the record `HH.expired.json`. Made of late lines
//! alone, the hour would replace downstream all that was known of it. So its late segments go to quarantine, every line with
//! the reason `expired`, and the run says so with exit status 3; the next run has nothing to do. To make the hour anew of what
//! came late, delete its `HH.expired.json`, write the field `line` of each record of
//! `quarantine/<stream>/**/HH.<segment>-expired<YYYYMMDDHH>.json` back to `raw/<stream>/YYYY/MM/DD/HH.<segment>.json`, and run
//! compact: the segments have their old names, so to do that twice adds no row twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use layout::{Area, Draft, Error, Hour, QuarantineRecord, count_rejected, fault};
use models::{Decoder, Reason, Value};

use crate::line_count::{Counted, unreadable};
use crate::lines::{Block, Limits, LineReader, lines};
use crate::stream::Stream;

/// The quarantine's draft for a segment.
#[derive(Debug)]
pub(crate) struct Quarantined {
    /// The records, in order of line.
    pub(crate) draft: Draft,
    /// How many lines they are of.
    pub(crate) lines: u64,
    /// The first of them: place and reason.
    pub(crate) first: String,
}

/// The most of a line that goes into one record.
const PART: usize = 1 << 20;

/// Writes the draft for the damaged lines of `segment`. That a single line's time is in another hour is damage. But a
/// segment of which each line that can be read is of another hour was moved or copied there: it is sound, and an error.
pub(crate) fn damaged_lines(stream: &Stream<'_>, segment: &Counted) -> anyhow::Result<Quarantined> {
    let (model, hour) = (stream.model(&segment.segment)?, segment.segment.hour);
    let (mut decoder, mut elsewhere) = (Decoder::new(Arc::clone(model)), None);
    let quarantined = quarantine(stream, segment, "damaged", |line| {
        let mut row = Vec::new();
        decoder.record(line, &mut row).map_err(|rejection| (rejection.reason.label(), rejection.detail))?;
        let placed = match row.get(model.placed_by) {
            Some(Value::Micros(micros)) => Hour::of_micros(*micros),
            _ => None,
        };
        let other = placed.filter(|other| *other != hour);
        elsewhere = other.or(elsewhere);
        let detail = |other| format!("the line is of {other}, and its segment of {hour}");
        other.map_or(Ok(()), |other| Err((Reason::TimeOutOfBounds.label(), detail(other))))
    })?;
    if let (Some(hour), true) = (elsewhere, quarantined.lines == segment.lines) {
        let there = stream.tree.segment(Area::Raw, stream.name, hour, segment.segment.name.clone());
        let what = format!("{}: no line of it is of its hour", segment.segment.path.display());
        let there = stream.tree.relative(&there.path);
        return Err(Error::new(what, format!("move it to {there}, or remove it if it is a copy")).into());
    }
    Ok(quarantined)
}

/// Writes the draft for all lines of `segment`, whose hour is closed. If the quarantine has more lines of a segment of this
/// name, somebody has put back a part of them, whose records must not replace those of all.
pub(crate) fn late_lines(stream: &Stream<'_>, segment: &Counted) -> anyhow::Result<Quarantined> {
    let hour = segment.segment.hour;
    let detail = format!("retention has removed {hour} of {}", stream.name);
    let quarantined = quarantine(stream, segment, "expired", |_| Err(("expired", detail.clone())))?;
    let (path, lines) = (segment.segment.path.display(), cli::count(segment.lines, "line"));
    ensure!(
        quarantined.lines == segment.lines,
        "{path}: has {lines}, but {} were read; nothing was removed",
        quarantined.lines
    );
    let records = |counts: BTreeMap<String, u64>| counts.values().sum::<u64>();
    let before = match count_rejected(quarantined.draft.target()) {
        Err(error) if error.is_not_found() => 0,
        counts => records(counts?),
    };
    if segment.lines > 0 && before > records(count_rejected(quarantined.draft.path())?) {
        let file = stream.tree.relative(quarantined.draft.target());
        let record = stream.tree.relative(&stream.tree.parquet(stream.name, hour).with_extension("expired.json"));
        let what = format!("{path}: has only {lines}, and {file} has more of the same segment");
        return Err(Error::new(what, format!("put all of them back and delete {record}, or remove the segment")).into());
    }
    Ok(quarantined)
}

/// Reads `segment` and writes the draft `what` of its quarantine file: of the lines that `check` refuses with a class and a
/// sentence, and of those that are too long to be looked at.
fn quarantine(
    stream: &Stream<'_>,
    segment: &Counted,
    what: &str,
    mut check: impl FnMut(&[u8]) -> Result<(), (&'static str, String)>,
) -> anyhow::Result<Quarantined> {
    let draft = stream.tree.draft_quarantine(stream.name, &segment.segment, what)?;
    let cannot_write = || format!("{}: cannot be written", draft.path().display());
    let mut out = BufWriter::new(File::create(draft.path()).with_context(cannot_write)?);
    let file = stream.tree.relative(&segment.segment.path);
    let (mut first, mut record) = (None, Vec::new());
    // Writes what of a refused line begins with its byte `from`: all of it, or a part.
    let mut write = |line: u64, from: u64, reason: &str, detail: &str, bytes: &[u8]| -> io::Result<()> {
        let source = &format!("{file}:{line}");
        first.get_or_insert_with(|| format!("line {line}: {detail}"));
        let is_whole = from == 0 && bytes.len() <= PART;
        // A line without a byte is a record, too.
        let parts = if is_whole { vec![bytes] } else { bytes.chunks(PART).collect() };
        let mut to = from;
        for line in parts {
            let from = to + 1;
            to += line.len() as u64;
            let place = if is_whole { String::new() } else { format!(" (here bytes {from} to {to} of it)") };
            let detail = &format!("{detail}{place}");
            record.clear();
            QuarantineRecord { time: stream.now, source, reason, detail, line }.write(&mut record);
            fault::fails("quarantine.write")?;
            out.write_all(&record)?;
            fault::point("quarantine.written");
        }
        Ok(())
    };
    let mut reader = LineReader::new(segment.segment.open()?, 0..segment.len, Limits::DEFAULT);
    let (mut line, mut refused, mut from) = (0, 0, 0);
    loop {
        let block = reader.block().map_err(|error| anyhow!(unreadable(&segment.segment, &error)))?;
        let used = match block {
            Block::End => break,
            Block::Lines(block) => {
                for bytes in lines(block) {
                    line += 1;
                    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                    if let Err((reason, detail)) = check(bytes) {
                        refused += 1;
                        write(line, 0, reason, &detail, bytes).with_context(cannot_write)?;
                    }
                }
                block.len()
            }
            Block::Part { bytes, first } => {
                if first {
                    (line, refused, from) = (line + 1, refused + 1, 0);
                }
                let used = bytes.len();
                let (reason, detail) = (Reason::TooLong.label(), "the line is longer than 16 MiB");
                let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                write(line, from, reason, detail, bytes).with_context(cannot_write)?;
                from += used as u64;
                used
            }
        };
        reader.consume(used);
    }
    out.flush().with_context(cannot_write)?;
    Ok(Quarantined { draft, lines: refused, first: first.unwrap_or_default() })
}
