//! The general parser, which decides what a message is.
//!
//! A line is accepted when it is UTF-8 from end to end, exactly one JSON object, holds every field of the model once with
//! the type and range asked for, and no key twice in any object that the model describes. Members that the model does not
//! know are ignored. `serde_json` does the parsing; only what a model means is decided here.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::rejection::{Reason, Rejection};
use crate::row::Value;
use crate::schema::{Field, Kind, Model};

/// Parses a line that must have `fields`: its values are in `row` then, one for each column of the model.
pub(crate) fn parse<'l>(
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
    let mut parsing = Parsing { row, path: Vec::new(), rejection: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = ObjectSeed { fields, parsing: &mut parsing }.deserialize(&mut json).and_then(|()| json.end());
    parsed.map_err(|error| parsing.rejection.take().unwrap_or_else(|| syntax(&error, &parsing.path)))
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

/// A line that is being parsed.
struct Parsing<'r, 'l> {
    row: &'r mut Vec<Value<'l>>,
    /// The keys from the root to the current value.
    path: Vec<&'static str>,
    /// Why the line is rejected. An error of serde could carry only text.
    rejection: Option<Rejection>,
}

impl<'l> Parsing<'_, 'l> {
    fn set(&mut self, column: usize, value: Value<'l>) {
        if let Some(slot) = self.row.get_mut(column) {
            *slot = value;
        }
    }

    /// Records the rejection of the current value, and returns an error that stops the parser.
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
    parsing: &'s mut Parsing<'r, 'l>,
}

impl<'l> DeserializeSeed<'l> for ObjectSeed<'_, '_, 'l> {
    type Value = ();
    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(ValueVisitor { kind: &Kind::Object(self.fields), parsing: self.parsing })
    }
}

/// A value of the kind that the model asks for.
struct ValueVisitor<'s, 'r, 'l, 'k> {
    kind: &'k Kind,
    parsing: &'s mut Parsing<'r, 'l>,
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
        Err(self.parsing.reject(Reason::WrongType, format_args!("expected {expected}, found {found}")))
    }

    fn integer<E: Error>(self, value: i64) -> Result<(), E> {
        match *self.kind {
            Kind::Integer(column) => self.parsing.set(column, Value::Int(value)),
            Kind::EpochMicros(column) => self.parsing.set(column, Value::Micros(value)),
            Kind::EpochSeconds(column) => match value.checked_mul(1_000_000) {
                Some(micros) => self.parsing.set(column, Value::Micros(micros)),
                None => {
                    return Err(self
                        .parsing
                        .reject(Reason::OutOfRange, format_args!("{value} seconds since 1970 is out of range")));
                }
            },
            #[expect(clippy::cast_precision_loss, reason = "a DOUBLE column keeps what a double can keep")]
            Kind::NumberOrText { number, .. } => self.parsing.set(number, Value::Double(value as f64)),
            Kind::Object(_) | Kind::OneOf(..) => return self.mismatch(format_args!("the number {value}")),
        }
        Ok(())
    }

    fn text<E: Error>(self, value: Cow<'l, str>) -> Result<(), E> {
        match *self.kind {
            Kind::NumberOrText { text, .. } => self.parsing.set(text, Value::Text(value)),
            Kind::OneOf(allowed, column) => match allowed.iter().find(|one| **one == value) {
                Some(one) => self.parsing.set(column, Value::Text(Cow::Borrowed(one))),
                None => {
                    let expected = self.kind.expectation();
                    let found = Excerpt(&value);
                    return Err(self
                        .parsing
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
                self.parsing.set(number, Value::Double(value));
                Ok(())
            }
            Kind::Integer(_) | Kind::EpochSeconds(_) | Kind::EpochMicros(_) if value.abs() >= 2f64.powi(63) => {
                Err(self.parsing.reject(Reason::OutOfRange, format_args!("{value:?} does not fit a 64-bit integer")))
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
        let parsing = self.parsing;
        let mut seen = 0u64;
        let mut unknown = HashSet::new();
        while let Some(key) = map.next_key_seed(KeySeed { fields })? {
            match key {
                MemberKey::Field(index, field) => {
                    parsing.path.push(field.key);
                    if seen & (1 << index) != 0 {
                        return Err(parsing.reject(Reason::DuplicateKey, "the key stands twice"));
                    }
                    seen |= 1 << index;
                    map.next_value_seed(ValueVisitor { kind: &field.kind, parsing })?;
                    parsing.path.pop();
                }
                MemberKey::Unknown(key) => {
                    if unknown.contains(&key) {
                        let key = Excerpt(&key);
                        return Err(parsing.reject(Reason::DuplicateKey, format_args!("the key {key} stands twice")));
                    }
                    unknown.insert(key);
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match fields.iter().enumerate().find(|(index, _)| seen & (1 << index) == 0) {
            None => Ok(()),
            Some((_, field)) => {
                parsing.path.push(field.key);
                Err(parsing.reject(Reason::MissingField, "missing"))
            }
        }
    }
}

/// A member's key: that of a field of the model, or another one.
enum MemberKey<'l> {
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
    type Value = MemberKey<'l>;
    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<MemberKey<'l>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'l> Visitor<'l> for KeySeed {
    type Value = MemberKey<'l>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'l str) -> Result<MemberKey<'l>, E> {
        Ok(self
            .find(key)
            .map_or(MemberKey::Unknown(Cow::Borrowed(key)), |(index, field)| MemberKey::Field(index, field)))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<MemberKey<'l>, E> {
        Ok(self
            .find(key)
            .map_or_else(|| MemberKey::Unknown(Cow::Owned(key.to_owned())), |(i, field)| MemberKey::Field(i, field)))
    }
}

/// The first characters of a string, quoted, for a message.
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
