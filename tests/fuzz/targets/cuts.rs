//! An input that arrives in blocks.
//!
//! The first bytes say how: the longest line that is allowed, then the blocks, one byte each and from the first again. The
//! rest is what a source sends.

/// So many bytes are not sent.
pub(crate) const HEADER: usize = 8;

/// What a source sends, and how it arrives.
pub(crate) struct Input<'i> {
    pub(crate) max_line: usize,
    pub(crate) text: &'i [u8],
    blocks: &'i [u8],
}

/// How far the input has arrived, and what happens then.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) end: usize,
    /// Another worker resumes.
    pub(crate) successor: bool,
    /// Workers died of it, so it is not parsed.
    #[allow(dead_code, reason = "framing knows nothing of it")]
    pub(crate) suspect: bool,
}

impl<'i> Input<'i> {
    /// None if the header is not complete.
    pub(crate) fn new(bytes: &'i [u8]) -> Option<Self> {
        let (header, text) = bytes.split_at_checked(HEADER)?;
        let (max_line, blocks) = header.split_first()?;
        Some(Self { max_line: (*max_line).into(), text, blocks })
    }

    /// The blocks; the last one ends with the input.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block> {
        let mut end = 0;
        self.blocks.iter().cycle().map_while(move |byte| {
            // From single bytes to many lines.
            let length = usize::from(byte & 0x3f).pow(2) + 1;
            let before = end;
            end = self.text.len().min(end + length);
            (before < end).then_some(Block { end, successor: byte & 0x40 != 0, suspect: byte & 0x80 != 0 })
        })
    }
}
