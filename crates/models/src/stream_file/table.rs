//! Reading the tables of a stream file.

use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Collector;
use crate::leaf::Literal;

/// A range of bytes of a stream file.
pub(super) type Place = Range<usize>;

/// The keys of a table.
pub(super) struct Keys<'r, 't> {
    table: &'r DeTable<'t>,
    place: Place,
    problems: &'r Collector<'r>,
}

impl<'r, 't> Keys<'r, 't> {
    pub(super) fn new(table: &'r DeTable<'t>, place: Place, problems: &'r Collector<'r>) -> Self {
        Self { table, place, problems }
    }

    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    pub(super) fn get(&self, key: &str) -> Option<&'r Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    /// Notes all keys but these as unknown.
    pub(super) fn allow(&self, known: &[&str]) {
        for (key, _) in self.table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let known = known.join(", ");
            self.problems.add(key.span(), format!("there is no key `{}` here; there are {known}", key.get_ref()));
        }
    }

    /// Notes all keys but these as out of place in `what`.
    pub(super) fn only(&self, fitting: &[&str], what: &str) {
        for (key, _) in self.table.iter().filter(|(key, _)| !fitting.contains(&key.get_ref().as_ref())) {
            self.problems.add(key.span(), format!("`{}` does not fit {what}", key.get_ref()));
        }
    }

    /// Notes these keys as out of place, with the reason.
    pub(super) fn refuse(&self, keys: &[&str], why: &str) {
        for (key, _) in self.table.iter().filter(|(key, _)| keys.contains(&key.get_ref().as_ref())) {
            self.problems.add(key.span(), format!("`{}` {why}", key.get_ref()));
        }
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| {
            value.get_ref().as_bool().unwrap_or_else(|| {
                self.problems.add(value.span(), format!("`{key}` is true or false"));
                false
            })
        })
    }

    pub(super) fn count(&self, key: &str) -> Option<usize> {
        let value = self.get(key)?;
        let count = value.get_ref().as_integer().and_then(|number| number.as_str().parse().ok());
        if count.is_none() {
            self.problems.add(value.span(), format!("`{key}` is a whole number"));
        }
        count
    }

    /// The literals of a list.
    pub(super) fn literals(&self, key: &str) -> Vec<Literal> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(all) = value.get_ref().as_array() else {
            self.problems.add(value.span(), format!("`{key}` is a list, as in [0, 1]"));
            return Vec::new();
        };
        all.iter().filter_map(|one| literal(one, self.problems)).collect()
    }
}

/// A text.
pub(super) fn text<'v>(value: &'v Spanned<DeValue<'_>>, problems: &Collector<'_>) -> Option<&'v str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        problems.add(value.span(), "this is a text, in quotes");
    }
    text
}

/// What one of a few words stands for.
pub(super) fn one_of<T: Copy>(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    all: &[(&str, T)],
    problems: &Collector<'_>,
) -> Option<T> {
    let word = text(value, problems)?;
    let found = all.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    if found.is_none() {
        let known = all.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        problems.add(value.span(), format!("`{key}` is one of {known}"));
    }
    found
}

/// A number.
pub(super) fn number(value: &Spanned<DeValue<'_>>, problems: &Collector<'_>) -> Option<Literal> {
    match literal(value, problems)? {
        number @ (Literal::Int(_) | Literal::Float(_)) => Some(number),
        _ => {
            problems.add(value.span(), "this is a number");
            None
        }
    }
}

/// A text, a number or a boolean.
pub(super) fn literal(value: &Spanned<DeValue<'_>>, problems: &Collector<'_>) -> Option<Literal> {
    let literal = match value.get_ref() {
        DeValue::String(text) => Some(Literal::Text(text.to_string())),
        DeValue::Boolean(value) => Some(Literal::Bool(*value)),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Literal::Int),
        DeValue::Float(number) => {
            number.as_str().parse().ok().filter(|value: &f64| value.is_finite()).map(Literal::Float)
        }
        _ => None,
    };
    if literal.is_none() {
        problems.add(value.span(), "this is a text, a finite number, or true or false");
    }
    literal
}

/// Why a regular expression is none, in a line.
pub(super) fn reason(error: &regex::Error) -> String {
    let words = error.to_string();
    words.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
