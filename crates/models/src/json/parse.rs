//! The general parser, which decides what a message is.
//!
//! A line is accepted when it is UTF-8 from end to end, exactly one JSON object, holds every required field of the model
//! with the type and range asked for, and no key twice in any object that the model describes. Members that the model does
//! not know are ignored, unless the stream file forbids them. `serde_json` does the parsing; only what a model means is
//! decided here.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::leaf::{Excerpt, Leaf, Scalar};
use crate::rejection::{Reason, Rejection};
use crate::row::{Row as _, Value};
use crate::schema::{Member, Node, Object, Step, Variant, Variants, When, Written};

/// Parses a line that must be one of `variants`, whose columns are `columns` many. All values are in `row` then, but those of
/// an array of rows, which are returned.
pub(crate) fn parse<'l, 'm>(
    variants: &'m Variants,
    columns: usize,
    line: &'l [u8],
    row: &mut Vec<Value<'l>>,
) -> Result<(&'m Variant, Vec<Vec<Value<'l>>>), Rejection> {
    let text = simdutf8::compat::from_utf8(line).map_err(|error| {
        Rejection::new(Reason::NotUtf8, format!("invalid UTF-8 at byte {}", error.valid_up_to() + 1))
    })?;
    let variant = variant(variants, text)?;
    row.clear();
    row.resize(columns, Value::Null);
    for (column, value) in &variant.constants {
        row.as_mut_slice().set(*column, value.clone());
    }
    let mut parsing = Parsing { row, rows: Vec::new(), path: Vec::new(), rejection: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = NodeSeed { node: &variant.root, may_be_null: false, parsing: &mut parsing }.deserialize(&mut json);
    match parsed.and_then(|()| json.end()) {
        Ok(()) => Ok((variant, parsing.rows)),
        Err(error) => Err(parsing.rejection.take().unwrap_or_else(|| syntax(&error, &parsing.path))),
    }
}

/// Parses a message of which each element of an array is a row.
pub(crate) fn parse_rows<'l>(
    variants: &Variants,
    columns: usize,
    line: &'l [u8],
) -> Result<Vec<Vec<Value<'l>>>, Rejection> {
    let mut around = Vec::new();
    let (variant, mut rows) = parse(variants, columns, line, &mut around)?;
    let Some(each) = variant.root.each() else { return Ok(vec![around]) };
    // What stands around the array is the same in each row.
    let mut of_row = HashSet::new();
    each.leaves(&mut |leaf| of_row.extend(leaf.chain().filter_map(|leaf| leaf.column)));
    for row in &mut rows {
        let both = row.iter_mut().zip(&around).enumerate();
        both.filter(|(column, _)| !of_row.contains(column)).for_each(|(_, (value, around))| value.clone_from(around));
    }
    Ok(rows)
}

/// The kind of message that a text is.
fn variant<'m>(variants: &'m Variants, text: &str) -> Result<&'m Variant, Rejection> {
    let no_case = |detail: String| Rejection::new(Reason::NoCase, detail);
    if variants.discriminator.is_empty() {
        return variants.all.first().ok_or_else(|| no_case("the stream has no columns".into()));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    // Whether the text goes on well is seen when it is parsed.
    let found = Find(&variants.discriminator).deserialize(&mut json).map_err(|error| syntax(&error, &[]))?;
    let path = Written(&variants.discriminator);
    let Some(raw) = found else {
        return Err(no_case(format!("field `{path}`, which tells the cases apart, is missing")));
    };
    let scalar = Scalar::raw(raw.get());
    variants.all.iter().find(|variant| variant.when.is(&scalar)).ok_or_else(|| {
        let known = variants.all.iter().map(|variant| variant.when.to_string()).collect::<Vec<_>>().join(", ");
        no_case(format!("field `{path}`: expected one of {known}, found {scalar}"))
    })
}

/// Looks for the value at the end of a path; the first one, if a key stands twice.
struct Find<'s>(&'s [Step]);

impl<'l> DeserializeSeed<'l> for Find<'_> {
    type Value = Option<&'l RawValue>;
    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            <&RawValue>::deserialize(deserializer).map(Some)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'l> Visitor<'l> for Find<'_> {
    type Value = Option<&'l RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'l>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'l, str>>()? {
            match self.0.split_first() {
                Some((Step::Key(wanted), rest)) if found.is_none() && *wanted == *key => {
                    found = map.next_value_seed(Find(rest))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'l>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl When {
    fn is(&self, scalar: &Scalar<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::OneOf(literals) => literals.iter().any(|literal| literal.is(scalar)),
            Self::Pattern(pattern) => match scalar {
                Scalar::Text(text) => pattern.is_match(text),
                Scalar::Raw(raw) => serde_json::from_str::<Cow<'_, str>>(raw).is_ok_and(|text| pattern.is_match(&text)),
                _ => false,
            },
        }
    }
}

/// A rejection for what `serde_json` itself refuses.
fn syntax(error: &serde_json::Error, path: &[Step]) -> Rejection {
    let message = error.to_string().replace(" at line 1 column ", " at byte ");
    let reason = if message.starts_with("number out of range") { Reason::OutOfRange } else { Reason::NotJson };
    at(path, Rejection::new(reason, message))
}

/// A rejection of the value at `path`.
fn at(path: &[Step], mut rejection: Rejection) -> Rejection {
    if !path.is_empty() {
        rejection.detail = format!("field `{}`: {}", Written(path), rejection.detail);
    }
    rejection
}

/// A line that is being parsed.
struct Parsing<'r, 'l> {
    row: &'r mut Vec<Value<'l>>,
    /// The rows that the elements of an array give.
    rows: Vec<Vec<Value<'l>>>,
    /// The steps from the root to the current value.
    path: Vec<Step>,
    /// Why the line is rejected. An error of serde could carry only text.
    rejection: Option<Rejection>,
}

impl Parsing<'_, '_> {
    /// Records the rejection of the current value, and returns an error that stops the parser.
    fn reject<E: Error>(&mut self, rejection: Rejection) -> E {
        self.rejection = Some(at(&self.path, rejection));
        E::custom("rejected")
    }
}

/// A value of the message that the model describes.
struct NodeSeed<'s, 'r, 'l, 'm> {
    node: &'m Node,
    /// Whether an object or array may be `null` instead.
    may_be_null: bool,
    parsing: &'s mut Parsing<'r, 'l>,
}

impl<'l> DeserializeSeed<'l> for NodeSeed<'_, '_, 'l, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.node {
            Node::Leaf(leaf) if leaf.reads_raw() => {
                let raw = <&RawValue>::deserialize(deserializer)?;
                self.accept(leaf, &Scalar::raw(raw.get()))
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'l> NodeSeed<'_, '_, 'l, '_> {
    fn accept<E: Error>(self, leaf: &Leaf, scalar: &Scalar<'l>) -> Result<(), E> {
        let accepted = leaf.accept(scalar, self.parsing.row.as_mut_slice());
        accepted.map_err(|misfit| self.parsing.reject(leaf.explain(misfit, scalar)))
    }

    /// A value that is neither an object nor an array.
    fn scalar<E: Error>(self, scalar: &Scalar<'l>) -> Result<(), E> {
        match self.node {
            Node::Leaf(leaf) => self.accept(leaf, scalar),
            _ if self.may_be_null && *scalar == Scalar::Null => Ok(()),
            _ => self.mismatch(scalar),
        }
    }

    fn mismatch<E: Error>(self, found: impl fmt::Display) -> Result<(), E> {
        let null = if self.may_be_null { " or null" } else { "" };
        let words = format!("expected {}{null}, found {found}", self.node.expectation());
        Err(self.parsing.reject(Rejection::new(Reason::WrongType, words)))
    }
}

impl<'l> Visitor<'l> for NodeSeed<'_, '_, 'l, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.node.expectation())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(&Scalar::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.scalar(&Scalar::Int(value)),
            #[expect(clippy::cast_precision_loss, reason = "a DOUBLE column keeps what a double can keep")]
            Err(_) => self.scalar(&Scalar::Float(value as f64)),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.scalar(&Scalar::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'l str) -> Result<(), E> {
        self.scalar(&Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.scalar(&Scalar::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(&Scalar::Bool(value))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar(&Scalar::Null)
    }

    fn visit_seq<A: SeqAccess<'l>>(self, mut array: A) -> Result<(), A::Error> {
        let parsing = self.parsing;
        match self.node {
            Node::Each(node) => {
                let around = parsing.row.clone();
                loop {
                    parsing.row.fill(Value::Null);
                    parsing.path.push(Step::Index(parsing.rows.len()));
                    if array.next_element_seed(NodeSeed { node, may_be_null: false, parsing })?.is_none() {
                        break;
                    }
                    parsing.path.pop();
                    parsing.rows.push(parsing.row.clone());
                }
                parsing.path.pop();
                *parsing.row = around;
                Ok(())
            }
            Node::Array(elements) => {
                let mut length = 0;
                loop {
                    let element = elements.members.iter().find(|member| member.step == Step::Index(length));
                    parsing.path.push(Step::Index(length));
                    let there = match element {
                        Some(Member { node, may_be_null, .. }) => {
                            array.next_element_seed(NodeSeed { node, may_be_null: *may_be_null, parsing })?.is_some()
                        }
                        None => array.next_element::<IgnoredAny>()?.is_some(),
                    };
                    parsing.path.pop();
                    if !there {
                        break;
                    }
                    length += 1;
                }
                missing(parsing, elements, |member| matches!(member.step, Step::Index(index) if index >= length))
            }
            _ => NodeSeed { parsing, ..self }.mismatch("an array"),
        }
    }

    fn visit_map<A: MapAccess<'l>>(self, mut map: A) -> Result<(), A::Error> {
        let Node::Object(object) = self.node else { return self.mismatch("an object") };
        let parsing = self.parsing;
        let mut seen = vec![false; object.members.len()];
        let mut unknown = HashSet::new();
        let mut next = 0;
        while let Some(key) = map.next_key_seed(KeySeed { object, next })? {
            match key {
                MemberKey::Known(index, member) => {
                    parsing.path.push(member.step.clone());
                    next = index + 1;
                    if let Some(seen) = seen.get_mut(index)
                        && std::mem::replace(seen, true)
                    {
                        return Err(parsing.reject(Rejection::new(Reason::DuplicateKey, "the key stands twice")));
                    }
                    map.next_value_seed(NodeSeed { node: &member.node, may_be_null: member.may_be_null, parsing })?;
                    parsing.path.pop();
                }
                MemberKey::Unknown(key) if object.closed => {
                    let words = format!("the key {} is not known", Excerpt(&key));
                    return Err(parsing.reject(Rejection::new(Reason::Constraint, words)));
                }
                MemberKey::Unknown(key) => {
                    if unknown.contains(&key) {
                        let words = format!("the key {} stands twice", Excerpt(&key));
                        return Err(parsing.reject(Rejection::new(Reason::DuplicateKey, words)));
                    }
                    unknown.insert(key);
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let mut seen = seen.iter();
        missing(parsing, object, |_| seen.next() == Some(&false))
    }
}

/// Rejects an object or array whose members that are `absent` must be there.
fn missing<E: Error>(
    parsing: &mut Parsing<'_, '_>,
    object: &Object,
    mut absent: impl FnMut(&Member) -> bool,
) -> Result<(), E> {
    match object.members.iter().find(|member| absent(member) && !member.may_miss) {
        None => Ok(()),
        Some(member) => {
            parsing.path.push(member.step.clone());
            Err(parsing.reject(Rejection::new(Reason::MissingField, "missing")))
        }
    }
}

/// A member's key: that of a member of the model, or another one.
enum MemberKey<'l, 'm> {
    Known(usize, &'m Member),
    Unknown(Cow<'l, str>),
}

struct KeySeed<'m> {
    object: &'m Object,
    /// Which member comes next if the order is that of the model.
    next: usize,
}

impl<'m> KeySeed<'m> {
    fn find<'l>(&self, key: &str) -> Option<MemberKey<'l, 'm>> {
        let members = &self.object.members;
        let has_key = |member: &&Member| member.has_key(key.as_bytes());
        if let Some(member) = members.get(self.next).filter(has_key) {
            return Some(MemberKey::Known(self.next, member));
        }
        let (index, member) = members.iter().enumerate().find(|(_, member)| has_key(member))?;
        Some(MemberKey::Known(index, member))
    }
}

impl<'l, 'm> DeserializeSeed<'l> for KeySeed<'m> {
    type Value = MemberKey<'l, 'm>;
    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'l, 'm> Visitor<'l> for KeySeed<'m> {
    type Value = MemberKey<'l, 'm>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'l str) -> Result<Self::Value, E> {
        Ok(self.find(key).unwrap_or(MemberKey::Unknown(Cow::Borrowed(key))))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.find(key).unwrap_or_else(|| MemberKey::Unknown(Cow::Owned(key.to_owned()))))
    }
}
