//! The shape of a line: what a device repeats message after message, learnt from a line that was accepted.
//!
//! In the lines of one device the order of keys, the spacing and the types are always the same, and only values change. A
//! [`Shape`] holds the bytes between the values of the model's fields. A line that has the same bytes there, and plain values
//! of the right type in between, is accepted without the general parser, and several times as fast.
//!
//! The shape accepts nothing that the general parser refuses, and gives equal values. Keys, and members that the model does
//! not know, are compared byte by byte with a line that was accepted; values are read only in forms whose meaning is beyond
//! doubt. Everything else (escapes, exponents, very long numbers, negative zeros, text that is not ASCII) is not refused
//! here but left to the general parser.

use std::borrow::Cow;

use crate::fixed_bytes::FixedBytes;
use crate::number::{Decimal, integer};
use crate::row::{EventTimeOnly, Row, Value};
use crate::schema::{Field, Kind};
use crate::template::{Template, TemplateBuilder};

/// What the lines of a device have in common.
#[derive(Debug)]
pub(crate) struct Shape {
    steps: Vec<Step>,
    /// The fixed bytes after the last value.
    tail: FixedBytes,
}

/// The fixed bytes before a value, and the value.
#[derive(Debug)]
enum Step {
    Value(FixedBytes, &'static Kind),
    /// One of few texts, for a column. Each of them is in fixed bytes, together with the bytes before it. The text of the
    /// line that was learnt is first.
    OneOf(usize, Vec<(FixedBytes, usize, &'static str)>),
}

/// Lines longer than this are not worth remembering.
const LONGEST: usize = 4096;

impl Shape {
    /// The shape of `line`, which the general parser has accepted with the values of `row`.
    pub(crate) fn learn(fields: &'static [Field], line: &[u8], row: &[Value<'_>]) -> Option<Self> {
        if line.len() > LONGEST {
            return None;
        }
        let mut scanner = JsonScanner { line, at: 0, fixed: 0, steps: Vec::new() };
        scanner.object(fields)?;
        let shape = Self { tail: FixedBytes::new(line.get(scanner.fixed..)?), steps: scanner.steps };
        // The scanner does not find every field: not one whose key has an escape, for example.
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
        self.match_front(line, row).is_some_and(<[u8]>::is_empty)
    }

    /// The time in the column `event_time` of `line`, if that has this shape.
    #[expect(clippy::option_option, reason = "whether it fits, and whether the model has an event time")]
    pub(crate) fn event_time(&self, line: &[u8], event_time: Option<usize>) -> Option<Option<i64>> {
        let mut event = EventTimeOnly::new(event_time);
        self.match_front(line, &mut event)?.is_empty().then_some(event.micros)
    }

    /// A template for the lines of this shape that differ from `line` in their digits alone.
    pub(crate) fn template(&self, line: &[u8], event_time: Option<usize>) -> Option<Template> {
        let (mut builder, mut rest) = (TemplateBuilder::new(line), line);
        for step in &self.steps {
            let mut event = EventTimeOnly::new(event_time);
            match step {
                Step::OneOf(column, allowed) => rest = one_of(allowed, *column, rest, &mut event)?,
                Step::Value(fixed, kind) => {
                    let value = fixed.strip(rest)?;
                    rest = read_value(kind, value, &mut event)?;
                    // A text does not consist of digits.
                    let length = (value.first() != Some(&b'"')).then(|| value.len() - rest.len())?;
                    builder.number(line.len() - value.len(), length, kind, event.micros.is_some())?;
                }
            }
        }
        builder.finish()
    }

    /// What follows a line of this shape at the front of `text`; its values go to `values`.
    #[inline]
    fn match_front<'l>(&self, text: &'l [u8], values: &mut (impl Row<'l> + ?Sized)) -> Option<&'l [u8]> {
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

/// What follows one of the `allowed` texts at the front of `text`.
#[inline]
fn one_of<'l>(
    allowed: &[(FixedBytes, usize, &'static str)],
    column: usize,
    text: &'l [u8],
    values: &mut (impl Row<'l> + ?Sized),
) -> Option<&'l [u8]> {
    let find = |(fixed, index, one): &(FixedBytes, usize, &'static str)| Some((fixed.strip(text)?, *index, *one));
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

/// A string of plain ASCII without escapes, after its opening quote.
fn plain_string(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.iter().position(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\'))?;
    let (string, rest) = text.split_at_checked(end)?;
    Some((std::str::from_utf8(string).ok()?, rest.strip_prefix(b"\"")?))
}

/// The step for a field of `kind` that follows the bytes `fixed` and is `value` in the line that is learnt.
fn step(fixed: &[u8], kind: &'static Kind, value: &[u8]) -> Step {
    let Kind::OneOf(allowed, column) = kind else { return Step::Value(FixedBytes::new(fixed), kind) };
    let quoted = |(index, one): (usize, &&'static str)| (format!("\"{one}\"").into_bytes(), index, *one);
    let mut allowed: Vec<_> = allowed.iter().enumerate().map(quoted).collect();
    allowed.sort_by_key(|(quoted, ..)| quoted != value);
    let allowed =
        allowed.into_iter().map(|(quoted, index, one)| (FixedBytes::new(&[fixed, &quoted].concat()), index, one));
    Step::OneOf(*column, allowed.collect())
}

/// Goes through a line that is known to be JSON, and finds the steps of its shape.
struct JsonScanner<'l> {
    line: &'l [u8],
    at: usize,
    /// Where the fixed bytes before the next value begin.
    fixed: usize,
    steps: Vec<Step>,
}

impl JsonScanner<'_> {
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
