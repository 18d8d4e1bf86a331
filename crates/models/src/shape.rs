//! The shape of a line: what a device repeats message after message, learnt from a line that was accepted.
//!
//! A device always says the same thing: order of keys, spacing and types repeat, and only values change. A [`Shape`] holds
//! the bytes between the values of the model's fields. A line that has the very same bytes there, and plain values of the
//! right type in between, is accepted without a general parser, at several times its speed.
//!
//! The shape accepts nothing that the general parser refuses, and gives equal values: keys and everything the model does
//! not know are compared byte by byte with a line that was accepted, and of values only those forms are taken whose
//! meaning is beyond doubt. All else (escapes, exponents, very long numbers, negative zeros, other text than ASCII) is not
//! refused here but left to the general parser.

use std::borrow::Cow;

use crate::row::{EventTime, Row, Value};
use crate::schema::{Field, Kind};
use crate::template::{Draft, Template};

/// What the lines of some device have in common.
#[derive(Debug)]
pub(crate) struct Shape {
    steps: Vec<Step>,
    /// The fixed bytes after the last value.
    tail: Fixed,
}

/// Fixed bytes and the value after them.
#[derive(Debug)]
enum Step {
    Value(Fixed, &'static Kind),
    /// One of few texts, for a column: each is fixed with the bytes before it. The one that was learnt is first.
    OneOf(usize, Vec<(Fixed, usize, &'static str)>),
}

/// Lines longer than this are not worth remembering.
const LONGEST: usize = 4096;

impl Shape {
    /// The shape of `line`, which the general parser has accepted with the values of `row`.
    pub(crate) fn learn(fields: &'static [Field], line: &[u8], row: &[Value<'_>]) -> Option<Self> {
        if line.len() > LONGEST {
            return None;
        }
        let mut walk = Walk { line, at: 0, fixed: 0, steps: Vec::new() };
        walk.object(fields)?;
        let shape = Self { tail: Fixed::new(line.get(walk.fixed..)?), steps: walk.steps };
        // A field that hides behind an escaped key, say, was not found by the walk.
        let mut again = Vec::new();
        (shape.read(line, row.len(), &mut again) && again == row).then_some(shape)
    }

    /// Whether `line` has this shape. If so, its values are in `row`, which has `columns` columns then.
    pub(crate) fn read<'l>(&self, line: &'l [u8], columns: usize, row: &mut Vec<Value<'l>>) -> bool {
        row.clear();
        row.resize_with(columns, || Value::Null);
        self.fill(line, row.as_mut_slice())
    }

    /// Whether `line` has this shape. If so, its values are in `row`; if not, some may be.
    #[inline]
    pub(crate) fn fill<'l>(&self, line: &'l [u8], row: &mut (impl Row<'l> + ?Sized)) -> bool {
        self.walk(line, row).is_some_and(<[u8]>::is_empty)
    }

    /// The time in the column `event_time` of `line`, if that has this shape.
    #[expect(clippy::option_option, reason = "whether it fits, and whether the model has an event time")]
    pub(crate) fn event_time(&self, line: &[u8], event_time: Option<usize>) -> Option<Option<i64>> {
        let mut event = EventTime::new(event_time);
        self.walk(line, &mut event)?.is_empty().then_some(event.micros)
    }

    /// The lines of this shape that differ from `line` in their digits alone, and where they have their event time.
    pub(crate) fn template(&self, line: &[u8], event_time: Option<usize>) -> Option<Template> {
        let (mut draft, mut rest) = (Draft::new(line), line);
        for step in &self.steps {
            let mut event = EventTime::new(event_time);
            match step {
                Step::OneOf(column, allowed) => rest = one_of(allowed, *column, rest, &mut event)?,
                Step::Value(fixed, kind) => {
                    let value = fixed.strip(rest)?;
                    rest = read_value(kind, value, &mut event)?;
                    // Text is not of digits.
                    let length = (value.first() != Some(&b'"')).then(|| value.len() - rest.len())?;
                    draft.number(line.len() - value.len(), length, kind, event.micros.is_some())?;
                }
            }
        }
        draft.finish()
    }

    /// What follows a line of this shape at the front of `text`; its values go to `values`.
    #[inline]
    fn walk<'l>(&self, text: &'l [u8], values: &mut (impl Row<'l> + ?Sized)) -> Option<&'l [u8]> {
        let mut rest = text;
        for step in &self.steps {
            rest = match step {
                Step::Value(fixed, kind) => read_value(kind, fixed.strip(rest)?, values)?,
                Step::OneOf(column, allowed) => one_of(allowed, *column, rest, values)?,
            };
        }
        self.tail.strip(rest)
    }
}

/// Bytes that have to be just so.
#[derive(Debug)]
struct Fixed {
    length: usize,
    /// All whole words from the front.
    words: Box<[u64]>,
    /// The last eight bytes, some of them for the second time; the upper ones alone if there are fewer.
    last: u64,
}

impl Fixed {
    fn new(bytes: &[u8]) -> Self {
        let (words, few) = bytes.as_chunks();
        Self {
            length: bytes.len(),
            words: words.iter().map(|word| u64::from_le_bytes(*word)).collect(),
            last: bytes.last_chunk().map_or_else(|| upper(few), |word| u64::from_le_bytes(*word)),
        }
    }

    /// What follows these bytes at the front of `text`. They are short: comparing words in place beats calling memcmp.
    #[inline]
    fn strip<'l>(&self, text: &'l [u8]) -> Option<&'l [u8]> {
        let (front, rest) = text.split_at_checked(self.length)?;
        let (words, few) = front.as_chunks();
        let last = match (front.last_chunk(), text.first_chunk()) {
            (Some(last), _) => u64::from_le_bytes(*last),
            // Branches on how many there are would be guessed wrong.
            (None, Some(more)) => {
                u64::from_le_bytes(*more).checked_shl(64 - 8 * u32::try_from(self.length).unwrap_or(0)).unwrap_or(0)
            }
            (None, None) => upper(few),
        };
        let words = words.iter().zip(&self.words).all(|(found, wanted)| u64::from_le_bytes(*found) == *wanted);
        (words && last == self.last).then_some(rest)
    }
}

/// Fewer than eight bytes as the upper ones of a word.
fn upper(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |word, byte| word >> 8 | u64::from(*byte) << 56)
}

/// What follows one of the `allowed` texts at the front of `text`.
#[inline]
fn one_of<'l>(
    allowed: &[(Fixed, usize, &'static str)],
    column: usize,
    text: &'l [u8],
    values: &mut (impl Row<'l> + ?Sized),
) -> Option<&'l [u8]> {
    let find = |(fixed, index, one): &(Fixed, usize, &'static str)| Some((fixed.strip(text)?, *index, *one));
    let (rest, index, one) = allowed.iter().find_map(find)?;
    values.one_of(column, index, one);
    Some(rest)
}

/// The epoch time of `kind` at the beginning of `text`, in microseconds, and what follows it.
#[inline]
fn epoch_micros<'l>(kind: &Kind, text: &'l [u8]) -> Option<(i64, &'l [u8])> {
    let (value, rest) = integer(text)?;
    Some((if matches!(kind, Kind::EpochSeconds(_)) { value.checked_mul(1_000_000)? } else { value }, rest))
}

/// What follows the value at the beginning of `text`, which goes to `values`.
#[inline]
fn read_value<'l>(kind: &Kind, text: &'l [u8], values: &mut (impl Row<'l> + ?Sized)) -> Option<&'l [u8]> {
    match *kind {
        Kind::Integer(column) => {
            let (value, rest) = integer(text)?;
            values.int(column, value);
            Some(rest)
        }
        Kind::EpochMicros(column) | Kind::EpochSeconds(column) => {
            let (value, rest) = epoch_micros(kind, text)?;
            values.micros(column, value);
            Some(rest)
        }
        Kind::NumberOrText { number, text: words } => {
            if let Some(string) = text.strip_prefix(b"\"") {
                let (value, rest) = plain_string(string)?;
                values.text(words, Cow::Borrowed(value));
                values.null(number);
                Some(rest)
            } else {
                let (value, rest) = Decimal::read(text)?;
                values.double(number, value.value());
                values.null(words);
                Some(rest)
            }
        }
        Kind::Object(_) | Kind::OneOf(..) => None,
    }
}

/// Digits as a number, how many there are, and what follows. JSON has no leading zeros.
#[inline]
fn digits(text: &[u8]) -> Option<(u64, usize, &[u8])> {
    // 18 digits always fit.
    const MOST: usize = 18;
    let (mut value, mut count) = text.first_chunk().map_or((0, 0), |eight| leading_digits(*eight));
    // Of fewer than eight the end is known.
    if count == 8 || text.len() < 8 {
        while let Some(digit) = text.get(count).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            if count == MOST {
                return None;
            }
            value = value * 10 + u64::from(digit);
            count += 1;
        }
    }
    let rest = text.get(count..)?;
    (count > 0).then_some((value, count, rest))
}

/// The digits at the front of eight bytes as a number, and how many they are: all at once, because where a number ends
/// differs from line to line, and a branch on it would be guessed wrong.
#[inline]
fn leading_digits(text: [u8; 8]) -> (u64, usize) {
    // The first digit is in the lowest byte. Digits become 0 to 9, all other bytes more.
    let word = u64::from_le_bytes(text) ^ ZEROS;
    // The high bit of each byte above 9. It may be wrong in bytes after the first of them, which do not matter.
    let others = (word.wrapping_add(0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080;
    let count = others.trailing_zeros() / 8;
    // Zeros in front for what is missing; none left if there is no digit.
    (eight_digits(word.checked_shl(64 - 8 * count).unwrap_or(0)).cast_unsigned(), count as usize)
}

/// Eight digits as text.
pub(crate) const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The number of eight digits, each in a byte of `word`, the first in the lowest.
#[inline]
pub(crate) fn eight_digits(word: u64) -> i64 {
    let pairs = word.wrapping_mul(10).wrapping_add(word >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    ((fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xffff_ffff).cast_signed()
}

/// The integer part of a number, its sign apart.
#[inline]
fn whole(text: &[u8]) -> Option<(bool, u64, usize, &[u8])> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |text| (true, text));
    let (value, count, rest) = digits(text)?;
    let leading_zero = count > 1 && text.first() == Some(&b'0');
    (!leading_zero).then_some((negative, value, count, rest))
}

/// Whether a number goes on where its digits end, in a way that is left to the general parser.
#[inline]
fn goes_on(rest: &[u8]) -> bool {
    matches!(rest.first(), Some(b'.' | b'e' | b'E'))
}

#[inline]
fn integer(text: &[u8]) -> Option<(i64, &[u8])> {
    let (negative, value, _, rest) = whole(text)?;
    let value = i64::try_from(value).ok()?;
    let plain = !(goes_on(rest) || negative && value == 0);
    plain.then_some((if negative { -value } else { value }, rest))
}

/// A decimal number of few digits: `digits / 10^places`.
struct Decimal {
    negative: bool,
    digits: u64,
    places: usize,
}

impl Decimal {
    /// Up to so many digits a double holds every integer, and powers of ten well beyond: one division then rounds just
    /// once, so the result is the double that is nearest to the decimal number (Clinger 1990).
    const EXACT: usize = 15;
    const POWERS: [u64; Self::EXACT + 1] = [
        1,
        10,
        100,
        1_000,
        10_000,
        100_000,
        1_000_000,
        10_000_000,
        100_000_000,
        1_000_000_000,
        10_000_000_000,
        100_000_000_000,
        1_000_000_000_000,
        10_000_000_000_000,
        100_000_000_000_000,
        1_000_000_000_000_000,
    ];

    /// The decimal number at the beginning of `text`, and what follows it.
    #[inline]
    fn read(text: &[u8]) -> Option<(Self, &[u8])> {
        let (negative, whole, count, rest) = whole(text)?;
        let (number, rest) = match rest.strip_prefix(b".") {
            None => (Self { negative, digits: whole, places: 0 }, rest),
            Some(fraction) => {
                let (part, places, rest) = digits(fraction)?;
                if count + places > Self::EXACT {
                    return None;
                }
                (Self { negative, digits: whole * Self::POWERS.get(places)? + part, places }, rest)
            }
        };
        let plain = !(goes_on(rest) || negative && number.digits == 0);
        plain.then_some((number, rest))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a fraction's digits fit a double, and a DOUBLE column keeps what it can"
    )]
    fn value(&self) -> f64 {
        let power = Self::POWERS.get(self.places).copied().unwrap_or(1);
        let value = self.digits as f64 / power as f64;
        if self.negative { -value } else { value }
    }
}

/// A string of plain ASCII without escapes, after its opening quote.
fn plain_string(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.iter().position(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\'))?;
    let (string, rest) = text.split_at_checked(end)?;
    Some((std::str::from_utf8(string).ok()?, rest.strip_prefix(b"\"")?))
}

/// The step with a value of `kind` after `fixed`, which is `value` in the line that is learnt.
fn step(fixed: &[u8], kind: &'static Kind, value: &[u8]) -> Step {
    let Kind::OneOf(allowed, column) = kind else { return Step::Value(Fixed::new(fixed), kind) };
    let quoted = |(index, one): (usize, &&'static str)| (format!("\"{one}\"").into_bytes(), index, *one);
    let mut allowed: Vec<_> = allowed.iter().enumerate().map(quoted).collect();
    allowed.sort_by_key(|(quoted, ..)| quoted != value);
    let allowed = allowed.into_iter().map(|(quoted, index, one)| (Fixed::new(&[fixed, &quoted].concat()), index, one));
    Step::OneOf(*column, allowed.collect())
}

/// A walk through a line that is known to be JSON.
struct Walk<'l> {
    line: &'l [u8],
    at: usize,
    /// Where the fixed bytes before the next value begin.
    fixed: usize,
    steps: Vec<Step>,
}

impl Walk<'_> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.spaces();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// An object of the model.
    fn object(&mut self, fields: &'static [Field]) -> Option<()> {
        self.take(b'{')?;
        loop {
            self.spaces();
            let start = self.at;
            self.skip()?;
            let key = self.line.get(start..self.at)?;
            self.take(b':')?;
            self.spaces();
            let known = fields.iter().find(|field| {
                key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\"")) == Some(field.key.as_bytes())
            });
            match known.map(|field| &field.kind) {
                None => self.skip()?,
                Some(Kind::Object(fields)) => self.object(fields)?,
                Some(kind) => {
                    let (fixed, start) = (self.line.get(self.fixed..self.at)?, self.at);
                    self.skip()?;
                    self.fixed = self.at;
                    self.steps.push(step(fixed, kind, self.line.get(start..self.at)?));
                }
            }
            self.spaces();
            self.at += 1;
            match self.line.get(self.at - 1)? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// A value of any kind, to its end.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => self.at += 1,
                _ => {
                    while self
                        .peek()
                        .is_some_and(|byte| !matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n'))
                    {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        loop {
            self.at += 1;
            match self.peek()? {
                b'\\' => self.at += 1,
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => {}
            }
        }
    }
}
