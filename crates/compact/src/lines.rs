//! The lines of a piece of a segment, in blocks, read with bounded memory.
//!
//! A piece owns the lines that *start* in it: pieces that tile a file yield each of its lines once, wherever they are cut.
//! Lines come in blocks of whole lines that lie in the buffer one after the other, so that nothing is copied or allocated
//! per line. A line longer than the limit comes in parts, as far as its file goes. A last line without a terminator is a line.
//!
//! Files are read, not mapped: a mapped file that is cut short kills its reader.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use memchr::{memchr, memchr_iter, memrchr};

/// How much memory a reader takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// What is read at a time.
    pub(crate) buffer: usize,
    /// The longest line that is held whole, with its terminator.
    pub(crate) line: usize,
}

impl Limits {
    /// The limits of the program. A buffer of this size stays in the processor's cache.
    pub(crate) const DEFAULT: Self = Self { buffer: 256 << 10, line: 16 << 20 };
}

/// What a piece yields next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block<'b> {
    /// Whole lines with their terminators, at least one of them.
    Lines(&'b [u8]),
    /// A part of a line that is longer than the limit.
    Part {
        /// The bytes, with the terminator if the part is the line's last.
        bytes: &'b [u8],
        /// Whether the line begins with it.
        first: bool,
    },
    /// The piece is done.
    End,
}

/// Reads the lines that start in a piece of a file.
#[derive(Debug)]
pub(crate) struct LineReader {
    file: File,
    /// The length of the file.
    len: u64,
    /// Where lines that still belong to the piece start.
    piece: Range<u64>,
    buffer: Vec<u8>,
    /// What of the buffer is not consumed.
    unread: Range<usize>,
    /// The place in the file of the buffer's end.
    offset: u64,
    /// Whether the next byte is inside a line that is longer than the limit.
    inside: bool,
    /// Whether the beginning of the piece has been found.
    aligned: bool,
    limits: Limits,
}

impl LineReader {
    /// A reader of the lines of `file`, which is `len` bytes long, that start in `piece`.
    pub(crate) fn new(file: File, len: u64, piece: Range<u64>, limits: Limits) -> Self {
        // One byte before the piece tells whether a line starts at its first.
        let offset = piece.start.saturating_sub(1);
        let aligned = piece.start == 0;
        let size = usize::try_from(len - offset).map_or(limits.buffer, |left| left.clamp(1, limits.buffer));
        let buffer = vec![0; size];
        Self { file, len, piece, buffer, unread: 0..0, offset, inside: false, aligned, limits }
    }

    /// The next block. It stays the same until something is consumed.
    pub(crate) fn block(&mut self) -> io::Result<Block<'_>> {
        if !self.aligned {
            self.align()?;
        }
        loop {
            if self.inside {
                return self.part(false);
            }
            if self.position() >= self.piece.end {
                return Ok(Block::End);
            }
            if let Some(end) = self.last_line_end() {
                return Ok(Block::Lines(self.buffer.get(self.unread.start..end).unwrap_or_default()));
            }
            if self.unread.len() >= self.limits.line {
                return self.part(true);
            }
            self.read()?;
        }
    }

    /// Goes on after the first `count` bytes of the last block.
    pub(crate) fn consume(&mut self, count: usize) {
        let taken = self.buffer.get(self.unread.start..self.unread.start + count).unwrap_or_default();
        if let Some(last) = taken.last() {
            // Only a part of a line can lack the terminator, or the very last line, after which nothing comes.
            self.inside = *last != b'\n';
            self.unread.start += taken.len();
        }
    }

    /// The place in the file of the next byte.
    fn position(&self) -> u64 {
        self.offset - self.unread.len() as u64
    }

    /// Finds the first line that starts in the piece.
    fn align(&mut self) -> io::Result<()> {
        self.aligned = true;
        while self.position() < self.piece.end {
            if self.unread.is_empty() {
                self.read()?;
            }
            let unread = self.buffer.get(self.unread.clone()).unwrap_or_default();
            if let Some(newline) = memchr(b'\n', unread) {
                self.unread.start += newline + 1;
                break;
            }
            self.unread.start = self.unread.end;
        }
        Ok(())
    }

    /// The end in the buffer of the last whole line that starts in the piece and lies in the buffer.
    fn last_line_end(&self) -> Option<usize> {
        let unread = self.buffer.get(self.unread.clone())?;
        // The piece's last line is the one that holds its last byte.
        let last_byte = usize::try_from(self.piece.end - 1 - self.position()).ok();
        if let Some((from, rest)) = last_byte.and_then(|at| Some((at, unread.get(at..)?)))
            && let Some(newline) = memchr(b'\n', rest)
        {
            return Some(self.unread.start + from + newline + 1);
        }
        if self.offset == self.len && !unread.is_empty() {
            return Some(self.unread.end);
        }
        memrchr(b'\n', unread).map(|newline| self.unread.start + newline + 1)
    }

    /// A part of an over-long line. Its rest is of no interest to the piece if it lies outside: nothing starts in it.
    fn part(&mut self, first: bool) -> io::Result<Block<'_>> {
        if !first && self.position() >= self.piece.end {
            return Ok(Block::End);
        }
        if self.unread.is_empty() {
            self.read()?;
        }
        let unread = self.buffer.get(self.unread.clone()).unwrap_or_default();
        let end = memchr(b'\n', unread).map_or(unread.len(), |newline| newline + 1);
        Ok(Block::Part { bytes: unread.get(..end).unwrap_or_default(), first })
    }

    /// Reads on, behind what is not consumed.
    fn read(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        if self.unread.end == self.buffer.len() {
            let size = (self.buffer.len() * 2).min(self.limits.line.max(self.limits.buffer));
            self.buffer.resize(size, 0);
        }
        let room = self.buffer.get_mut(self.unread.end..).unwrap_or_default();
        let left = usize::try_from(self.len - self.offset).unwrap_or(usize::MAX);
        let want = room.len().min(left);
        let got = read_at(&self.file, room.get_mut(..want).unwrap_or_default(), self.offset)?;
        self.unread.end += got;
        self.offset += got as u64;
        layout::fault::point("segment.passed");
        Ok(())
    }
}

/// The lines of a block, each with its terminator, if it has one.
pub(crate) fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let end = memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
        let (line, after) = rest.split_at_checked(end)?;
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

/// How many lines start in a piece of a file of `len` bytes. Reads nothing but the piece and the byte before it.
pub(crate) fn count_lines(file: &File, piece: Range<u64>, buffer: &mut [u8]) -> io::Result<u64> {
    if piece.is_empty() {
        return Ok(0);
    }
    // A line starts at the file's first byte and behind each newline: so the piece has as many lines as there are
    // newlines in it, each moved on by one.
    let mut lines = u64::from(piece.start == 0);
    let mut offset = piece.start.saturating_sub(1);
    while offset < piece.end - 1 {
        let want = usize::try_from(piece.end - 1 - offset).unwrap_or(usize::MAX).min(buffer.len());
        let got = read_at(file, buffer.get_mut(..want).unwrap_or_default(), offset)?;
        lines += memchr_iter(b'\n', buffer.get(..got).unwrap_or_default()).count() as u64;
        offset += got as u64;
    }
    Ok(lines)
}

/// Reads some bytes. There being none is an error: a sealed segment does not shrink.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    layout::fault::fails("segment.read")?;
    loop {
        match file.read_at(buffer, offset) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read")),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use harness::tempfile::tempfile;
    use proptest::prelude::*;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// What a piece yields: whole lines, and each over-long line that begins in it as none.
    fn read(file: &File, len: u64, piece: Range<u64>, limits: Limits, step: usize) -> Vec<Option<Vec<u8>>> {
        let mut reader = LineReader::new(file.try_clone().unwrap(), len, piece, limits);
        let mut found = Vec::new();
        loop {
            let used = match reader.block().unwrap() {
                Block::End => return found,
                Block::Part { bytes, first } => {
                    if first {
                        found.push(None);
                    }
                    bytes.len()
                }
                // Consumers stop inside a block when their rows are full.
                Block::Lines(block) => lines(block)
                    .take(step)
                    .map(|line| {
                        found.push(Some(line.to_vec()));
                        line.len()
                    })
                    .sum(),
            };
            assert!(used > 0, "no progress");
            reader.consume(used);
        }
    }

    fn expected(bytes: &[u8], limit: usize) -> Vec<Option<Vec<u8>>> {
        bytes.split_inclusive(|byte| *byte == b'\n').map(|line| (line.len() <= limit).then(|| line.to_vec())).collect()
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![2 => Just(b'\n'), 5 => Just(b'a'), 1 => Just(0u8)], 0..60)
    }

    proptest! {
        #[test]
        fn pieces_cut_anywhere_yield_each_line_once(
            bytes in text(), cuts in proptest::collection::vec(0u64..60, 0..4), buffer in 1usize..9, line in 1usize..12, step in 1usize..4,
        ) {
            let limits = Limits { buffer, line: line.max(buffer) };
            let len = bytes.len() as u64;
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(len)).chain([0, len]).collect();
            cuts.sort_unstable();
            let file = file(&bytes);
            let pieces = cuts.windows(2).map(|cut| cut[0]..cut[1]);
            let found: Vec<_> = pieces.clone().flat_map(|piece| read(&file, len, piece, limits, step)).collect();
            // The limit is on what is held: a line that happens to lie in the buffer whole is given whole.
            let expected = expected(&bytes, usize::MAX);
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                match found {
                    Some(line) => prop_assert_eq!(Some(line), expected.as_ref()),
                    None => prop_assert!(expected.as_ref().unwrap().len() > limits.line, "given up too early"),
                }
            }
            let count: u64 = pieces.map(|piece| count_lines(&file, piece, &mut [0; 3]).unwrap()).sum();
            prop_assert_eq!(count, expected.len() as u64);
        }
    }

    #[test]
    fn every_split_point_of_a_text_yields_the_same_lines() {
        for bytes in ["", "\n", "a", "a\n", "\n\n", "ab\ncd", "ab\r\n\ncd\n", "\n\nabcdef\ng\n\n"] {
            let (file, len) = (file(bytes.as_bytes()), bytes.len() as u64);
            for first in 0..=len {
                for second in first..=len {
                    let limits = Limits { buffer: 2, line: 8 };
                    let found: Vec<_> = [0..first, first..second, second..len]
                        .into_iter()
                        .flat_map(|piece| read(&file, len, piece, limits, 1))
                        .collect();
                    assert_eq!(found, expected(bytes.as_bytes(), 8), "{bytes:?} at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn an_overlong_line_comes_in_parts_and_the_next_line_whole() {
        let mut reader = LineReader::new(file(b"a\nbcdefghijk\nl\n"), 15, 0..15, Limits { buffer: 4, line: 4 });
        let mut seen = Vec::new();
        loop {
            let (text, used) = match reader.block().unwrap() {
                Block::End => break,
                Block::Lines(block) => (format!("{:?}", String::from_utf8_lossy(block)), block.len()),
                Block::Part { bytes, first } => (format!("{first} {:?}", String::from_utf8_lossy(bytes)), bytes.len()),
            };
            seen.push(text);
            reader.consume(used);
        }
        assert_eq!(seen, [r#""a\n""#, r#"true "bcde""#, r#"false "fghi""#, r#"false "jk\n""#, r#""l\n""#]);
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let mut reader = LineReader::new(file(b"a\n"), 5, 0..5, Limits::DEFAULT);
        assert_eq!(reader.block().unwrap(), Block::Lines(b"a\n"));
        reader.consume(2);
        assert_eq!(reader.block().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
