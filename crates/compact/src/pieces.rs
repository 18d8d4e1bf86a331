//! Segments cut into pieces: the units of work that threads take.

use std::ops::Range;

/// A piece of a segment: the lines that start in the range of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The index of the segment.
    pub(crate) segment: usize,
    /// Where in the file.
    pub(crate) range: Range<u64>,
}

/// Large enough that the row groups that a thread writes hold rows from one place, small enough to share out evenly.
pub(crate) const SIZE: u64 = 8 << 20;

/// The pieces of segments of the given lengths, in order.
pub(crate) fn pieces(lengths: impl Iterator<Item = u64>) -> Vec<Piece> {
    lengths.enumerate().flat_map(|(segment, len)| tile(len).map(move |range| Piece { segment, range })).collect()
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
}
