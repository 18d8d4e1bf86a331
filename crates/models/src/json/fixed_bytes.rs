//! Fixed bytes of a line, compared as words.

/// The bytes that a line must have in one place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FixedBytes {
    length: usize,
    /// All whole words from the front.
    words: Box<[u64]>,
    /// The last eight bytes, some of which are in `words` too. If there are fewer, they are the upper ones of the word.
    last: u64,
}

impl FixedBytes {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let (words, few) = bytes.as_chunks();
        Self {
            length: bytes.len(),
            words: words.iter().map(|word| u64::from_le_bytes(*word)).collect(),
            last: bytes.last_chunk().map_or_else(|| upper(few), |word| u64::from_le_bytes(*word)),
        }
    }

    /// What follows these bytes at the front of `text`; none if it begins with others. There are few of them, so that
    /// comparing them as words here is faster than a call of memcmp.
    #[inline]
    pub(crate) fn strip<'l>(&self, text: &'l [u8]) -> Option<&'l [u8]> {
        let (front, rest) = text.split_at_checked(self.length)?;
        let (words, few) = front.as_chunks();
        let last = match (front.last_chunk(), text.first_chunk()) {
            (Some(last), _) => u64::from_le_bytes(*last),
            // Without a branch on their number, which the processor would mispredict.
            (None, Some(more)) => {
                u64::from_le_bytes(*more).checked_shl(64 - 8 * u32::try_from(self.length).unwrap_or(0)).unwrap_or(0)
            }
            (None, None) => upper(few),
        };
        let words = words.iter().zip(&self.words).all(|(found, wanted)| u64::from_le_bytes(*found) == *wanted);
        (words && last == self.last).then_some(rest)
    }
}

/// Fewer than eight bytes, as the upper bytes of a word.
fn upper(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |word, byte| word >> 8 | u64::from(*byte) << 56)
}
