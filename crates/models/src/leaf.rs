//! A single value of a message: what it must be, and what a column holds of it.
//!
//! [`Leaf::accept`] is the one place that decides. The general parser and the learnt shapes only read a [`Scalar`] each in
//! their own way, so that they cannot differ in what they accept.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use regex::Regex;
use serde_json::value::RawValue;

use crate::decimal;
use crate::misfit::Misfit;
use crate::rejection::{Reason, Rejection};
use crate::row::{Row, Value};
use crate::time::{DateFormat, TimeFormat, TimestampFormat, epoch_fraction};

/// A value of a message as it was read, not yet judged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'l> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'l, str>),
    /// Any JSON value but `null`, as it was sent, for leaves that need it so ([`Leaf::reads_raw`]).
    Raw(&'l str),
}

impl<'l> Scalar<'l> {
    /// The value that `raw` is, which is JSON.
    pub(crate) fn raw(raw: &'l str) -> Self {
        if raw == "null" { Self::Null } else { Self::Raw(raw) }
    }

    /// The value that `text` says, if it is a scalar of JSON.
    fn parse(text: &'l str) -> Option<Self> {
        Some(match text.as_bytes().first()? {
            b'n' if text == "null" => Self::Null,
            b't' | b'f' => Self::Bool(serde_json::from_str(text).ok()?),
            b'"' => match serde_json::from_str(text) {
                Ok(plain) => Self::Text(Cow::Borrowed(plain)),
                Err(_) => Self::Text(Cow::Owned(serde_json::from_str(text).ok()?)),
            },
            b'-' | b'0'..=b'9' => {
                let number: serde_json::Number = serde_json::from_str(text).ok()?;
                number.as_i64().map_or_else(|| number.as_f64().map(Self::Float), |value| Some(Self::Int(value)))?
            }
            _ => return None,
        })
    }
}

/// What was found, in words, for a rejection.
impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "the number {value}"),
            Self::Float(value) => write!(f, "the number {value:?}"),
            Self::Text(text) => write!(f, "the string {}", Excerpt(text)),
            Self::Raw(raw) => match (raw.as_bytes().first(), Scalar::parse(raw)) {
                (_, Some(scalar)) => scalar.fmt(f),
                (Some(b'['), _) => f.write_str("an array"),
                (Some(b'{'), _) => f.write_str("an object"),
                _ => write!(f, "the number {}", Excerpt(raw)),
            },
        }
    }
}

/// A value that is written in a stream file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl Literal {
    /// Whether `scalar` is this value. A number is equal to another, however the two are written; a boolean is no number.
    #[expect(clippy::cast_precision_loss, clippy::float_cmp, reason = "a float is equal if it is the same float")]
    pub(crate) fn is(&self, scalar: &Scalar<'_>) -> bool {
        match (self, scalar) {
            (_, Scalar::Raw(raw)) => Scalar::parse(raw).is_some_and(|scalar| self.is(&scalar)),
            (Self::Bool(literal), Scalar::Bool(value)) => literal == value,
            (Self::Int(literal), Scalar::Int(value)) => literal == value,
            (Self::Int(number), Scalar::Float(float)) | (Self::Float(float), Scalar::Int(number)) => {
                *number as f64 == *float
            }
            (Self::Float(literal), Scalar::Float(value)) => literal == value,
            (Self::Text(literal), Scalar::Text(value)) => literal == value,
            _ => false,
        }
    }

    /// Whether both are texts, both booleans or both numbers.
    fn is_like(&self, scalar: &Scalar<'_>) -> bool {
        match (self, scalar) {
            (_, Scalar::Raw(raw)) => Scalar::parse(raw).is_some_and(|scalar| self.is_like(&scalar)),
            _ => matches!(
                (self, scalar),
                (Self::Bool(_), Scalar::Bool(_))
                    | (Self::Text(_), Scalar::Text(_))
                    | (Self::Int(_) | Self::Float(_), Scalar::Int(_) | Scalar::Float(_))
            ),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// What a single value must be, and the column that it goes to.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    /// None for a value that is only looked at.
    pub(crate) column: Option<usize>,
    pub(crate) kind: Kind,
    /// Whether `null` is taken for no value.
    pub(crate) may_be_null: bool,
    /// What else is taken for no value.
    pub(crate) nulls: Vec<Literal>,
    pub(crate) demands: Option<Box<Demands>>,
    /// Whether a number or boolean may be quoted.
    pub(crate) coerce: bool,
    /// Where a value goes that does not fit here.
    pub(crate) otherwise: Option<Arc<Leaf>>,
}

/// The type of a value.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Bool,
    Int,
    Float,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Text,
    /// One of these, each with the index of its text in the column's list.
    OneOf(Vec<(Literal, u32)>),
    Bytes(BytesFormat),
    Timestamp(TimestampFormat),
    Date(DateFormat),
    Time(TimeFormat),
    /// Any value of JSON, kept as its text.
    Json,
    List(Arc<Leaf>),
}

/// How bytes are written in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BytesFormat {
    Hex,
    Base64,
}

/// What is asked of a value beside its type.
#[derive(Debug, Clone, Default)]
pub(crate) struct Demands {
    pub(crate) low: Option<Bound>,
    pub(crate) high: Option<Bound>,
    pub(crate) listed: Vec<Literal>,
    pub(crate) multiple_of: Option<Literal>,
    pub(crate) pattern: Option<Regex>,
    /// Characters of a text, elements of a list or bytes.
    pub(crate) min_length: Option<usize>,
    pub(crate) max_length: Option<usize>,
}

/// An end of a range.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) number: Literal,
    pub(crate) inclusive: bool,
    /// The same for the digits of a decimal column, rounded towards the inside of the range.
    pub(crate) scaled: i128,
}

impl Leaf {
    /// A required value of this type, and nothing else asked of it.
    pub(crate) fn plain(column: Option<usize>, kind: Kind) -> Self {
        Self { column, kind, may_be_null: false, nulls: Vec::new(), demands: None, coerce: false, otherwise: None }
    }

    /// This leaf, and those to which a value goes that does not fit here.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |leaf| leaf.otherwise.as_deref())
    }

    /// Whether a value must be given as it was sent ([`Scalar::Raw`]).
    pub(crate) fn reads_raw(&self) -> bool {
        self.chain().any(|leaf| matches!(leaf.kind, Kind::Decimal { .. } | Kind::Json | Kind::List(_)))
    }

    /// Judges a value, and puts it into its column.
    #[inline]
    pub(crate) fn accept<'l>(&self, scalar: &Scalar<'l>, row: &mut (impl Row<'l> + ?Sized)) -> Result<(), Misfit> {
        let value = match (self.value(scalar), &self.otherwise) {
            (Ok(value), None) => value,
            (Ok(value), Some(otherwise)) => {
                otherwise.chain().filter_map(|leaf| leaf.column).for_each(|column| row.set(column, Value::Null));
                value
            }
            (Err(misfit), None) => return Err(misfit),
            (Err(misfit), Some(otherwise)) => {
                otherwise.accept(scalar, row).map_err(|other| if misfit == Misfit::Type { other } else { misfit })?;
                Value::Null
            }
        };
        if let Some(column) = self.column {
            row.set(column, value);
        }
        Ok(())
    }

    #[inline]
    fn value<'l>(&self, scalar: &Scalar<'l>) -> Result<Value<'l>, Misfit> {
        if let Scalar::Null = scalar {
            return if self.may_be_null { Ok(Value::Null) } else { Err(Misfit::Type) };
        }
        if !self.nulls.is_empty() && self.nulls.iter().any(|null| null.is(scalar)) {
            return Ok(Value::Null);
        }
        let value = self.convert(scalar)?;
        if let Some(demands) = &self.demands {
            demands.check(&value, scalar)?;
        }
        Ok(value)
    }

    #[expect(clippy::cast_precision_loss, reason = "a DOUBLE column keeps what a double can keep")]
    #[inline]
    fn convert<'l>(&self, scalar: &Scalar<'l>) -> Result<Value<'l>, Misfit> {
        Ok(match (&self.kind, scalar) {
            (Kind::Int, Scalar::Int(value)) => Value::Int(*value),
            (Kind::Float, Scalar::Int(value)) => Value::Double(*value as f64),
            (Kind::Float, Scalar::Float(value)) => Value::Double(*value),
            (Kind::Text, Scalar::Text(text)) => Value::Text(text.clone()),
            (Kind::Timestamp(format), Scalar::Int(value)) => Value::Micros(format.integer(*value)?),
            (Kind::OneOf(allowed), _) => match allowed.iter().find(|(literal, _)| literal.is(scalar)) {
                Some((_, index)) => Value::OneOf(*index),
                None if allowed.iter().any(|(literal, _)| literal.is_like(scalar)) => return Err(Misfit::NotListed),
                None => return Err(Misfit::Type),
            },
            (Kind::Bool, Scalar::Bool(value)) => Value::Bool(*value),
            _ => return self.convert_rarer(scalar),
        })
    }

    /// Types of which no two thirds of all messages consist.
    fn convert_rarer<'l>(&self, scalar: &Scalar<'l>) -> Result<Value<'l>, Misfit> {
        Ok(match (&self.kind, scalar) {
            (Kind::Timestamp(format), Scalar::Text(text)) => Value::Micros(format.text(text)?),
            (Kind::Timestamp(format), Scalar::Float(value)) if format.takes_fractions() => {
                Value::Micros(epoch_fraction(*value)?)
            }
            (Kind::Int | Kind::Timestamp(_), Scalar::Float(value)) if value.abs() >= 2f64.powi(63) => {
                return Err(Misfit::TooLarge);
            }
            (Kind::Date(format), Scalar::Text(text)) => Value::Days(format.text(text)?),
            (Kind::Time(format), Scalar::Text(text)) => Value::TimeOfDay(format.text(text)?),
            (Kind::Bytes(format), Scalar::Text(text)) => Value::Bytes(format.decode(text).ok_or(Misfit::Type)?),
            (Kind::Decimal { precision, scale }, Scalar::Raw(raw)) => {
                let text = match Scalar::parse(raw) {
                    Some(Scalar::Text(text)) if self.coerce => Cow::Owned(text.trim().to_owned()),
                    _ if raw.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) => {
                        Cow::Borrowed(*raw)
                    }
                    _ => return Err(Misfit::Type),
                };
                Value::Decimal(decimal::parse(&text, *precision, *scale)?)
            }
            (Kind::Json, Scalar::Raw(raw)) => Value::Text(Cow::Borrowed(raw)),
            (Kind::List(element), Scalar::Raw(raw)) if raw.starts_with('[') => {
                let elements: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| Misfit::Type)?;
                Value::List(
                    elements.iter().map(|raw| element.value(&element.scalar(raw.get())?)).collect::<Result<_, _>>()?,
                )
            }
            (Kind::Decimal { .. } | Kind::Json | Kind::List(_), _) => return Err(Misfit::Type),
            (_, Scalar::Raw(raw)) => return self.convert(&Scalar::parse(raw).ok_or(Misfit::Type)?),
            (_, Scalar::Text(text)) if self.coerce => match Scalar::parse(text.trim()) {
                Some(Scalar::Int(value)) => self.convert(&Scalar::Int(value))?,
                Some(Scalar::Float(value)) => self.convert(&Scalar::Float(value))?,
                Some(Scalar::Bool(value)) => self.convert(&Scalar::Bool(value))?,
                _ => return Err(Misfit::Type),
            },
            _ => return Err(Misfit::Type),
        })
    }

    /// The value `raw` of JSON, in the form that this leaf reads.
    pub(crate) fn scalar<'l>(&self, raw: &'l str) -> Result<Scalar<'l>, Misfit> {
        if self.reads_raw() { Ok(Scalar::raw(raw)) } else { Scalar::parse(raw).ok_or(Misfit::Type) }
    }

    /// What is expected, in words, for a rejection.
    pub(crate) fn expectation(&self) -> String {
        let mut words = self.chain().map(Self::own_expectation).collect::<Vec<_>>();
        words.dedup();
        if self.chain().any(|leaf| leaf.may_be_null) {
            words.push("null".into());
        }
        words.join(" or ")
    }

    fn own_expectation(&self) -> String {
        match &self.kind {
            Kind::Bool => "true or false".into(),
            Kind::Int => "an integer".into(),
            Kind::Float => "a number".into(),
            Kind::Decimal { precision, scale } => {
                format!("a number of at most {precision} digits, {scale} after the point")
            }
            Kind::Text => "a string".into(),
            Kind::OneOf(allowed) => format!("one of {}", listed(allowed.iter().map(|(literal, _)| literal))),
            Kind::Bytes(BytesFormat::Hex) => "a string of hexadecimal digits".into(),
            Kind::Bytes(BytesFormat::Base64) => "a string in base64".into(),
            Kind::Timestamp(format) => format.expectation(),
            Kind::Date(format) => format.expectation(),
            Kind::Time(format) => format.expectation(),
            Kind::Json => "any value".into(),
            Kind::List(element) => format!("an array, each element {}", element.expectation()),
        }
    }

    /// Why `scalar` is not accepted, for the person who reads the quarantine.
    pub(crate) fn explain(&self, misfit: Misfit, scalar: &Scalar<'_>) -> Rejection {
        let (reason, words) = match misfit {
            Misfit::Type => (Reason::WrongType, format!("expected {}, found {scalar}", self.expectation())),
            Misfit::NotListed => (Reason::UnknownValue, {
                let expected = match self.demands().find(|demands| !demands.listed.is_empty()) {
                    Some(demands) => format!("one of {}", listed(demands.listed.iter())),
                    None => self.expectation(),
                };
                let found = scalar.to_string();
                format!("expected {expected}, found {}", found.strip_prefix("the string ").unwrap_or(&found))
            }),
            Misfit::TooLarge => (
                Reason::OutOfRange,
                match (&self.kind, scalar) {
                    (Kind::Timestamp(format), Scalar::Int(value)) => {
                        format!("{value} {} is out of range", format.unit())
                    }
                    (Kind::Decimal { .. }, _) => format!("expected {}, found {scalar}", self.expectation()),
                    (_, Scalar::Float(value)) => format!("{value:?} does not fit a 64-bit integer"),
                    _ => format!("{scalar} is out of range"),
                },
            ),
            Misfit::NoSuchTime => {
                (Reason::OutOfRange, format!("{scalar} is a time that its zone does not have, or has twice"))
            }
            Misfit::Range | Misfit::MultipleOf | Misfit::Pattern | Misfit::Length => {
                let expected = self.demands().find_map(|demands| demands.words(misfit)).unwrap_or_default();
                (Reason::Constraint, format!("expected {expected}, found {scalar}"))
            }
        };
        Rejection::new(reason, words)
    }

    fn demands(&self) -> impl Iterator<Item = &Demands> {
        let elements = self.chain().filter_map(|leaf| match &leaf.kind {
            Kind::List(element) => element.demands.as_deref(),
            _ => None,
        });
        self.chain().filter_map(|leaf| leaf.demands.as_deref()).chain(elements)
    }

    /// Whether each number of a form is accepted if its lowest and its highest are, so that its digits may vary unseen.
    pub(crate) fn accepts_any_digits(&self, lowest: &Scalar<'_>, highest: &Scalar<'_>) -> bool {
        let is_range = |demands: &Demands| demands.listed.is_empty() && demands.multiple_of.is_none();
        self.chain().any(|leaf| {
            matches!(leaf.kind, Kind::Int | Kind::Float | Kind::Decimal { .. } | Kind::Json | Kind::Timestamp(_))
                && leaf.demands.as_deref().is_none_or(is_range)
                && leaf.value(lowest).is_ok()
                && leaf.value(highest).is_ok()
        })
    }
}

/// Values in a row, for a message.
pub(crate) fn listed<'l>(literals: impl Iterator<Item = &'l Literal>) -> String {
    literals.map(Literal::to_string).collect::<Vec<_>>().join(", ")
}

impl BytesFormat {
    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Base64 => BASE64.decode(text).ok(),
            Self::Hex => {
                let (pairs, rest) = text.as_bytes().as_chunks::<2>();
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
                if rest.is_empty() { bytes } else { None }
            }
        }
    }
}

impl Bound {
    /// How `value` stands to it.
    fn compare(&self, value: &Value<'_>) -> Option<Ordering> {
        match (value, &self.number) {
            (Value::Int(value), Literal::Int(bound)) => Some(value.cmp(bound)),
            #[expect(clippy::cast_precision_loss, reason = "a float is compared with the float that is nearest")]
            (Value::Int(value), Literal::Float(bound)) => (*value as f64).partial_cmp(bound),
            (Value::Double(value), Literal::Float(bound)) => value.partial_cmp(bound),
            #[expect(clippy::cast_precision_loss, reason = "a float is compared with the float that is nearest")]
            (Value::Double(value), Literal::Int(bound)) => value.partial_cmp(&(*bound as f64)),
            (Value::Decimal(value), _) => Some(value.cmp(&self.scaled)),
            _ => None,
        }
    }
}

impl Demands {
    fn check(&self, value: &Value<'_>, scalar: &Scalar<'_>) -> Result<(), Misfit> {
        let outside = |bound: &Option<Bound>, beyond: Ordering| {
            bound.as_ref().is_some_and(|bound| match bound.compare(value) {
                Some(Ordering::Equal) => !bound.inclusive,
                Some(ordering) => ordering == beyond,
                None => false,
            })
        };
        if outside(&self.low, Ordering::Less) || outside(&self.high, Ordering::Greater) {
            return Err(Misfit::Range);
        }
        if !self.listed.is_empty() && !self.listed.iter().any(|literal| literal.is(scalar)) {
            return Err(Misfit::NotListed);
        }
        if self.multiple_of.as_ref().is_some_and(|factor| !is_multiple(value, factor)) {
            return Err(Misfit::MultipleOf);
        }
        if let (Some(pattern), Value::Text(text)) = (&self.pattern, value)
            && !pattern.is_match(text)
        {
            return Err(Misfit::Pattern);
        }
        if self.min_length.is_some() || self.max_length.is_some() {
            let length = match value {
                Value::Text(text) => text.chars().count(),
                Value::Bytes(bytes) => bytes.len(),
                Value::List(elements) => elements.len(),
                _ => return Ok(()),
            };
            if self.min_length.is_some_and(|least| length < least) || self.max_length.is_some_and(|most| length > most)
            {
                return Err(Misfit::Length);
            }
        }
        Ok(())
    }

    /// What was asked for that is not fulfilled; none if these demands do not ask for it.
    fn words(&self, misfit: Misfit) -> Option<String> {
        let both = |low: Option<String>, high: Option<String>| {
            let all: Vec<_> = low.into_iter().chain(high).collect();
            (!all.is_empty()).then(|| all.join(" and "))
        };
        match misfit {
            Misfit::Range => both(
                self.low
                    .as_ref()
                    .map(|low| format!("{} {}", if low.inclusive { "at least" } else { "more than" }, low.number)),
                self.high
                    .as_ref()
                    .map(|high| format!("{} {}", if high.inclusive { "at most" } else { "less than" }, high.number)),
            ),
            Misfit::MultipleOf => self.multiple_of.as_ref().map(|factor| format!("a multiple of {factor}")),
            Misfit::Pattern => self.pattern.as_ref().map(|pattern| format!("what matches '{pattern}'")),
            _ => both(
                self.min_length.map(|least| format!("a length of at least {least}")),
                self.max_length.map(|most| format!("a length of at most {most}")),
            ),
        }
    }
}

/// Whether a number is a multiple of `factor`; a float only as far as floats can be, which is pydantic's rule.
fn is_multiple(value: &Value<'_>, factor: &Literal) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "floats that are whole numbers, or nearly")]
    let (value, factor) = match (value, factor) {
        (Value::Int(value), Literal::Int(factor)) => {
            return *factor != 0 && value.checked_rem(*factor).unwrap_or(0) == 0;
        }
        (Value::Int(value), Literal::Float(factor)) => (*value as f64, *factor),
        (Value::Double(value), Literal::Int(factor)) => (*value, *factor as f64),
        (Value::Double(value), Literal::Float(factor)) => (*value, *factor),
        _ => return true,
    };
    let (rest, tolerance) = (value.rem_euclid(factor).abs(), value.abs() / 1e9);
    rest <= tolerance || (rest - factor).abs() <= tolerance
}

/// The first characters of a string, quoted, for a message.
pub(crate) struct Excerpt<'s>(pub(crate) &'s str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LIMIT: usize = 40;
        match self.0.char_indices().nth(LIMIT) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}...", self.0.get(..end).unwrap_or_default()),
        }
    }
}
