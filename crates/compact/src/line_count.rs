//! Counting the lines of segments, before they are read: the commit record, which the Parquet file is written with, needs
//! the numbers first, and the numbers of lines that are read later are held against them.

use std::io;

use anyhow::Context as _;
use layout::SealedSegment;

use crate::lines::count_lines;
use crate::pieces::{Piece, pieces};

/// A segment whose lines are counted.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    /// The segment.
    pub(crate) segment: SealedSegment,
    /// Its length in bytes.
    pub(crate) len: u64,
    /// Its lines; a last one without a terminator is one.
    pub(crate) lines: u64,
}

impl Counted {
    /// What to say when the segment cannot be read.
    pub(crate) fn unreadable(&self, error: &io::Error) -> String {
        format!("{}: cannot be read: {error}", self.segment.path.display())
    }

    /// An error unless the segment is as long as when it was counted: what came later is in no Parquet file.
    pub(crate) fn unchanged(&self) -> anyhow::Result<()> {
        let len = self.segment.open()?.metadata()?.len();
        anyhow::ensure!(
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
    for segment in segments {
        let len = segment.open()?.metadata().with_context(|| format!("{}", segment.path.display()))?.len();
        counted.push(Counted { segment: segment.clone(), len, lines: 0 });
    }
    let pieces = pieces(counted.iter().map(|segment| segment.len));
    let counts = cli::in_parallel(threads, &pieces, Vec::new, |buffer, piece| count_piece(&counted, piece, buffer))?;
    for (piece, lines) in pieces.iter().zip(counts) {
        let lines = lines?;
        if let Some(segment) = counted.get_mut(piece.segment) {
            segment.lines += lines;
        }
    }
    Ok(counted)
}

fn count_piece(segments: &[Counted], piece: &Piece, buffer: &mut Vec<u8>) -> anyhow::Result<u64> {
    const BUFFER: u64 = 256 << 10;
    let Some(segment) = segments.get(piece.segment) else { return Ok(0) };
    let size = (piece.range.end - piece.range.start + 1).min(BUFFER);
    buffer.resize(usize::try_from(size)?.max(buffer.len()), 0);
    let file = segment.segment.open()?;
    count_lines(&file, piece.range.clone(), buffer).map_err(|error| anyhow::anyhow!(segment.unreadable(&error)))
}
