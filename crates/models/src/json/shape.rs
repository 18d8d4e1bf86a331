//! The shapes of lines: what devices repeat message after message, learnt from lines that were accepted.
//!
//! In the lines of one device the order of keys, the spacing and the types are always the same, and only values change. A
//! shape is the bytes between the values. A line that has the same bytes there, and plain values in between that their leaves
//! accept, is accepted without the general parser, and several times as fast.
//!
//! All shapes are in one tree: lines that begin alike share its trunk, and a line is told from others where they differ. So it
//! does not matter how many kinds of devices a stream has.
//!
//! A shape accepts nothing that the general parser refuses, and gives equal values. Keys are compared byte by byte with a
//! line that was accepted; values are read only in forms whose meaning is beyond doubt. Everything else (escapes, exponents,
//! very long numbers, negative zeros) is not refused here but left to the general parser.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::fixed_bytes::FixedBytes;
use super::number::{Number, integer, number};
use super::scan::{Found, scan};
use crate::leaf::{Kind, Leaf, Literal, Scalar};
use crate::row::{Row, Value};
use crate::schema::Variant;
use crate::time::TimestampFormat;

/// The shapes of recent lines.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    root: Fork,
    /// How many shapes the tree has.
    known: usize,
    /// Accepted lines that had none of them, counted since there are as many as are kept.
    misses: u32,
}

/// A place where lines go on in different ways.
#[derive(Debug, Default)]
struct Fork {
    branches: Vec<Branch>,
    ends: Vec<End>,
    /// The branch that fitted last: it is tried first.
    recent: usize,
}

/// The bytes before a value, the value, and how lines go on behind it.
#[derive(Debug)]
struct Branch {
    step: Step,
    next: Fork,
}

#[derive(Debug)]
enum Step {
    /// A value for `leaf`, read in a way that is faster for its kind.
    Plain { fixed: FixedBytes, leaf: Arc<Leaf>, kind: Plain },
    /// A value for `leaf`, which may need it as it was sent.
    Value { fixed: FixedBytes, leaf: Arc<Leaf>, raw: bool },
    /// One of few texts, each in fixed bytes together with the bytes before it.
    OneOf { fixed: FixedBytes, leaf: Arc<Leaf>, texts: Vec<(FixedBytes, u32)> },
    /// A number or text that no column reads.
    Ignored { fixed: FixedBytes },
}

/// The leaves that most values are for: of a type that takes each plain value, with nothing else asked of it, each with the
/// column. What they do not take is left to [`Leaf::accept`], which decides.
#[derive(Debug, Clone, Copy)]
enum Plain {
    Int(usize),
    /// A whole number of this many microseconds.
    Epoch(usize, i64),
    Float(usize),
    /// A number to the one column, or a text to the other.
    FloatOrText(usize, usize),
    Text(usize),
}

impl Plain {
    fn of(leaf: &Leaf) -> Option<Self> {
        let is_plain = |leaf: &Leaf| leaf.nulls.is_empty() && leaf.demands.is_none();
        let column = leaf.column.filter(|_| leaf.chain().all(is_plain))?;
        let otherwise = leaf.otherwise.as_deref().map(|other| (&other.kind, other.column, other.otherwise.is_some()));
        Some(match (&leaf.kind, otherwise) {
            (Kind::Int, None) => Self::Int(column),
            (Kind::Timestamp(TimestampFormat::Epoch(unit)), None) => Self::Epoch(column, unit.micros()?),
            (Kind::Float, None) => Self::Float(column),
            (Kind::Float, Some((Kind::Text, Some(text), false))) if !leaf.coerce => Self::FloatOrText(column, text),
            (Kind::Text, None) => Self::Text(column),
            _ => return None,
        })
    }

    /// What follows the value that `text` begins with; the value goes to `row`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "most values are read by it")]
    fn read<'l>(self, text: &'l [u8], row: &mut (impl Row<'l> + ?Sized)) -> Option<&'l [u8]> {
        match self {
            Self::Int(column) => {
                let (value, rest) = integer(text)?;
                row.set(column, Value::Int(value));
                Some(rest)
            }
            Self::Epoch(column, unit) => {
                let (value, rest) = integer(text)?;
                row.set(column, Value::Micros(value.checked_mul(unit)?));
                Some(rest)
            }
            Self::Float(column) => {
                let (value, rest) = number(text)?;
                row.set(column, Value::Double(value.float()));
                Some(rest)
            }
            Self::FloatOrText(column, words) => {
                if text.first() == Some(&b'"') {
                    let (value, rest) = plain_string(text.get(1..)?)?;
                    row.set(words, Value::Text(Cow::Borrowed(value)));
                    row.set(column, Value::Null);
                    Some(rest)
                } else {
                    let (value, rest) = number(text)?;
                    row.set(column, Value::Double(value.float()));
                    row.set(words, Value::Null);
                    Some(rest)
                }
            }
            Self::Text(column) => {
                let (value, rest) = plain_string(text.strip_prefix(b"\"")?)?;
                row.set(column, Value::Text(Cow::Borrowed(value)));
                Some(rest)
            }
        }
    }
}

/// The bytes behind the last value, and what columns get that no value of the line went to.
#[derive(Debug)]
struct End {
    tail: FixedBytes,
    constants: Vec<(usize, Value<'static>)>,
    /// The index of the kind of message.
    variant: usize,
}

/// Lines longer than this are not worth remembering.
const LONGEST: usize = 4096;
/// How many shapes are kept.
const MOST: usize = 256;
/// After how many lines that fit no shape the tree is grown anew. Where each line has a shape of its own, learning is of no
/// use and has to be rare.
const PATIENCE: u32 = 32;

impl Shapes {
    /// Whether `line` has a known shape. If so, its values are in `row`, and the result is the index of its kind of message;
    /// if not, some values may be in `row`.
    #[inline]
    pub(crate) fn fill<'l>(&mut self, line: &'l [u8], row: &mut (impl Row<'l> + ?Sized)) -> Option<usize> {
        let (mut fork, mut rest) = (&mut self.root, line);
        loop {
            match fork.advance(rest, row) {
                Some((index, after)) => {
                    rest = after;
                    fork = &mut fork.branches.get_mut(index)?.next;
                }
                None => {
                    let end = fork.ends.iter().find(|end| end.tail.strip(rest).is_some_and(<[u8]>::is_empty))?;
                    end.constants.iter().for_each(|(column, value)| row.set(*column, value.clone()));
                    return Some(end.variant);
                }
            }
        }
    }

    /// Learns the shape of `line`, which the general parser has accepted as the kind of message `variant`, which is number
    /// `index`, with the values of `row`.
    pub(crate) fn learn(&mut self, variant: &Variant, index: usize, line: &[u8], row: &[Value<'_>]) {
        if self.known == MOST {
            self.misses += 1;
            if self.misses < PATIENCE {
                return;
            }
            *self = Self::default();
        }
        let Some(root) = Fork::of(variant, index, line, row.len()) else { return };
        // The scanner does not find every value: not one whose key has an escape, for example.
        let mut alone = Self { root, known: 1, misses: 0 };
        let mut again = vec![Value::Null; row.len()];
        if alone.fill(line, again.as_mut_slice()).is_some() && again == row {
            self.known += 1;
            self.root.grow(alone.root);
        }
    }
}

impl Fork {
    /// The shape of one line.
    fn of(variant: &Variant, index: usize, line: &[u8], columns: usize) -> Option<Self> {
        if line.len() > LONGEST {
            return None;
        }
        let (found, tail) = scan(&variant.root, line)?;
        let mut constants: Vec<_> = (0..columns).map(|column| Some((column, Value::Null))).collect();
        for (column, value) in &variant.constants {
            *constants.get_mut(*column)? = Some((*column, value.clone()));
        }
        for leaf in found.iter().filter_map(|found| found.leaf.as_ref()).flat_map(|leaf| leaf.chain()) {
            if let Some(constant) = leaf.column.and_then(|column| constants.get_mut(column)) {
                *constant = None;
            }
        }
        let end =
            End { tail: FixedBytes::new(tail), constants: constants.into_iter().flatten().collect(), variant: index };
        let last = Self { ends: vec![end], ..Self::default() };
        let before = |next, found: Found<'_>| {
            let branches = vec![Branch { step: Step::new(found), next }];
            Self { branches, ..Self::default() }
        };
        Some(found.into_iter().rfold(last, before))
    }

    /// Goes on into a branch that fits the beginning of `text`: its index, and what follows the value.
    #[inline]
    fn advance<'l>(&mut self, text: &'l [u8], row: &mut (impl Row<'l> + ?Sized)) -> Option<(usize, &'l [u8])> {
        if let Some(rest) = self.branches.get(self.recent).and_then(|branch| branch.step.read(text, row)) {
            return Some((self.recent, rest));
        }
        let mut others = self.branches.iter().enumerate().filter(|(index, _)| *index != self.recent);
        let (index, rest) = others.find_map(|(index, branch)| Some((index, branch.step.read(text, row)?)))?;
        self.recent = index;
        Some((index, rest))
    }

    /// Takes another tree in.
    fn grow(&mut self, other: Self) {
        self.ends.extend(other.ends);
        for branch in other.branches {
            match self.branches.iter_mut().find(|own| own.step.is_same(&branch.step)) {
                Some(own) => own.next.grow(branch.next),
                None => self.branches.push(branch),
            }
        }
    }
}

impl Step {
    fn new(found: Found<'_>) -> Self {
        let fixed = FixedBytes::new(found.fixed);
        let Some(leaf) = found.leaf else { return Self::Ignored { fixed } };
        let Kind::OneOf(allowed) = &leaf.kind else {
            let raw = leaf.reads_raw();
            // The value of this line, too, has to be one that it takes.
            let plain = Plain::of(&leaf).filter(|plain| plain.read(found.value, &mut Nowhere).is_some());
            return match plain {
                Some(kind) => Self::Plain { fixed, leaf, kind },
                None => Self::Value { fixed, leaf, raw },
            };
        };
        let texts: Option<Vec<_>> = allowed
            .iter()
            .map(|(literal, index)| match literal {
                Literal::Text(text) if is_plain(text) => Some((format!("\"{text}\"").into_bytes(), *index)),
                _ => None,
            })
            .collect();
        match texts {
            Some(mut texts)
                if leaf.demands.is_none()
                    && leaf.nulls.is_empty()
                    && leaf.otherwise.is_none()
                    && texts.iter().any(|(text, _)| text == found.value) =>
            {
                // The text of the line that is learnt comes first.
                texts.sort_by_key(|(text, _)| text != found.value);
                let together = |(text, index): (Vec<u8>, u32)| (FixedBytes::new(&[found.fixed, &text].concat()), index);
                Self::OneOf { fixed, texts: texts.into_iter().map(together).collect(), leaf }
            }
            _ => Self::Value { fixed, leaf, raw: false },
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ignored { fixed }, Self::Ignored { fixed: other }) => fixed == other,
            (Self::Value { fixed, leaf, .. }, Self::Value { fixed: other, leaf: others, .. })
            | (Self::Plain { fixed, leaf, .. }, Self::Plain { fixed: other, leaf: others, .. })
            | (Self::OneOf { fixed, leaf, .. }, Self::OneOf { fixed: other, leaf: others, .. }) => {
                fixed == other && Arc::ptr_eq(leaf, others)
            }
            _ => false,
        }
    }

    /// What follows the value that `text` begins with; the value goes to `row`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "each step of each line is read by it")]
    fn read<'l>(&self, text: &'l [u8], row: &mut (impl Row<'l> + ?Sized)) -> Option<&'l [u8]> {
        match self {
            Self::Plain { fixed, kind, .. } => kind.read(fixed.strip(text)?, row),
            Self::OneOf { leaf, texts, .. } => {
                let find = |(fixed, index): &(FixedBytes, u32)| Some((fixed.strip(text)?, *index));
                let (rest, index) = texts.iter().find_map(find)?;
                if let Some(column) = leaf.column {
                    row.set(column, Value::OneOf(index));
                }
                Some(rest)
            }
            Self::Value { fixed, leaf, raw } => {
                let value = fixed.strip(text)?;
                let (scalar, rest) = if *raw { raw_value(value)? } else { scalar(value)? };
                leaf.accept(&scalar, row).is_ok().then_some(rest)
            }
            Self::Ignored { fixed } => Some(scalar(fixed.strip(text)?)?.1),
        }
    }
}

/// A row that keeps nothing.
struct Nowhere;

impl<'l> Row<'l> for Nowhere {
    fn set(&mut self, _: usize, _: Value<'l>) {}
}

/// The scalar at the beginning of `text`, and what follows it.
#[inline]
fn scalar(text: &[u8]) -> Option<(Scalar<'_>, &[u8])> {
    match text.first()? {
        b'"' => {
            let (string, rest) = plain_string(text.get(1..)?)?;
            Some((Scalar::Text(Cow::Borrowed(string)), rest))
        }
        b't' => Some((Scalar::Bool(true), text.strip_prefix(b"true")?)),
        b'f' => Some((Scalar::Bool(false), text.strip_prefix(b"false")?)),
        b'n' => Some((Scalar::Null, text.strip_prefix(b"null")?)),
        _ => {
            let (number, rest) = number(text)?;
            Some((
                match number {
                    Number::Int(value) => Scalar::Int(value),
                    Number::Float(value) => Scalar::Float(value),
                },
                rest,
            ))
        }
    }
}

/// The value at the beginning of `text` as it was sent, and what follows it.
fn raw_value(text: &[u8]) -> Option<(Scalar<'_>, &[u8])> {
    let rest = match scalar(text) {
        Some((_, rest)) => rest,
        None => {
            let mut values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
            values.next()?.ok()?;
            text.get(values.byte_offset()..)?
        }
    };
    let raw = text.get(..text.len() - rest.len())?.trim_ascii_start();
    Some((Scalar::raw(std::str::from_utf8(raw).ok()?), rest))
}

/// A string without escapes, after its opening quote.
#[inline]
fn plain_string(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.iter().position(|byte| matches!(byte, 0..b' ' | b'"' | b'\\'))?;
    let (string, rest) = text.split_at_checked(end)?;
    Some((std::str::from_utf8(string).ok()?, rest.strip_prefix(b"\"")?))
}

/// Whether a text is written between quotes as it is.
fn is_plain(text: &str) -> bool {
    !text.bytes().any(|byte| matches!(byte, 0..b' ' | b'"' | b'\\'))
}
