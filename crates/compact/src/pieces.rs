//! Segments cut into pieces: the units of work that threads take.

use std::iter;
use std::ops::Range;

/// A piece of a segment: the lines that start in the range of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The index of the segment.
    pub(crate) segment: usize,
    /// Where in the file.
    pub(crate) range: Range<u64>,
}

/// Small enough to share out evenly.
pub(crate) const SIZE: u64 = 8 << 20;

/// The pieces of segments of the given lengths, in order.
pub(crate) fn pieces(lengths: impl Iterator<Item = u64>) -> Vec<Piece> {
    lengths.enumerate().flat_map(|(segment, len)| tile(len).map(move |range| Piece { segment, range })).collect()
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

/// `0..len` in ranges of equal size, none larger than [`SIZE`] and none empty.
fn tile(len: u64) -> impl Iterator<Item = Range<u64>> {
    let count = len.div_ceil(SIZE);
    (0..count).map(move |index| len * index / count..len * (index + 1) / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_tile_each_segment() {
        let lengths = [0, 1, SIZE, SIZE + 1, 10 * SIZE - 7];
        let pieces = pieces(lengths.into_iter());
        for (segment, len) in lengths.into_iter().enumerate() {
            let mut at = 0;
            for piece in pieces.iter().filter(|piece| piece.segment == segment) {
                assert_eq!(piece.range.start, at);
                assert!(!piece.range.is_empty() && piece.range.end - at <= SIZE);
                at = piece.range.end;
            }
            assert_eq!(at, len);
        }
        assert_eq!(pieces.len(), 1 + 1 + 2 + 10);
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
