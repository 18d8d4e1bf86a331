//! Lines that differ from one another in their digits alone.
//!
//! Most lines of a device have one of a few lengths, and in lines of one length each value mostly begins at the same byte.
//! A [`Template`] says for each byte of a line which values it may have. So a line is compared in strides of 32 bytes, and
//! its end need not be searched. A template is made from a line that has a known shape, and every line that fits it has
//! that shape too: all its bytes are those of the first line, except for the digits of numbers, which may be any digits that
//! leave the number in the same form.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the wider registers")]

use crate::number::{ZEROS, eight_digits};
use crate::schema::Kind;

/// A message at the front of a block that fits a template, with its terminator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated {
    /// Its length in bytes, without the terminator.
    pub length: usize,
    /// The same with the terminator.
    pub taken: usize,
    /// Its event time in microseconds since 1970; none if the model has none.
    pub event_time: Option<i64>,
}

/// The templates of recent lines.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    known: Vec<Template>,
    misses: u64,
    /// The index of the template that the next one replaces.
    oldest: usize,
}

impl Templates {
    /// Devices send lines of a few forms in a few lengths each. A template of another length costs a line one comparison.
    const MOST: usize = 16;
    /// After the first lines, only one of this many lines that fit no template gives a new one. To make one costs as much
    /// as many comparisons, and is of no use where each line has a form of its own.
    const PATIENCE: u64 = 32;

    /// The message at the front of `block`, if a template fits it.
    #[inline]
    pub(crate) fn front(&self, block: &[u8]) -> Option<Repeated> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has it.
            return unsafe { self.front_avx2(block) };
        }
        self.find(block)
    }

    /// The same, compiled for wider registers.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn front_avx2(&self, block: &[u8]) -> Option<Repeated> {
        self.find(block)
    }

    #[inline(always)]
    fn find(&self, block: &[u8]) -> Option<Repeated> {
        self.known.iter().find_map(|template| template.front(block))
    }

    /// Called for a line that was accepted and fits no template; `make` makes one, if there can be one.
    pub(crate) fn missed(&mut self, make: impl FnOnce() -> Option<Template>) {
        self.misses += 1;
        if self.misses > Self::MOST as u64 && !self.misses.is_multiple_of(Self::PATIENCE) {
            return;
        }
        let Some(template) = make() else { return };
        if self.known.len() < Self::MOST {
            self.known.push(template);
        } else if let Some(oldest) = self.known.get_mut(self.oldest) {
            *oldest = template;
            self.oldest = (self.oldest + 1) % Self::MOST;
        }
    }
}

/// The bytes compared at once.
const STRIDE: usize = 32;

/// Which bytes a line may consist of.
#[derive(Debug)]
pub(crate) struct Template {
    length: usize,
    strides: Vec<Stride>,
    /// The last bytes, some of which are in `strides` too.
    last: Stride,
    event_time: Option<EpochDigits>,
}

/// Each byte may be `first` and up to `more` above it.
#[derive(Debug, Clone, Copy)]
struct Stride {
    first: [u8; STRIDE],
    more: [u8; STRIDE],
}

impl Stride {
    /// Compares `bytes`: each byte of the result is that of `misfits`, with bits set if the byte is not allowed.
    #[inline(always)]
    fn compare(&self, bytes: &[u8; STRIDE], mut misfits: [u8; STRIDE]) -> [u8; STRIDE] {
        for (((byte, first), more), misfit) in bytes.iter().zip(&self.first).zip(&self.more).zip(&mut misfits) {
            *misfit |= byte.wrapping_sub(*first).saturating_sub(*more);
        }
        misfits
    }
}

impl Template {
    /// The message at the front of `block`, if it fits. No byte that a template allows is a terminator, so the first one is
    /// where the template ends.
    #[inline(always)]
    fn front(&self, block: &[u8]) -> Option<Repeated> {
        let length = self.length;
        let terminator = match block.get(length)? {
            b'\n' => 1,
            b'\r' if block.get(length + 1) == Some(&b'\n') => 2,
            _ => return None,
        };
        let line = block.get(..length)?;
        let strides = line.as_chunks().0.iter().zip(&self.strides);
        let misfits = self.last.compare(line.last_chunk()?, [0; STRIDE]);
        let misfits = strides.fold(misfits, |misfits, (bytes, stride)| stride.compare(bytes, misfits));
        if misfits != [0; STRIDE] {
            return None;
        }
        let event_time = match &self.event_time {
            None => None,
            Some(epoch) => Some(epoch.micros(line)?),
        };
        Some(Repeated { length, taken: length + terminator, event_time })
    }
}

/// Where the digits of an epoch time are: 8 to 16 of them, read as two words. The time is positive.
#[derive(Debug)]
struct EpochDigits {
    start: usize,
    /// Where the last eight digits begin.
    last: usize,
    /// A mask of those among them that are not among the first eight.
    new: u64,
    /// The factor of the first eight digits: ten to the power of the number of digits after them.
    first_counts: i64,
    /// Microseconds in the unit of the time.
    unit: i64,
}

impl EpochDigits {
    /// The time of `count` digits at `start`; none if there are too few or too many.
    fn new(kind: &Kind, start: usize, count: usize) -> Option<Self> {
        // No number of so many digits is out of range in microseconds.
        let (unit, most) = if matches!(kind, Kind::EpochSeconds(_)) { (1_000_000, 12) } else { (1, 16) };
        let more = u32::try_from(count.checked_sub(8).filter(|_| count <= most)?).ok()?;
        Some(Self {
            start,
            last: start + count - 8,
            new: u64::MAX.checked_shl(64 - 8 * more).unwrap_or(0),
            first_counts: 10_i64.pow(more),
            unit,
        })
    }

    /// The time in `line`, which has digits in these places, in microseconds since 1970.
    #[inline(always)]
    fn micros(&self, line: &[u8]) -> Option<i64> {
        let digits =
            |start: usize| Some(line.get(start..)?.first_chunk().map(|eight| u64::from_le_bytes(*eight))? ^ ZEROS);
        let (first, last) = (digits(self.start)?, digits(self.last)? & self.new);
        Some((eight_digits(first) * self.first_counts + eight_digits(last)) * self.unit)
    }
}

/// A template that is being made from a line.
pub(crate) struct TemplateBuilder {
    first: Vec<u8>,
    more: Vec<u8>,
    event_time: Option<EpochDigits>,
}

impl TemplateBuilder {
    /// A template that only this line fits.
    pub(crate) fn new(line: &[u8]) -> Self {
        Self { first: line.to_vec(), more: vec![0; line.len()], event_time: None }
    }

    /// Allows other digits in the number of `kind` that is `length` bytes long and begins at `start`. None if there can be
    /// no template: if an epoch time is negative, too short or too long, or if the number begins with a zero where only
    /// other digits may stand.
    pub(crate) fn number(&mut self, start: usize, length: usize, kind: &Kind, is_event_time: bool) -> Option<()> {
        let number = self.first.get_mut(start..start + length)?;
        let sign = usize::from(number.first() == Some(&b'-'));
        let whole = number.iter().skip(sign).take_while(|byte| byte.is_ascii_digit()).count();
        if let Kind::EpochSeconds(_) | Kind::EpochMicros(_) = kind {
            let epoch = EpochDigits::new(kind, start, whole).filter(|_| sign == 0)?;
            if is_event_time {
                self.event_time = Some(epoch);
            }
        }
        for (index, (byte, more)) in number.iter_mut().zip(self.more.get_mut(start..)?).enumerate() {
            let not_zero = index == sign && sign + whole > 1;
            match *byte {
                b'0' if not_zero => return None,
                b'0'..=b'9' => (*byte, *more) = if not_zero { (b'1', 8) } else { (b'0', 9) },
                _ => {}
            }
        }
        Some(())
    }

    /// The template; none if the line is too short for one, or ends in CR, which would be part of the terminator.
    pub(crate) fn finish(self) -> Option<Template> {
        let Self { first, more, event_time } = self;
        if first.last() == Some(&b'\r') {
            return None;
        }
        let stride = |(first, more): (&[u8; STRIDE], &[u8; STRIDE])| Stride { first: *first, more: *more };
        let strides = first.as_chunks().0.iter().zip(more.as_chunks().0).map(stride).collect();
        let last = stride((first.last_chunk()?, more.last_chunk()?));
        Some(Template { length: first.len(), strides, last, event_time })
    }
}
