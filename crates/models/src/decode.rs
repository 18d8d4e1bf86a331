//! The strict decoder: one line in, one row or one rejection out.
//!
//! A line is accepted when it is UTF-8 from end to end, exactly one JSON object, holds every field of the model once with
//! the type and range asked for, and no key twice in any object that the model describes. Members that the model does not
//! know are passed over. `serde_json` does the parsing; what is ours is only what a model means. Lines that repeat the
//! [`Shape`] of one that was accepted are spared the parsing, not the judgement: they get the same values. Of a message only
//! the event time is asked, and those that differ from an accepted one in their digits alone are spared even the shape's
//! walk ([`Templates`]).

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::rejection::{Reason, Rejection};
use crate::row::{self, Row, Value};
use crate::schema::{Field, Kind, Model};
use crate::shape::Shape;
use crate::template::{Repeated, Templates};

/// Decodes the lines of one stream, one after the other. Each thread has its own.
#[derive(Debug)]
pub struct Decoder {
    model: &'static Model,
    messages: Shapes,
    templates: Templates,
    records: Shapes,
}

impl Decoder {
    /// A decoder for the messages and records of `model`.
    pub fn new(model: &'static Model) -> Self {
        Self { model, messages: Shapes::default(), templates: Templates::default(), records: Shapes::default() }
    }

    /// The model it decodes.
    pub fn model(&self) -> &'static Model {
        self.model
    }

    /// The message at the front of `block`, if it differs from one that was accepted in its digits alone. It is complete:
    /// its terminator (LF or CRLF) follows. None says nothing about the block.
    #[inline]
    pub fn repeated(&self, block: &[u8]) -> Option<Repeated> {
        self.templates.front(block)
    }

    /// Judges a message. Returns its event time in microseconds since 1970, or none if the model has none.
    pub fn message(&mut self, line: &[u8]) -> Result<Option<i64>, Rejection> {
        let column = self.model.event_time;
        if let Some(event_time) = self.messages.find(|shape| shape.event_time(line, column)) {
            // The one that fits is the first now.
            self.templates.missed(|| self.messages.known.first()?.template(line, column));
            return Ok(event_time);
        }
        let mut row = Vec::with_capacity(self.model.columns.len());
        self.messages.learn(self.model, self.model.message, line, &mut row)?;
        Ok(match column.and_then(|column| row.get(column)) {
            Some(Value::Micros(micros)) => Some(*micros),
            _ => None,
        })
    }

    /// Decodes a record of raw/ into `row`, one value for each of the model's columns.
    /// After a rejection the row's content is unspecified.
    pub fn record<'l>(&mut self, line: &'l [u8], row: &mut Vec<Value<'l>>) -> Result<(), Rejection> {
        row.clear();
        row.resize(self.model.columns.len(), Value::Null);
        self.record_into(line, row.as_mut_slice())
    }

    /// The same, straight to where the values are to go. After a rejection the row's content is unspecified.
    #[inline]
    pub fn record_into<'l>(&mut self, line: &'l [u8], row: &mut (impl Row<'l> + ?Sized)) -> Result<(), Rejection> {
        if self.records.find(|shape| shape.fill(line, row).then_some(())).is_some() {
            return Ok(());
        }
        let mut values = Vec::with_capacity(self.model.columns.len());
        self.records.learn(self.model, self.model.record, line, &mut values)?;
        row::copy(values, row);
        Ok(())
    }
}

/// The shapes that lines had lately, the last that fitted first.
#[derive(Debug, Default)]
struct Shapes {
    known: Vec<Shape>,
    /// Accepted lines that had none of them, since there are as many as are kept.
    misses: u32,
}

impl Shapes {
    /// A stream has a few kinds of devices. More shapes would cost each line that fits none.
    const MOST: usize = 4;
    /// How many lines fit none before the shape that was not used for longest gives way to a new one: where each line
    /// has a shape of its own, learning is in vain and has to be rare.
    const PATIENCE: u32 = 32;

    /// What `fit` says of the first shape that fits, which is tried first the next time.
    #[inline]
    fn find<T>(&mut self, mut fit: impl FnMut(&Shape) -> Option<T>) -> Option<T> {
        let (index, found) = self.known.iter().enumerate().find_map(|(index, shape)| Some((index, fit(shape)?)))?;
        if index > 0
            && let Some(used) = self.known.get_mut(..=index)
        {
            used.rotate_right(1);
        }
        Some(found)
    }

    /// Decodes a line that has none of the shapes, and learns its shape.
    fn learn<'l>(
        &mut self,
        model: &Model,
        fields: &'static [Field],
        line: &'l [u8],
        row: &mut Vec<Value<'l>>,
    ) -> Result<(), Rejection> {
        decode(model, fields, line, row)?;
        if self.known.len() == Self::MOST {
            self.misses += 1;
            if self.misses < Self::PATIENCE {
                return Ok(());
            }
            self.misses = 0;
            self.known.pop();
        }
        if let Some(shape) = Shape::learn(fields, line, row) {
            self.known.insert(0, shape);
        }
        Ok(())
    }
}

fn decode<'l>(
    model: &Model,
    fields: &'static [Field],
    line: &'l [u8],
    row: &mut Vec<Value<'l>>,
) -> Result<(), Rejection> {
    let text = simdutf8::compat::from_utf8(line).map_err(|error| {
        Rejection::new(Reason::NotUtf8, format!("invalid UTF-8 at byte {}", error.valid_up_to() + 1))
    })?;
    row.clear();
    row.resize(model.columns.len(), Value::Null);
    let mut state = State { row, path: Vec::new(), rejection: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = ObjectSeed { fields, state: &mut state }.deserialize(&mut json).and_then(|()| json.end());
    parsed.map_err(|error| state.rejection.take().unwrap_or_else(|| syntax(&error, &state.path)))
}

/// A rejection for what `serde_json` itself refuses.
fn syntax(error: &serde_json::Error, path: &[&str]) -> Rejection {
    let message = error.to_string();
    let message = message.replace(" at line 1 column ", " at byte ");
    let reason = if message.starts_with("number out of range") { Reason::OutOfRange } else { Reason::NotJson };
    if path.is_empty() {
        Rejection::new(reason, message)
    } else {
        Rejection::new(reason, format!("field `{}`: {message}", path.join(".")))
    }
}

/// What decoding a line carries along.
struct State<'r, 'l> {
    row: &'r mut Vec<Value<'l>>,
    /// Keys from the root to the value at hand.
    path: Vec<&'static str>,
    /// Why the line is refused; serde's own errors carry only text.
    rejection: Option<Rejection>,
}

impl<'l> State<'_, 'l> {
    fn set(&mut self, column: usize, value: Value<'l>) {
        if let Some(slot) = self.row.get_mut(column) {
            *slot = value;
        }
    }

    /// Notes the rejection of the value at the current path, and returns an error that stops the parser.
    fn reject<E: Error>(&mut self, reason: Reason, detail: impl fmt::Display) -> E {
        let detail = if self.path.is_empty() {
            format!("{detail}")
        } else {
            format!("field `{}`: {detail}", self.path.join("."))
        };
        self.rejection = Some(Rejection::new(reason, detail));
        E::custom("rejected")
    }
}

/// An object with required fields.
struct ObjectSeed<'s, 'r, 'l> {
    fields: &'static [Field],
    state: &'s mut State<'r, 'l>,
}

impl<'l> DeserializeSeed<'l> for ObjectSeed<'_, '_, 'l> {
    type Value = ();
    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(ValueVisitor { kind: &Kind::Object(self.fields), state: self.state })
    }
}

/// One value of the kind that the model asks for.
struct ValueVisitor<'s, 'r, 'l, 'k> {
    kind: &'k Kind,
    state: &'s mut State<'r, 'l>,
}

impl<'l> DeserializeSeed<'l> for ValueVisitor<'_, '_, 'l, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'l> ValueVisitor<'_, '_, 'l, '_> {
    fn mismatch<E: Error>(self, found: impl fmt::Display) -> Result<(), E> {
        let expected = self.kind.expectation();
        Err(self.state.reject(Reason::WrongType, format_args!("expected {expected}, found {found}")))
    }

    fn integer<E: Error>(self, value: i64) -> Result<(), E> {
        match *self.kind {
            Kind::Integer(column) => self.state.set(column, Value::Int(value)),
            Kind::EpochMicros(column) => self.state.set(column, Value::Micros(value)),
            Kind::EpochSeconds(column) => match value.checked_mul(1_000_000) {
                Some(micros) => self.state.set(column, Value::Micros(micros)),
                None => {
                    return Err(self
                        .state
                        .reject(Reason::OutOfRange, format_args!("{value} seconds since 1970 is out of range")));
                }
            },
            #[expect(clippy::cast_precision_loss, reason = "a DOUBLE column keeps what a double can keep")]
            Kind::NumberOrText { number, .. } => self.state.set(number, Value::Double(value as f64)),
            Kind::Object(_) | Kind::OneOf(..) => return self.mismatch(format_args!("the number {value}")),
        }
        Ok(())
    }

    fn text<E: Error>(self, value: Cow<'l, str>) -> Result<(), E> {
        match *self.kind {
            Kind::NumberOrText { text, .. } => self.state.set(text, Value::Text(value)),
            Kind::OneOf(allowed, column) => match allowed.iter().find(|one| **one == value) {
                Some(one) => self.state.set(column, Value::Text(Cow::Borrowed(one))),
                None => {
                    let expected = self.kind.expectation();
                    let found = Excerpt(&value);
                    return Err(self
                        .state
                        .reject(Reason::UnknownValue, format_args!("expected {expected}, found {found}")));
                }
            },
            _ => return self.mismatch(format_args!("the string {}", Excerpt(&value))),
        }
        Ok(())
    }
}

impl<'l> Visitor<'l> for ValueVisitor<'_, '_, 'l, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind.expectation())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.integer(value),
            #[expect(clippy::cast_precision_loss, reason = "a DOUBLE column keeps what a double can keep")]
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match *self.kind {
            Kind::NumberOrText { number, .. } => {
                self.state.set(number, Value::Double(value));
                Ok(())
            }
            Kind::Integer(_) | Kind::EpochSeconds(_) | Kind::EpochMicros(_) if value.abs() >= 2f64.powi(63) => {
                Err(self.state.reject(Reason::OutOfRange, format_args!("{value:?} does not fit a 64-bit integer")))
            }
            _ => self.mismatch(format_args!("the number {value:?}")),
        }
    }

    fn visit_borrowed_str<E: Error>(self, value: &'l str) -> Result<(), E> {
        self.text(Cow::Borrowed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.text(Cow::Owned(value.to_owned()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.mismatch(value)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.mismatch("null")
    }

    fn visit_seq<A: SeqAccess<'l>>(self, _: A) -> Result<(), A::Error> {
        self.mismatch("an array")
    }

    fn visit_map<A: MapAccess<'l>>(self, mut map: A) -> Result<(), A::Error> {
        let Kind::Object(fields) = *self.kind else { return self.mismatch("an object") };
        let state = self.state;
        let mut seen = 0u64;
        let mut unknown = HashSet::new();
        while let Some(key) = map.next_key_seed(KeySeed { fields })? {
            match key {
                Key::Field(index, field) => {
                    state.path.push(field.key);
                    if seen & (1 << index) != 0 {
                        return Err(state.reject(Reason::DuplicateKey, "the key stands twice"));
                    }
                    seen |= 1 << index;
                    map.next_value_seed(ValueVisitor { kind: &field.kind, state })?;
                    state.path.pop();
                }
                Key::Unknown(key) => {
                    if unknown.contains(&key) {
                        let key = Excerpt(&key);
                        return Err(state.reject(Reason::DuplicateKey, format_args!("the key {key} stands twice")));
                    }
                    unknown.insert(key);
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match fields.iter().enumerate().find(|(index, _)| seen & (1 << index) == 0) {
            None => Ok(()),
            Some((_, field)) => {
                state.path.push(field.key);
                Err(state.reject(Reason::MissingField, "missing"))
            }
        }
    }
}

/// A member's key: a field of the model, or one it does not know.
enum Key<'l> {
    Field(usize, &'static Field),
    Unknown(Cow<'l, str>),
}

struct KeySeed {
    fields: &'static [Field],
}

impl KeySeed {
    fn find(&self, key: &str) -> Option<(usize, &'static Field)> {
        self.fields.iter().enumerate().find(|(_, field)| field.key == key)
    }
}

impl<'l> DeserializeSeed<'l> for KeySeed {
    type Value = Key<'l>;
    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<Key<'l>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'l> Visitor<'l> for KeySeed {
    type Value = Key<'l>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'l str) -> Result<Key<'l>, E> {
        Ok(self.find(key).map_or(Key::Unknown(Cow::Borrowed(key)), |(index, field)| Key::Field(index, field)))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key<'l>, E> {
        Ok(self.find(key).map_or_else(|| Key::Unknown(Cow::Owned(key.to_owned())), |(i, field)| Key::Field(i, field)))
    }
}

/// The beginning of a string, quoted, for a message that people read.
struct Excerpt<'s>(&'s str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LIMIT: usize = 40;
        match self.0.char_indices().nth(LIMIT) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}...", self.0.get(..end).unwrap_or_default()),
        }
    }
}
