//! Segments cut into pieces: the units of work that threads take.

use std::fs::File;
use std::io;
use std::iter;
use std::ops::Range;

use crate::lines::line_start;

/// A piece of a segment: whole lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The index of the segment.
    pub(crate) segment: usize,
    pub(crate) range: Range<u64>,
}

/// Small enough to share out evenly.
pub(crate) const SIZE: u64 = 8 << 20;

/// The pieces of `file`, which is the segment number `segment` and `len` bytes long, in order; none is empty.
pub(crate) fn pieces(segment: usize, file: &File, len: u64) -> io::Result<Vec<Piece>> {
    let count = len.div_ceil(SIZE);
    let (mut pieces, mut start) = (Vec::new(), 0);
    for cut in (1..=count).map(|index| len * index / count) {
        // A line that is longer than a piece is passed once.
        if cut > start {
            let end = line_start(file, len, cut)?;
            pieces.push(Piece { segment, range: start..end });
            start = end;
        }
    }
    Ok(pieces)
}

/// The pieces that no thread has taken yet. Each thread goes on with the piece after its last as long as that is there, so that
/// the row groups that it writes hold rows from one place: they are smaller then (fewer distinct values, so shorter
/// dictionary indices), and their minima and maxima are closer together. A thread without a next piece takes the second half of
/// the longest run that is left.
#[derive(Debug)]
pub(crate) struct Untaken {
    runs: Vec<Range<usize>>,
}

impl Untaken {
    /// All of `count` pieces.
    pub(crate) fn all(count: usize) -> Self {
        Self { runs: iter::once(0..count).collect() }
    }

    /// Takes a piece for a thread whose last one was `after`.
    pub(crate) fn take(&mut self, after: Option<usize>) -> Option<usize> {
        self.runs.retain(|run| !run.is_empty());
        let next = after.map_or(0, |last| last + 1);
        if let Some(run) = self.runs.iter_mut().find(|run| run.start == next) {
            return run.next();
        }
        let longest = self.runs.iter_mut().max_by_key(ExactSizeIterator::len)?;
        let middle = longest.start + longest.len() / 2;
        let mut half = middle..longest.end;
        longest.end = middle;
        let taken = half.next();
        self.runs.push(half);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_tile_each_segment() {
        // Lines of 1 KiB; the last segment has one of three pieces' length in it.
        let line = [[b'a'; 1023].as_slice(), b"\n"].concat();
        for (len, long, expected) in
            [(0, 0..0, 0), (1, 0..0, 1), (SIZE, 0..0, 1), (SIZE + 1, 0..0, 2), (5 * SIZE, SIZE / 2..3 * SIZE, 3)]
        {
            let mut bytes = line.iter().copied().cycle().take(usize::try_from(len).unwrap()).collect::<Vec<_>>();
            bytes[usize::try_from(long.start).unwrap()..usize::try_from(long.end).unwrap()].fill(b'a');
            let mut file = harness::tempfile::tempfile().unwrap();
            io::Write::write_all(&mut file, &bytes).unwrap();
            let mut at = 0;
            let pieces = pieces(7, &file, len).unwrap();
            for piece in &pieces {
                assert_eq!((piece.segment, piece.range.start), (7, at));
                assert!(!piece.range.is_empty() && (piece.range.end - at < SIZE + 1024 || !long.is_empty()));
                at = piece.range.end;
                assert!(at == len || bytes[usize::try_from(at).unwrap() - 1] == b'\n');
            }
            assert_eq!((at, pieces.len()), (len, expected));
        }
    }

    #[test]
    fn each_piece_is_taken_once_and_mostly_after_its_neighbour() {
        for (pieces, threads) in [(0, 1), (1, 3), (7, 2), (100, 1), (100, 3), (1000, 8)] {
            let mut untaken = Untaken::all(pieces);
            let mut last = vec![None; threads];
            let (mut taken, mut jumps) = (Vec::new(), 0);
            // Threads of different speed: the n-th takes a piece in every n-th turn.
            for turn in 1..=pieces * threads + 1 {
                for (_, last) in last.iter_mut().enumerate().filter(|(thread, _)| turn % (thread + 1) == 0) {
                    let Some(piece) = untaken.take(*last) else { continue };
                    jumps += usize::from(last.map_or(0, |last: usize| last + 1) != piece);
                    *last = Some(piece);
                    taken.push(piece);
                }
            }
            taken.sort_unstable();
            assert_eq!(taken, (0..pieces).collect::<Vec<_>>());
            assert!(jumps <= threads * 12, "{jumps} jumps of {threads} threads over {pieces} pieces");
        }
    }
}
