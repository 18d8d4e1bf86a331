//! Counting the lines of segments, before they are read: the commit record, which the Parquet file is written with, needs
//! the numbers first, and the numbers of lines that are read later are held against them.

use std::io;

use anyhow::{anyhow, ensure};
use layout::SealedSegment;

use crate::lines::count_lines;
use crate::pieces::{Piece, pieces};

/// A segment whose lines are counted.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub(crate) segment: SealedSegment,
    pub(crate) len: u64,
    /// Its lines; a last one without a terminator is one.
    pub(crate) lines: u64,
    /// What threads take of it.
    pub(crate) pieces: Vec<Piece>,
}

/// What to say when a segment cannot be read.
pub(crate) fn unreadable(segment: &SealedSegment, error: &io::Error) -> String {
    format!("{}: cannot be read: {error}", segment.path.display())
}

impl Counted {
    /// An error unless the segment is as long as when it was counted: what came later is in no Parquet file.
    pub(crate) fn unchanged(&self) -> anyhow::Result<()> {
        let len = self.segment.open()?.metadata()?.len();
        ensure!(
            len == self.len,
            "{}: changed from {} to {len} bytes while it was read; sealed segments must not be written to",
            self.segment.path.display(),
            self.len
        );
        Ok(())
    }
}

/// Counts the lines of `segments` on up to `threads` threads.
pub(crate) fn count(segments: &[SealedSegment], threads: usize) -> anyhow::Result<Vec<Counted>> {
    let mut counted = Vec::with_capacity(segments.len());
    for (number, segment) in segments.iter().enumerate() {
        let unreadable = |error| anyhow!(unreadable(segment, &error));
        let file = segment.open()?;
        let len = file.metadata().map_err(unreadable)?.len();
        let pieces = pieces(number, &file, len).map_err(unreadable)?;
        counted.push(Counted { segment: segment.clone(), len, lines: 0, pieces });
    }
    let pieces: Vec<_> = counted.iter().flat_map(|segment| &segment.pieces).cloned().collect();
    let longest = pieces.iter().map(|piece| piece.range.end - piece.range.start).max().unwrap_or_default();
    let buffer = || Ok(vec![0; usize::try_from(longest)?.min(256 << 10)]);
    let counts = cli::in_parallel(threads, &pieces, buffer, |buffer, piece| {
        let Some(segment) = counted.get(piece.segment) else { return Ok(0) };
        let lines = count_lines(&segment.segment.open()?, piece.range.clone(), buffer);
        lines.map_err(|error| anyhow!(unreadable(&segment.segment, &error)))
    })?;
    for (piece, lines) in pieces.iter().zip(counts) {
        let lines: u64 = lines?;
        if let Some(segment) = counted.get_mut(piece.segment) {
            segment.lines += lines;
        }
    }
    Ok(counted)
}
