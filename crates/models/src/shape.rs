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

use crate::decode::Value;
use crate::schema::{Field, Kind};

/// What the lines of some device have in common.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Fixed bytes, each followed by a value.
    steps: Vec<(Box<[u8]>, &'static Kind)>,
    /// The fixed bytes after the last value.
    tail: Box<[u8]>,
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
        let shape = Self { tail: line.get(walk.fixed..)?.into(), steps: walk.steps };
        // A field that hides behind an escaped key, say, was not found by the walk.
        let mut again = Vec::new();
        (shape.read(line, row.len(), &mut again) && again == row).then_some(shape)
    }

    /// Whether `line` has this shape. If so, its values are in `row`, which has `columns` columns then.
    pub(crate) fn read<'l>(&self, line: &'l [u8], columns: usize, row: &mut Vec<Value<'l>>) -> bool {
        row.clear();
        row.resize_with(columns, || Value::Null);
        let mut rest = line;
        for (fixed, kind) in &self.steps {
            let Some(after) = rest.strip_prefix(&**fixed) else { return false };
            let Some((value, after)) = read_value(kind, after) else { return false };
            let (column, value) = value;
            let Some(slot) = row.get_mut(column) else { return false };
            *slot = value;
            rest = after;
        }
        rest == &*self.tail
    }
}

/// The value at the beginning of `text` with its column, and what follows it.
fn read_value<'l>(kind: &Kind, text: &'l [u8]) -> Option<((usize, Value<'l>), &'l [u8])> {
    Some(match *kind {
        Kind::Integer(column) => {
            let (value, rest) = integer(text)?;
            ((column, Value::Int(value)), rest)
        }
        Kind::EpochMicros(column) => {
            let (value, rest) = integer(text)?;
            ((column, Value::Micros(value)), rest)
        }
        Kind::EpochSeconds(column) => {
            let (value, rest) = integer(text)?;
            ((column, Value::Micros(value.checked_mul(1_000_000)?)), rest)
        }
        Kind::NumberOrText { number, text: words } => {
            if let Some(string) = text.strip_prefix(b"\"") {
                let (value, rest) = plain_string(string)?;
                ((words, Value::Text(Cow::Borrowed(value))), rest)
            } else {
                let (value, rest) = decimal(text)?;
                ((number, Value::Double(value)), rest)
            }
        }
        Kind::OneOf(allowed, column) => {
            let string = text.strip_prefix(b"\"")?;
            allowed.iter().find_map(|one| {
                let rest = string.strip_prefix(one.as_bytes())?.strip_prefix(b"\"")?;
                Some(((column, Value::Text(Cow::Borrowed(*one))), rest))
            })?
        }
        Kind::Object(_) => return None,
    })
}

/// Digits as a number, how many there are, and what follows. JSON has no leading zeros.
fn digits(text: &[u8]) -> Option<(u64, usize, &[u8])> {
    // 18 digits always fit.
    const MOST: usize = 18;
    let mut value = 0;
    let mut count = 0;
    while let Some(digit) = text.get(count).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        if count == MOST {
            return None;
        }
        value = value * 10 + u64::from(digit);
        count += 1;
    }
    let rest = text.get(count..)?;
    (count > 0).then_some((value, count, rest))
}

/// The integer part of a number, its sign apart.
fn whole(text: &[u8]) -> Option<(bool, u64, usize, &[u8])> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |text| (true, text));
    let (value, count, rest) = digits(text)?;
    let leading_zero = count > 1 && text.first() == Some(&b'0');
    (!leading_zero).then_some((negative, value, count, rest))
}

/// Whether a number goes on where its digits end, in a way that is left to the general parser.
fn goes_on(rest: &[u8]) -> bool {
    matches!(rest.first(), Some(b'.' | b'e' | b'E'))
}

fn integer(text: &[u8]) -> Option<(i64, &[u8])> {
    let (negative, value, _, rest) = whole(text)?;
    let value = i64::try_from(value).ok()?;
    let plain = !(goes_on(rest) || negative && value == 0);
    plain.then_some((if negative { -value } else { value }, rest))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a fraction's digits fit a double, and a DOUBLE column keeps what it can"
)]
fn decimal(text: &[u8]) -> Option<(f64, &[u8])> {
    /// Up to here a double holds every integer, and powers of ten well beyond: one division then rounds just once, so
    /// the result is the double that is nearest to the decimal number (Clinger 1990).
    const EXACT: usize = 15;
    const POWERS: [f64; EXACT + 1] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (negative, value, count, rest) = whole(text)?;
    let (value, rest) = match rest.strip_prefix(b".") {
        None => (value as f64, rest),
        Some(fraction) => {
            let (part, places, rest) = digits(fraction)?;
            if count + places > EXACT {
                return None;
            }
            let scale = 10u64.pow(u32::try_from(places).ok()?);
            ((value * scale + part) as f64 / POWERS.get(places)?, rest)
        }
    };
    let plain = !(goes_on(rest) || negative && value == 0.0);
    plain.then_some((if negative { -value } else { value }, rest))
}

/// A string of plain ASCII without escapes, after its opening quote.
fn plain_string(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.iter().position(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\'))?;
    let (string, rest) = text.split_at_checked(end)?;
    Some((std::str::from_utf8(string).ok()?, rest.strip_prefix(b"\"")?))
}

/// A walk through a line that is known to be JSON.
struct Walk<'l> {
    line: &'l [u8],
    at: usize,
    /// Where the fixed bytes before the next value begin.
    fixed: usize,
    steps: Vec<(Box<[u8]>, &'static Kind)>,
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
                    self.steps.push((self.line.get(self.fixed..self.at)?.into(), kind));
                    self.skip()?;
                    self.fixed = self.at;
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
