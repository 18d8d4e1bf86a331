//! The declaration of one column.

use std::sync::Arc;

use jiff::tz::TimeZone;
use regex::Regex;
use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::path;
use super::problem::Collector;
use super::table::{Keys, Place, literal, number, one_of, reason, text};
use crate::decimal::{self, MOST_DIGITS};
use crate::leaf::{Bound, BytesFormat, Demands, Kind, Leaf, Literal};
use crate::row::Value;
use crate::schema::{ColumnType, Meta, Step, is_plain_key};
use crate::time::{DateFormat, Fold, Pattern, TimeFormat, TimestampFormat, Unit, Zone};

/// A column as it is declared.
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) column_type: ColumnType,
    /// Whether the column holds JSON.
    pub(super) is_json: bool,
    pub(super) source: Source,
}

/// Where the values of a column come from.
pub(super) enum Source {
    Path {
        /// None for the member of the column's name, unless another column's `else` leads here.
        path: Option<Vec<Step>>,
        leaf: Leaf,
        may_miss: bool,
        /// The column that takes what does not fit here.
        otherwise: Option<(String, Place)>,
    },
    Meta(Meta),
    Constant(Value<'static>),
}

/// What a column may be declared with.
const KEYS: [&str; 21] = [
    "type",
    "from",
    "meta",
    "const",
    "optional",
    "null",
    "empty",
    "range",
    "min",
    "max",
    "above",
    "below",
    "one_of",
    "multiple_of",
    "pattern",
    "min_length",
    "max_length",
    "min_items",
    "max_items",
    "coerce",
    "else",
];
/// What a time may be declared with besides.
const TIME_KEYS: [&str; 3] = ["format", "zone", "fold"];

/// Names that tables of warehouses, or DuckDB's reader of Parquet files, use for columns of their own.
const RESERVED: [&str; 4] = ["id", "window_start", "file_index", "file_row_number"];

/// Whether a name is one of those.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
}

/// Reads the column `name`.
pub(super) fn read(
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    problems: &Collector<'_>,
) -> Option<Declared> {
    let (place, name) = (name.span(), name.get_ref().as_ref());
    check_name(name, place.clone(), problems);
    let short;
    let table = match value.get_ref() {
        DeValue::Table(table) => table,
        DeValue::String(_) => {
            short = DeTable::from_iter([(Spanned::new(value.span(), "type".into()), value.clone())]);
            &short
        }
        _ => {
            problems.add(
                value.span(),
                "a column is a type, as in \"int\", or a table, as in { type = \"int\", range = [0, 9] }",
            );
            return None;
        }
    };
    let keys = Keys::new(table, value.span(), problems);
    keys.allow(&[KEYS.as_slice(), &TIME_KEYS].concat());
    Reader { name, place, keys, problems }.column()
}

fn check_name(name: &str, place: Place, problems: &Collector<'_>) {
    let plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if name.len() > 63
        || name.is_empty()
        || !name.chars().all(plain)
        || name.starts_with(|first: char| first.is_ascii_digit())
    {
        problems.add(place, format!("a column's name consists of at most 63 letters (a to z), digits and underscores, and begins with no digit; the message's key is named by `from = '{}'`", quoted(name)));
    } else if let Some(reserved) = RESERVED.iter().find(|reserved| name.eq_ignore_ascii_case(reserved)) {
        problems.add(place, format!("warehouses have a column `{reserved}` of their own: name it otherwise, as in `device_{reserved} = {{ from = \"{name}\", … }}`"));
    }
}

fn quoted(key: &str) -> String {
    if is_plain_key(key) { key.to_owned() } else { format!("{key:?}") }
}

struct Reader<'r, 't> {
    name: &'r str,
    place: Place,
    keys: Keys<'r, 't>,
    problems: &'r Collector<'r>,
}

impl Reader<'_, '_> {
    fn column(&self) -> Option<Declared> {
        let given = ["from", "meta", "const"].map(|key| self.keys.get(key));
        let (column_type, is_json, source) = match given {
            [None, Some(meta), None] => {
                self.keys.only(&["meta"], "a column from outside the message");
                let (column_type, source) = self.meta(meta)?;
                (column_type, false, source)
            }
            [None, None, Some(value)] => {
                self.keys.only(&["const", "type"], "a column with one value");
                let (column_type, source) = self.constant(value)?;
                (column_type, false, source)
            }
            [from, None, None] => {
                let path = match from {
                    None => None,
                    Some(from) => Some(self.path(from)?),
                };
                let (column_type, leaf) = self.leaf()?;
                let (may_miss, may_be_null) = self.optional();
                let is_json = matches!(leaf.kind, Kind::Json);
                let leaf = Leaf { may_be_null: may_be_null || is_json, ..leaf };
                let otherwise = self
                    .keys
                    .get("else")
                    .and_then(|value| Some((text(value, self.problems)?.to_owned(), value.span())));
                (column_type, is_json, Source::Path { path, leaf, may_miss, otherwise })
            }
            _ => {
                self.problems.add(self.place.clone(), "a column has one of `from`, `meta` and `const`");
                return None;
            }
        };
        Some(Declared { name: self.name.to_owned(), place: self.place.clone(), column_type, is_json, source })
    }

    fn path(&self, from: &Spanned<DeValue<'_>>) -> Option<Vec<Step>> {
        path::parse(text(from, self.problems)?).map_err(|words| self.problems.add(from.span(), words)).ok()
    }

    fn meta(&self, value: &Spanned<DeValue<'_>>) -> Option<(ColumnType, Source)> {
        let meta = one_of("meta", value, &Meta::ALL, self.problems)?;
        let column_type = match meta {
            Meta::ArrivalTime => ColumnType::Timestamp,
            Meta::SourceAddress | Meta::Listener => ColumnType::Varchar,
            Meta::SourcePort => ColumnType::BigInt,
        };
        Some((column_type, Source::Meta(meta)))
    }

    fn constant(&self, value: &Spanned<DeValue<'_>>) -> Option<(ColumnType, Source)> {
        let (column_type, value) = match literal(value, self.problems)? {
            Literal::Bool(value) => (ColumnType::Boolean, Value::Bool(value)),
            Literal::Int(value) => (ColumnType::BigInt, Value::Int(value)),
            Literal::Float(value) => (ColumnType::Double, Value::Double(value)),
            Literal::Text(text) => (ColumnType::Varchar, Value::Text(text.into())),
        };
        Some((column_type, Source::Constant(value)))
    }

    /// Whether the value may be missing, and whether it may be null.
    fn optional(&self) -> (bool, bool) {
        match self.keys.get("optional") {
            None => (false, false),
            Some(value) => match value.get_ref() {
                DeValue::Boolean(both) => (*both, *both),
                _ => {
                    let all = [("missing", (true, false)), ("null", (false, true))];
                    one_of("optional", value, &all, self.problems).unwrap_or_default()
                }
            },
        }
    }

    /// The type and all demands.
    fn leaf(&self) -> Option<(ColumnType, Leaf)> {
        let listed = self.keys.get("one_of");
        let (declared, place) = match (self.keys.get("type"), listed) {
            (Some(value), _) => (text(value, self.problems)?, value.span()),
            (None, Some(listed)) => match listed.get_ref() {
                DeValue::Array(all) if all.iter().all(|one| one.get_ref().is_integer()) => ("int", listed.span()),
                _ => ("text", listed.span()),
            },
            (None, None) => {
                self.problems.add(self.place.clone(), format!("the column has no `type`: {TYPES}"));
                return None;
            }
        };
        let scalar = declared.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let (column_type, kind) = self.scalar_type(scalar.unwrap_or(declared).trim(), place, listed)?;
        let is_time = matches!(kind, Kind::Timestamp(_) | Kind::Date(_) | Kind::Time(_) | Kind::Bytes(_));
        if !is_time {
            self.keys.refuse(&TIME_KEYS, "is for times and bytes");
        }
        let leaf = Leaf {
            nulls: self.nulls(),
            demands: self.demands(&kind, &column_type),
            coerce: self.keys.flag("coerce"),
            ..Leaf::plain(None, kind)
        };
        if scalar.is_none() {
            self.keys.refuse(&["min_items", "max_items"], "is for lists; a text has `min_length` and `max_length`");
            return Some((column_type, leaf));
        }
        let lengths = Demands {
            min_length: self.keys.count("min_items"),
            max_length: self.keys.count("max_items"),
            ..Demands::default()
        };
        let has_lengths = lengths.min_length.is_some() || lengths.max_length.is_some();
        let demands = has_lengths.then(|| Box::new(lengths));
        let list = Leaf { demands, ..Leaf::plain(None, Kind::List(Arc::new(leaf))) };
        Some((ColumnType::List(Box::new(column_type)), list))
    }

    fn scalar_type(
        &self,
        name: &str,
        place: Place,
        listed: Option<&Spanned<DeValue<'_>>>,
    ) -> Option<(ColumnType, Kind)> {
        Some(match name {
            "bool" => (ColumnType::Boolean, Kind::Bool),
            "int" => (ColumnType::BigInt, Kind::Int),
            "float" => (ColumnType::Double, Kind::Float),
            "text" if listed.is_some() => {
                let texts = self.texts(listed);
                (ColumnType::OneOf(texts.clone()), Kind::OneOf(self.codes(listed?, &texts)?))
            }
            "text" => (ColumnType::Varchar, Kind::Text),
            "json" => (ColumnType::Varchar, Kind::Json),
            "bytes" => {
                let all = [("hex", BytesFormat::Hex), ("base64", BytesFormat::Base64)];
                let format = self
                    .keys
                    .get("format")
                    .map_or(Some(BytesFormat::Hex), |value| one_of("format", value, &all, self.problems));
                self.keys.refuse(&["zone", "fold"], "is for times");
                (ColumnType::Blob, Kind::Bytes(format?))
            }
            "timestamp" => (ColumnType::Timestamp, Kind::Timestamp(self.timestamp()?)),
            "date" => {
                self.keys.refuse(&["zone", "fold"], "is for a `timestamp`");
                (ColumnType::Date, Kind::Date(DateFormat(self.pattern("a date", Pattern::has_date)?)))
            }
            "time" => {
                self.keys.refuse(&["zone", "fold"], "is for a `timestamp`");
                (ColumnType::Time, Kind::Time(TimeFormat(self.pattern("a time of day", Pattern::has_time)?)))
            }
            _ => match decimal_type(name) {
                Some((precision, scale)) => {
                    (ColumnType::Decimal { precision, scale }, Kind::Decimal { precision, scale })
                }
                None => {
                    self.problems.add(place, format!("`{name}` is no type: {TYPES}"));
                    return None;
                }
            },
        })
    }

    /// The texts that a column of few texts may hold.
    fn texts(&self, listed: Option<&Spanned<DeValue<'_>>>) -> Arc<[String]> {
        let mut texts: Vec<String> = Vec::new();
        let values: Vec<_> = match listed.map(Spanned::get_ref) {
            Some(DeValue::Array(all)) => all.iter().collect(),
            Some(DeValue::Table(renamed)) => renamed.iter().map(|(_, text)| text).collect(),
            _ => Vec::new(),
        };
        for text in values.into_iter().filter_map(|value| text(value, self.problems)) {
            if !texts.iter().any(|other| other == text) {
                texts.push(text.to_owned());
            }
        }
        texts.into()
    }

    /// What stands for each of the texts in a message.
    fn codes(&self, listed: &Spanned<DeValue<'_>>, texts: &[String]) -> Option<Vec<(Literal, u32)>> {
        let index = |text: &str| (0..).zip(texts).find(|(_, other)| *other == text).map(|(index, _)| index);
        let codes: Vec<_> = match listed.get_ref() {
            DeValue::Array(_) => (0..).zip(texts).map(|(index, text)| (Literal::Text(text.clone()), index)).collect(),
            DeValue::Table(renamed) => {
                let code = |(code, text): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
                    let code = code.get_ref();
                    let literal = match (code.parse(), code.parse()) {
                        (Ok(number), _) => Literal::Int(number),
                        (_, Ok(value)) => Literal::Bool(value),
                        _ => Literal::Text(code.to_string()),
                    };
                    Some((literal, index(text.get_ref().as_str()?)?))
                };
                renamed.iter().filter_map(code).collect()
            }
            _ => Vec::new(),
        };
        if codes.is_empty() {
            self.problems.add(listed.span(), "`one_of` is a list of texts, as in [\"on\", \"off\"], or says what values stand for, as in { 0 = \"off\", 1 = \"on\" }");
            return None;
        }
        Some(codes)
    }

    fn timestamp(&self) -> Option<TimestampFormat> {
        let format = self.keys.get("format");
        let word = match format {
            None => "iso",
            Some(value) => text(value, self.problems)?,
        };
        let epoch = match word {
            "epoch_s" => Some(TimestampFormat::Epoch(Unit::Seconds)),
            "epoch_ms" => Some(TimestampFormat::Epoch(Unit::Milliseconds)),
            "epoch_us" => Some(TimestampFormat::Epoch(Unit::Microseconds)),
            "epoch_ns" => Some(TimestampFormat::Epoch(Unit::Nanoseconds)),
            "epoch" => Some(TimestampFormat::EpochFraction),
            _ => None,
        };
        if let Some(epoch) = epoch {
            self.keys.refuse(&["zone", "fold"], "has no meaning for seconds since 1970, which are the same everywhere");
            return Some(epoch);
        }
        let zone = self.zone();
        if word == "iso" {
            return Some(TimestampFormat::Iso(zone));
        }
        let place = format.map_or(self.place.clone(), Spanned::span);
        if !word.contains('%') {
            self.problems.add(place, "`format` is \"epoch_s\", \"epoch_ms\", \"epoch_us\", \"epoch_ns\", \"epoch\" (seconds with a fraction), \"iso\", or a pattern as \"%d.%m.%Y %H:%M:%S\"");
            return None;
        }
        let pattern = self.pattern("a date and a time", Pattern::has_date_and_time)??;
        if zone.is_none() && !pattern.has_offset() {
            self.problems.add(place, "the pattern has no offset from UTC (%z): say of which zone the times are, as in zone = \"UTC\" or zone = \"Europe/Berlin\"");
        }
        Some(TimestampFormat::Pattern(pattern, zone))
    }

    /// The pattern of a time, which must give `what`; none for ISO 8601.
    #[expect(clippy::option_option, reason = "no pattern is asked for, or the one that is asked for is wrong")]
    fn pattern(&self, what: &str, gives: fn(&Pattern) -> bool) -> Option<Option<Pattern>> {
        let Some(value) = self.keys.get("format") else { return Some(None) };
        let word = text(value, self.problems)?;
        if word == "iso" {
            return Some(None);
        }
        match Pattern::new(word) {
            Some(pattern) if gives(&pattern) => Some(Some(pattern)),
            Some(_) => {
                self.problems.add(value.span(), format!("the pattern does not give {what}"));
                None
            }
            None => {
                self.problems.add(value.span(), "the pattern has a letter after % that does not exist; there are %Y %y %m %d %b %j %H %I %p %M %S %f %.f %z and others of strptime's");
                None
            }
        }
    }

    fn zone(&self) -> Option<Zone> {
        let folds = [("earlier", Fold::Earlier), ("later", Fold::Later), ("reject", Fold::Reject)];
        let fold = self.keys.get("fold").and_then(|value| one_of("fold", value, &folds, self.problems));
        let Some(value) = self.keys.get("zone") else {
            self.keys.refuse(&["fold"], "needs a `zone`");
            return None;
        };
        let Ok(zone) = TimeZone::get(text(value, self.problems)?) else {
            self.problems.add(
                value.span(),
                "there is no such zone; zones are named as in \"UTC\", \"Europe/Berlin\", \"America/New_York\"",
            );
            return None;
        };
        let zone = Zone { zone, fold: fold.unwrap_or(Fold::Reject) };
        if fold.is_none() && !zone.is_fixed() {
            self.problems.add(value.span(), "clocks are set back in this zone, and show an hour twice: say which one a time in it is of by fold = \"earlier\", \"later\" or \"reject\"");
        }
        Some(zone)
    }

    fn nulls(&self) -> Vec<Literal> {
        let mut nulls = self.keys.literals("null");
        if let Some(value) = self.keys.get("empty")
            && one_of("empty", value, &[("null", ())], self.problems).is_some()
        {
            nulls.push(Literal::Text(String::new()));
        }
        nulls
    }

    fn demands(&self, kind: &Kind, column_type: &ColumnType) -> Option<Box<Demands>> {
        let is_number = matches!(kind, Kind::Int | Kind::Float | Kind::Decimal { .. });
        let is_text = matches!(kind, Kind::Text);
        if !is_number {
            self.keys.refuse(&["range", "min", "max", "above", "below", "multiple_of"], "is for numbers");
        }
        if !is_text {
            self.keys.refuse(&["pattern"], "is for texts");
        }
        if !is_text && !matches!(kind, Kind::Bytes(_)) {
            self.keys.refuse(
                &["min_length", "max_length"],
                "is for texts and bytes; a list has `min_items` and `max_items`",
            );
        }
        let scale = if let ColumnType::Decimal { scale, .. } = column_type { *scale } else { 0 };
        let bound = |value: &Spanned<DeValue<'_>>, inclusive, up| {
            let number = number(value, self.problems)?;
            let scaled = scaled(&number, scale, up);
            Some(Bound { number, inclusive, scaled })
        };
        let mut low = self.keys.get("min").and_then(|value| bound(value, true, true));
        let mut high = self.keys.get("max").and_then(|value| bound(value, true, false));
        low = low.or_else(|| self.keys.get("above").and_then(|value| bound(value, false, false)));
        high = high.or_else(|| self.keys.get("below").and_then(|value| bound(value, false, true)));
        if let Some(range) = self.keys.get("range") {
            match range.get_ref().as_array().map(|ends| ends.iter().collect::<Vec<_>>()).as_deref() {
                Some([first, last]) => (low, high) = (bound(first, true, true), bound(last, true, false)),
                _ => self.problems.add(range.span(), "`range` has two ends, as in [0, 100]"),
            }
        }
        let pattern = self.keys.get("pattern").and_then(|value| {
            let words = |error| {
                self.problems.add(value.span(), format!("the pattern is no regular expression: {}", reason(&error)));
            };
            Regex::new(text(value, self.problems)?).map_err(words).ok()
        });
        let is_listed = !matches!(kind, Kind::OneOf(_));
        let demands = Demands {
            low,
            high,
            listed: if is_listed { self.keys.literals("one_of") } else { Vec::new() },
            multiple_of: self.keys.get("multiple_of").and_then(|value| number(value, self.problems)),
            pattern,
            min_length: self.keys.count("min_length"),
            max_length: self.keys.count("max_length"),
        };
        let asks = demands.low.is_some()
            || demands.high.is_some()
            || !demands.listed.is_empty()
            || demands.multiple_of.is_some();
        (asks || demands.pattern.is_some() || demands.min_length.is_some() || demands.max_length.is_some())
            .then(|| Box::new(demands))
    }
}

const TYPES: &str = "the types are int, float, decimal(p,s), bool, text, bytes, timestamp, date, time, json, and lists of them as [int]";

/// Precision and scale of `decimal(p,s)`.
fn decimal_type(name: &str) -> Option<(u8, u8)> {
    let (precision, scale) = name.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    ((1..=MOST_DIGITS).contains(&precision) && scale <= precision).then_some((precision, scale))
}

/// A number as the digits of a decimal with this scale, rounded up or down.
fn scaled(number: &Literal, scale: u8, up: bool) -> i128 {
    let text = number.to_string();
    // With all its digits, it is what is written; the digits after the scale decide about rounding.
    match decimal::parse(&text, MOST_DIGITS, scale) {
        Ok(digits) => digits,
        Err(_) => {
            let float: f64 = text.parse::<f64>().unwrap_or_default() * 10f64.powi(scale.into());
            #[expect(clippy::cast_possible_truncation, reason = "what no decimal reaches is saturated")]
            let digits = if up { float.ceil() } else { float.floor() } as i128;
            digits
        }
    }
}
