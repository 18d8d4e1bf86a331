//! Lines do not depend on how the input is cut, or on workers that resume where others were, and no byte is lost.
#![no_main]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod cuts;
mod edit;
// A program has no library to depend on, and one made for this would be there for nothing else.
#[allow(dead_code, reason = "what only the program needs")]
#[path = "../../../crates/tcp-ingest/src/framing.rs"]
mod framing;

use std::ops::Range;

use cuts::{Block, Input};
use framing::{Framing, Part};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use models::Frame;

fuzz_target!(|bytes: &[u8]| {
    let Some(input) = Input::new(bytes) else { return };
    let expected = expected(input.text, input.max_line);
    let whole = Block { end: input.text.len(), successor: false, suspect: false };
    assert_eq!(framed(&input, [whole].into_iter()), expected, "in one block");
    assert_eq!(framed(&input, input.blocks()), expected, "in blocks");
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    edit::mutate(data, size, max_size, seed, cuts::HEADER)
});

/// A complete line with its terminator, and whether it is over the limit.
type Line = (Range<usize>, bool);

/// What framing promises, the short way.
fn expected(text: &[u8], max_line: usize) -> Vec<Line> {
    let mut start = 0;
    let lines = text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| {
        let before = start;
        start += line.len();
        let content = line.strip_suffix(b"\n")?;
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        Some((before..start, content.len() > max_line))
    });
    lines.collect()
}

/// The lines of an input that comes in `blocks`; what is not taken is given again with the next one.
fn framed(input: &Input<'_>, blocks: impl Iterator<Item = Block>) -> Vec<Line> {
    let mut framing = Framing::new(Frame::Lines, input.max_line);
    let (mut lines, mut start, mut at) = (Vec::new(), 0, 0);
    for block in blocks {
        while let Some((part, taken)) = framing.next(&input.text[at..block.end]) {
            let bytes = &input.text[at..at + taken];
            let (content, too_long) = match part {
                Part::Line(line) => (line, false),
                Part::TooLong(piece) => (piece, true),
                Part::Blank => panic!("there is no such thing between lines"),
            };
            assert!(taken > 0 && bytes.starts_with(content), "a part is where it was, and there is progress");
            at += taken;
            match &bytes[content.len()..] {
                b"" => assert!(too_long && framing.inside_too_long(), "only a line over the limit comes in pieces"),
                b"\n" | b"\r\n" => {
                    assert!(!framing.inside_too_long());
                    lines.push((start..at, too_long));
                    start = at;
                }
                lost => panic!("lost: {lost:?}"),
            }
            if block.successor {
                framing = Framing::resume(Frame::Lines, input.max_line, framing.inside_too_long());
            }
        }
        let left = &input.text[at..block.end];
        assert!(!left.contains(&b'\n'), "a complete line is left");
        assert!(left.len() <= input.max_line + 1, "more is left than a line may be long");
    }
    lines
}
