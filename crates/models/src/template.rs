//! Lines that differ from one another in their digits alone.
//!
//! A device sends most of its lines in a few lengths, and those of one length mostly have each value in the same place. A
//! [`Template`] says of each byte which ones it may be, so that a line is compared in strides of 32 bytes, without a look
//! at what it consists of or for its end. It is made from a line that a [`Shape`](crate::shape::Shape) fits, and fits no line that the
//! shape does not: all bytes are those of that line, but for digits of numbers, which may be any digits that leave them
//! numbers of the same form.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the wider registers")]

use crate::schema::Kind;
use crate::shape::{ZEROS, eight_digits};

/// A message at the front of a block: a line that a template fits, and its terminator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated {
    /// Its length in bytes, without the terminator.
    pub length: usize,
    /// The same with the terminator.
    pub taken: usize,
    /// Its event time in microseconds since 1970; none if the model has none.
    pub event_time: Option<i64>,
}

/// The templates of lines lately.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    known: Vec<Template>,
    misses: u64,
    /// The one that gives way to the next.
    oldest: usize,
}

impl Templates {
    /// Devices send lines of a few forms in a few lengths each. One that is known costs a look at one byte.
    const MOST: usize = 16;
    /// After the first lines, only one of so many that fit none gives a template: making one costs as much as many
    /// comparisons, and is in vain where each line has a form of its own.
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

    /// No template fits a line that was accepted; `make` makes one, if there can be one.
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
    /// The last bytes, some of them for the second time.
    last: Stride,
    event_time: Option<Epoch>,
}

/// Each byte may be `first` and up to `more` above it.
#[derive(Debug, Clone, Copy)]
struct Stride {
    first: [u8; STRIDE],
    more: [u8; STRIDE],
}

impl Stride {
    /// What is not allowed, each byte ored to that of `misfits`.
    #[inline(always)]
    fn compare(&self, bytes: &[u8; STRIDE], mut misfits: [u8; STRIDE]) -> [u8; STRIDE] {
        for (((byte, first), more), misfit) in bytes.iter().zip(&self.first).zip(&self.more).zip(&mut misfits) {
            *misfit |= byte.wrapping_sub(*first).saturating_sub(*more);
        }
        misfits
    }
}

impl Template {
    /// The message at the front of `block`, if it is such a line. No byte of it can be its end.
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

/// A positive epoch time of so many digits that it is read without a look at each: eight and up to eight more.
#[derive(Debug)]
struct Epoch {
    start: usize,
    /// Where the last eight digits begin.
    last: usize,
    /// Of those, the ones that are not among the first eight.
    new: u64,
    /// What the first eight count.
    first_counts: i64,
    /// Microseconds in one.
    unit: i64,
}

impl Epoch {
    /// The one of `count` digits at `start`; none if it is too short or too long.
    fn new(kind: &Kind, start: usize, count: usize) -> Option<Self> {
        // So that no number of so many digits is out of range in microseconds.
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

    /// The time in `line`, which has digits there.
    #[inline(always)]
    fn micros(&self, line: &[u8]) -> Option<i64> {
        let digits =
            |start: usize| Some(line.get(start..)?.first_chunk().map(|eight| u64::from_le_bytes(*eight))? ^ ZEROS);
        let (first, last) = (digits(self.start)?, digits(self.last)? & self.new);
        Some((eight_digits(first) * self.first_counts + eight_digits(last)) * self.unit)
    }
}

/// A template in the making.
pub(crate) struct Draft {
    first: Vec<u8>,
    more: Vec<u8>,
    event_time: Option<Epoch>,
}

impl Draft {
    /// Only this line.
    pub(crate) fn new(line: &[u8]) -> Self {
        Self { first: line.to_vec(), more: vec![0; line.len()], event_time: None }
    }

    /// A number of `kind`, of `length` bytes at `start`, plain and complete, may have other digits. None if that would not do: a number that is negative or has several digits before the point must not
    /// begin with a zero.
    pub(crate) fn number(&mut self, start: usize, length: usize, kind: &Kind, is_event_time: bool) -> Option<()> {
        let number = self.first.get_mut(start..start + length)?;
        let sign = usize::from(number.first() == Some(&b'-'));
        let whole = number.iter().skip(sign).take_while(|byte| byte.is_ascii_digit()).count();
        if let Kind::EpochSeconds(_) | Kind::EpochMicros(_) = kind {
            let epoch = Epoch::new(kind, start, whole).filter(|_| sign == 0)?;
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

    /// The template; none if the line is too short for one, or ends like the terminator of another.
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
