//! Lines that differ from one another in their digits alone.
//!
//! Most lines of a device have one of a few lengths, and in lines of one length each value mostly begins at the same byte.
//! A [`Template`] says for each byte of a line which values it may have. So a line is compared in strides of 32 bytes, and
//! its end need not be searched. A template is made from a line that was accepted, and every line that fits it is
//! accepted too: all its bytes are those of the first line, except for the digits of numbers, which may be any digits that
//! leave the number in the same form. A number keeps its digits where the model does not take all of that form.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the wider registers")]

use super::number::{ZEROS, eight_digits};
use super::scan::scan;
use crate::leaf::{Kind, Leaf};
use crate::schema::Node;
use crate::time::{TimestampFormat, Unit};

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
    /// How many of the lines since the last pause were looked for, and how many were found.
    tried: u32,
    found: u32,
    /// For how many lines none is looked for: where most fit none, looking costs more than it saves.
    pause: u32,
}

impl Templates {
    /// Devices send lines of a few forms in a few lengths each. A template of another length costs a line one comparison.
    const MOST: usize = 16;
    /// After the first lines, only one of this many lines that fit no template gives a new one. To make one costs as much
    /// as many comparisons, and is of no use where each line has a form of its own.
    const PATIENCE: u64 = 32;
    /// After how many lines it is decided whether to pause, how many have to be found, and how long a pause is.
    const TRIAL: u32 = 512;
    const ENOUGH: u32 = 128;
    const PAUSE: u32 = 16 * 1024;

    /// The message at the front of `block`, if a template fits it.
    #[inline]
    pub(crate) fn front(&mut self, block: &[u8]) -> Option<Repeated> {
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        let found = self.look(block);
        self.tried += 1;
        self.found += u32::from(found.is_some());
        if self.tried == Self::TRIAL {
            self.pause = if self.found < Self::ENOUGH { Self::PAUSE } else { 0 };
            (self.tried, self.found) = (0, 0);
        }
        found
    }

    #[inline]
    fn look(&self, block: &[u8]) -> Option<Repeated> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has it.
            return unsafe { self.look_avx2(block) };
        }
        self.find(block)
    }

    /// The same, compiled for wider registers.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn look_avx2(&self, block: &[u8]) -> Option<Repeated> {
        self.find(block)
    }

    #[inline(always)]
    fn find(&self, block: &[u8]) -> Option<Repeated> {
        self.known.iter().find_map(|template| template.front(block))
    }

    /// Called for a line that was accepted and fits no template; `make` makes one, if there can be one.
    pub(crate) fn missed(&mut self, make: impl FnOnce() -> Option<Template>) {
        if self.pause > 0 {
            return;
        }
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
    event_time: EventTime,
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
            EventTime::None => None,
            EventTime::Fixed(micros) => Some(*micros),
            EventTime::Epoch(epoch) => Some(epoch.micros(line)?),
        };
        Some(Repeated { length, taken: length + terminator, event_time })
    }
}

/// When the messages of a template are of.
#[derive(Debug)]
enum EventTime {
    /// The model has no event time.
    None,
    /// All are of the same time, in microseconds since 1970.
    Fixed(i64),
    Epoch(EpochDigits),
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
    fn new(unit: Unit, start: usize, count: usize) -> Option<Self> {
        let more = u32::try_from(count.checked_sub(8).filter(|_| count <= 16)?).ok()?;
        let unit = unit.micros()?;
        // No number of so many digits is out of range in microseconds.
        unit.checked_mul(10_i64.pow(more + 8))?;
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

impl Template {
    /// A template for lines like `line`, which was accepted as a message with `root` at `event_time`, the column with the
    /// event time being `column`. None if the line is too short for one, or ends in CR, which would be part of the terminator.
    pub(crate) fn new(root: &Node, column: Option<usize>, line: &[u8], event_time: Option<i64>) -> Option<Self> {
        if line.last() == Some(&b'\r') {
            return None;
        }
        let (mut first, mut more) = (line.to_vec(), vec![0; line.len()]);
        let mut time = event_time.map_or(EventTime::None, EventTime::Fixed);
        let mut at = 0;
        for found in scan(root, line)?.0 {
            let start = at + found.fixed.len();
            at = start + found.value.len();
            let Some(number) = Number::new(found.value) else { continue };
            match found.leaf.as_deref() {
                Some(leaf) if column.is_some() && leaf.column == column => {
                    let Some(digits) = number.epoch(leaf, start) else { continue };
                    time = EventTime::Epoch(digits);
                }
                Some(leaf) if !number.may_vary(leaf) => continue,
                _ => {}
            }
            for (index, (byte, more)) in first.get_mut(start..at)?.iter_mut().zip(more.get_mut(start..)?).enumerate() {
                if byte.is_ascii_digit() {
                    (*byte, *more) = if Some(index) == number.not_zero { (b'1', 8) } else { (b'0', 9) };
                }
            }
        }
        let stride = |(first, more): (&[u8; STRIDE], &[u8; STRIDE])| Stride { first: *first, more: *more };
        let strides = first.as_chunks().0.iter().zip(more.as_chunks().0).map(stride).collect();
        let last = stride((first.last_chunk()?, more.last_chunk()?));
        Some(Self { length: first.len(), strides, last, event_time: time })
    }
}

/// A number of a line.
struct Number<'l> {
    text: &'l str,
    /// The index of the digit that must not become zero.
    not_zero: Option<usize>,
}

impl<'l> Number<'l> {
    /// The number `value`; none if it is something else, has an exponent, or a zero that no other digit may stand for.
    fn new(value: &'l [u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok().filter(|text| !text.contains(['e', 'E']))?;
        let sign = usize::from(text.starts_with('-'));
        let whole = value.iter().skip(sign).take_while(|byte| byte.is_ascii_digit()).count();
        let not_zero = (whole > 0 && sign + whole > 1).then_some(sign);
        let is_zero = not_zero.and_then(|index| value.get(index)) == Some(&b'0');
        (whole > 0 && !is_zero).then_some(Self { text, not_zero })
    }

    /// The event time that it is, if it is a positive whole number of some length.
    fn epoch(&self, leaf: &Leaf, start: usize) -> Option<EpochDigits> {
        match &leaf.kind {
            Kind::Timestamp(TimestampFormat::Epoch(unit)) if self.text.bytes().all(|byte| byte.is_ascii_digit()) => {
                EpochDigits::new(*unit, start, self.text.len())
            }
            _ => None,
        }
    }

    /// Whether `leaf` accepts each number of this form.
    fn may_vary(&self, leaf: &Leaf) -> bool {
        let with = |digit: char, first: char| {
            let digits = self.text.char_indices().map(|(index, byte)| match byte {
                '0'..='9' if Some(index) == self.not_zero => first,
                '0'..='9' => digit,
                other => other,
            });
            digits.collect::<String>()
        };
        let (lowest, highest) = (with('0', '1'), with('9', '9'));
        let both = leaf.scalar(&lowest).ok().zip(leaf.scalar(&highest).ok());
        both.is_some_and(|(lowest, highest)| leaf.accepts_any_digits(&lowest, &highest))
    }
}
