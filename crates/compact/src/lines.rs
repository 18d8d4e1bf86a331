//! The lines of a piece of a segment, in blocks, read with bounded memory.
//!
//! A piece begins where a line does and ends where one ends ([`line_start`]). Lines come in blocks of whole lines that lie in
//! the buffer one after the other, so that nothing is copied or allocated per line. A line longer than the limit comes in
//! parts. A last line without a terminator is a line.
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

/// Reads the lines of a piece of a file.
#[derive(Debug)]
pub(crate) struct LineReader {
    file: File,
    /// What of the piece is not in the buffer yet.
    rest: Range<u64>,
    buffer: Vec<u8>,
    /// What of the buffer is not consumed.
    unread: Range<usize>,
    /// Whether the next byte is inside a line that is longer than the limit.
    inside: bool,
    limits: Limits,
}

impl LineReader {
    /// A reader of the lines of `piece` of `file`.
    pub(crate) fn new(file: File, piece: Range<u64>, limits: Limits) -> Self {
        let size = usize::try_from(piece.end - piece.start).map_or(limits.buffer, |len| len.clamp(1, limits.buffer));
        Self { file, rest: piece, buffer: vec![0; size], unread: 0..0, inside: false, limits }
    }

    /// The next block. It stays the same until something is consumed.
    pub(crate) fn block(&mut self) -> io::Result<Block<'_>> {
        loop {
            if self.unread.is_empty() && self.rest.is_empty() {
                return Ok(Block::End);
            }
            let first = !self.inside;
            if first && let Some(end) = self.last_line_end() {
                return Ok(Block::Lines(self.buffer.get(self.unread.start..end).unwrap_or_default()));
            }
            let enough = if first { self.limits.line } else { 1 };
            if self.unread.len() >= enough {
                let unread = self.buffer.get(self.unread.clone()).unwrap_or_default();
                let end = memchr(b'\n', unread).map_or(unread.len(), |newline| newline + 1);
                return Ok(Block::Part { bytes: unread.get(..end).unwrap_or_default(), first });
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

    /// The end in the buffer of the last whole line that lies in it.
    fn last_line_end(&self) -> Option<usize> {
        let unread = self.buffer.get(self.unread.clone())?;
        if self.rest.is_empty() {
            return Some(self.unread.end);
        }
        memrchr(b'\n', unread).map(|newline| self.unread.start + newline + 1)
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
        let got = read_at(&self.file, room, &self.rest)?;
        self.unread.end += got;
        self.rest.start += got as u64;
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

/// How many lines a piece has. `buffer` is memory to read into.
pub(crate) fn count_lines(file: &File, mut piece: Range<u64>, buffer: &mut [u8]) -> io::Result<u64> {
    let (mut lines, mut last) = (0, b'\n');
    while !piece.is_empty() {
        let got = read_at(file, buffer, &piece)?;
        let read = buffer.get(..got).unwrap_or_default();
        lines += memchr_iter(b'\n', read).count() as u64;
        last = read.last().copied().unwrap_or(last);
        piece.start += got as u64;
    }
    Ok(lines + u64::from(last != b'\n'))
}

/// Where the first line begins that does so at the byte `at` of a file of `len` bytes or behind it; its end if there is none.
pub(crate) fn line_start(file: &File, len: u64, at: u64) -> io::Result<u64> {
    if at == 0 || at == len {
        return Ok(at);
    }
    // The byte before tells whether a line begins at this one.
    let (mut rest, mut buffer) = (at - 1..len, [0; 4096]);
    while !rest.is_empty() {
        let got = read_at(file, &mut buffer, &rest)?;
        if let Some(newline) = memchr(b'\n', buffer.get(..got).unwrap_or_default()) {
            return Ok(rest.start + newline as u64 + 1);
        }
        rest.start += got as u64;
    }
    Ok(len)
}

/// Reads some of the first bytes of `piece`. There being none is an error: a sealed segment does not shrink.
fn read_at(file: &File, buffer: &mut [u8], piece: &Range<u64>) -> io::Result<usize> {
    layout::fault::fails("segment.read")?;
    let want = usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX).min(buffer.len());
    let buffer = buffer.get_mut(..want).unwrap_or_default();
    loop {
        match file.read_at(buffer, piece.start) {
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

    /// The pieces of a file that is cut at the first lines from `cuts` on.
    fn pieces(file: &File, len: u64, cuts: &[u64]) -> Vec<Range<u64>> {
        let starts: Vec<_> = cuts.iter().map(|cut| line_start(file, len, *cut).unwrap()).collect();
        starts.windows(2).map(|cut| cut[0]..cut[1]).collect()
    }

    /// What a piece yields: whole lines, and each over-long line that begins in it as none.
    fn read(file: &File, piece: Range<u64>, limits: Limits, step: usize) -> Vec<Option<Vec<u8>>> {
        let mut reader = LineReader::new(file.try_clone().unwrap(), piece, limits);
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
            let pieces = pieces(&file, len, &cuts);
            let found: Vec<_> = pieces.iter().flat_map(|piece| read(&file, piece.clone(), limits, step)).collect();
            // The limit is on what is held: a line that happens to lie in the buffer whole is given whole.
            let expected = expected(&bytes, usize::MAX);
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                match found {
                    Some(line) => prop_assert_eq!(Some(line), expected.as_ref()),
                    None => prop_assert!(expected.as_ref().unwrap().len() > limits.line, "given up too early"),
                }
            }
            let count: u64 = pieces.into_iter().map(|piece| count_lines(&file, piece, &mut [0; 3]).unwrap()).sum();
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
                    let pieces = pieces(&file, len, &[0, first, second, len]);
                    let found: Vec<_> = pieces.into_iter().flat_map(|piece| read(&file, piece, limits, 1)).collect();
                    assert_eq!(found, expected(bytes.as_bytes(), 8), "{bytes:?} at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn an_overlong_line_comes_in_parts_and_the_next_line_whole() {
        let mut reader = LineReader::new(file(b"a\nbcdefghijk\nl\n"), 0..15, Limits { buffer: 4, line: 4 });
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
        let mut reader = LineReader::new(file(b"a\n"), 0..5, Limits::DEFAULT);
        assert_eq!(reader.block().unwrap(), Block::Lines(b"a\n"));
        reader.consume(2);
        assert_eq!(reader.block().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
