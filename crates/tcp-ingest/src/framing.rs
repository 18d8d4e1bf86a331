//! From bytes to frames.
//!
//! A line ends with LF or CRLF. A line over the limit is handed out as it comes, in pieces, so that it needs no memory;
//! after its end the next line is a line again.
//!
//! A JSON document ends with the bracket that closes it. What is between documents and is no white space goes as far as the
//! next document or the end of the line. A document over the limit is handed out in pieces, as a line: after the end of a
//! line the next document begins.

use models::Frame;

/// A part of the input, without the line's terminator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'b> {
    Line(&'b [u8]),
    /// White space between documents.
    Blank,
    /// A line over the limit, or a piece of one.
    TooLong(&'b [u8]),
}

#[derive(Debug, Clone)]
pub(crate) struct Framing {
    frame: Frame,
    max_line: usize,
    inside_too_long: bool,
}

impl Framing {
    pub(crate) fn new(frame: Frame, max_line: usize) -> Self {
        Self::resume(frame, max_line, false)
    }

    /// Goes on where another framing was.
    pub(crate) fn resume(frame: Frame, max_line: usize, inside_too_long: bool) -> Self {
        Self { frame, max_line, inside_too_long }
    }

    pub(crate) fn inside_too_long(&self) -> bool {
        self.inside_too_long
    }

    /// Whether what comes next is a line from its beginning.
    pub(crate) fn is_plain(&self) -> bool {
        self.frame == Frame::Lines && !self.inside_too_long
    }

    /// The beginning of a line was taken: the rest of it is like the rest of a line over the limit.
    pub(crate) fn break_line(&mut self) {
        self.inside_too_long = true;
    }

    /// Takes the first part off `input`: returns it and how many bytes it took, or none if the line is not complete yet.
    pub(crate) fn next<'b>(&mut self, input: &'b [u8]) -> Option<(Part<'b>, usize)> {
        if self.frame == Frame::Json && !self.inside_too_long { self.document(input) } else { self.line(input) }
    }

    fn document<'b>(&mut self, input: &'b [u8]) -> Option<(Part<'b>, usize)> {
        let blank = input.len() - input.trim_ascii_start().len();
        if blank > 0 {
            return Some((Part::Blank, blank));
        }
        let end = match input.first()? {
            b'{' | b'[' => document_end(input),
            // No document: as far as the next one, or the end of the line.
            _ => input.iter().position(|byte| matches!(byte, b'{' | b'[' | b'\n')),
        };
        match end.map(|end| (input.get(..end).unwrap_or_default(), end)) {
            Some((part, end)) if end <= self.max_line => Some((Part::Line(part.trim_ascii_end()), end)),
            Some((part, end)) => Some((Part::TooLong(part), end)),
            None if input.len() > self.max_line => {
                self.inside_too_long = true;
                Some((Part::TooLong(input), input.len()))
            }
            None => None,
        }
    }

    fn line<'b>(&mut self, input: &'b [u8]) -> Option<(Part<'b>, usize)> {
        let end = memchr::memchr(b'\n', input);
        let text = input.get(..end.unwrap_or(input.len())).unwrap_or_default();
        match end {
            Some(end) => {
                let line = text.strip_suffix(b"\r").unwrap_or(text);
                let too_long = std::mem::take(&mut self.inside_too_long) || line.len() > self.max_line;
                Some((if too_long { Part::TooLong(line) } else { Part::Line(line) }, end + 1))
            }
            // One more for the CR of a line that is just as long as allowed.
            None if text.len() > self.max_line + 1 => {
                self.inside_too_long = true;
                Some((Part::TooLong(text), text.len()))
            }
            None => None,
        }
    }
}

/// How long the document is that `text` begins with; none if its end is not there.
fn document_end(text: &[u8]) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (index, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(index + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Frames `input` given in blocks that end at `cuts`; what is not complete is given again with the next block.
    fn frame(input: &[u8], cuts: &[usize], max_line: usize) -> (Vec<Vec<u8>>, Vec<u8>, usize) {
        frame_as(Frame::Lines, input, cuts, max_line)
    }

    fn frame_as(frame: Frame, input: &[u8], cuts: &[usize], max_line: usize) -> (Vec<Vec<u8>>, Vec<u8>, usize) {
        let mut framing = Framing::new(frame, max_line);
        let (mut lines, mut too_long, mut start) = (Vec::new(), Vec::new(), 0);
        for end in cuts.iter().copied().chain([input.len()]) {
            while let Some((part, taken)) = framing.next(&input[start..end]) {
                match part {
                    Part::Line(line) => lines.push(line.to_vec()),
                    Part::Blank => {}
                    Part::TooLong(piece) => too_long.extend_from_slice(piece),
                }
                start += taken;
            }
        }
        (lines, too_long, start)
    }

    #[test]
    fn lf_and_crlf_end_a_line_and_an_unfinished_one_is_left() {
        assert_eq!(frame(b"a\nb\r\n\nc", &[], 9), (vec![b"a".to_vec(), b"b".to_vec(), vec![]], vec![], 6));
    }

    #[test]
    fn a_line_as_long_as_allowed_is_a_line_with_either_ending() {
        assert_eq!(frame(b"1234\r\n1234\n", &[4, 5], 4).0.len(), 2);
        assert_eq!(frame(b"12345\n1234\n", &[], 4), (vec![b"1234".to_vec()], b"12345".to_vec(), 11));
    }

    #[test]
    fn documents_end_with_their_bracket_wherever_the_input_is_cut() {
        let input = b"{\"a\":\"}\\\"{\",\n \"b\":[{}]}{}\r\n\n [1] x,y {\"c\":1}\n?\n {\"d\":";
        let documents: [&[u8]; 6] = [b"{\"a\":\"}\\\"{\",\n \"b\":[{}]}", b"{}", b"[1]", b"x,y", b"{\"c\":1}", b"?"];
        for cut in 0..input.len() {
            let (lines, too_long, taken) = frame_as(Frame::Json, input, &[cut], 99);
            assert_eq!((lines, too_long), (documents.map(<[u8]>::to_vec).to_vec(), vec![]), "{cut}");
            assert_eq!(&input[taken..], b"{\"d\":");
        }
        // After one over the limit, the next begins on a line of its own.
        let (lines, too_long, _) = frame_as(Frame::Json, b"{\"a\":[1,2,3,4]}{}\n{}", &[9], 8);
        assert_eq!((lines, too_long), (vec![b"{}".to_vec()], b"{\"a\":[1,2,3,4]}{}".to_vec()));
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_input_is_cut(
            input in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'x')], 0..60),
            mut cuts in proptest::collection::vec(0usize..60, 0..10),
        ) {
            cuts.retain(|cut| *cut <= input.len());
            cuts.sort_unstable();
            let (lines, too_long, taken) = frame(&input, &cuts, 6);
            let whole = frame(&input, &[], 6);
            prop_assert_eq!(&lines, &whole.0);
            // Pieces of a line over the limit may keep a CR that a cut separated from its LF: no byte is lost.
            let visible = |kept: &[u8], rest: usize| memchr::memchr_iter(b'x', &[kept, &input[rest..]].concat()).count();
            prop_assert_eq!(visible(&too_long, taken), visible(&whole.1, whole.2));
            prop_assert!(input.get(taken..).is_some_and(|rest| !rest.contains(&b'\n')));
        }
    }
}
