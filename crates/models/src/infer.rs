//! A stream file proposed from a capture.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::schema::{Step, Written};
use crate::time::{DateFormat, Fold, TimestampFormat, Zone};

/// What was seen of the values at one path.
#[derive(Debug, Default)]
struct Seen {
    path: Vec<Step>,
    count: usize,
    nulls: usize,
    bools: usize,
    ints: usize,
    floats: usize,
    texts: BTreeSet<String>,
    text_count: usize,
    /// The lowest and highest whole number.
    range: Option<(i64, i64)>,
    /// For arrays: what their elements are.
    arrays: usize,
    elements: Option<Box<Seen>>,
    /// Arrays or objects that are no columns by themselves.
    others: usize,
}

/// How many different texts are looked at.
const TEXTS: usize = 1000;

impl Seen {
    fn at(path: Vec<Step>) -> Self {
        Self { path, ..Self::default() }
    }

    fn add(&mut self, value: &Json) {
        self.count += 1;
        match value {
            Json::Null => self.nulls += 1,
            Json::Bool(_) => self.bools += 1,
            Json::Number(number) => match number.as_i64() {
                Some(number) => {
                    self.ints += 1;
                    let (low, high) = self.range.unwrap_or((number, number));
                    self.range = Some((low.min(number), high.max(number)));
                }
                None => self.floats += 1,
            },
            Json::String(text) => {
                self.text_count += 1;
                if self.texts.len() < TEXTS {
                    self.texts.insert(text.clone());
                }
            }
            Json::Array(elements) => {
                self.arrays += 1;
                let seen = self.elements.get_or_insert_default();
                for element in elements {
                    seen.add(element);
                }
            }
            Json::Object(_) => self.others += 1,
        }
    }

    fn all_texts(&self, is: impl Fn(&str) -> bool) -> bool {
        self.text_count > 0 && self.ints + self.floats + self.bools == 0 && self.texts.iter().all(|text| is(text))
    }

    /// The last key of its path.
    fn key(&self) -> String {
        self.path
            .iter()
            .rev()
            .find_map(|step| if let Step::Key(key) = step { Some(key.to_lowercase()) } else { None })
            .unwrap_or_default()
    }

    /// The unit, if its numbers look like times since 1970, from 2001 to 2100.
    fn epoch(&self) -> Option<&'static str> {
        let (low, high) = self.range?;
        let key = self.key();
        let is_named = ["time", "date", "epoch", "stamp", "_at", "when"].iter().any(|word| key.contains(word))
            || ["t", "ts", "tst", "tm"].contains(&key.as_str());
        let units = [("epoch_s", 1), ("epoch_ms", 1_000), ("epoch_us", 1_000_000), ("epoch_ns", 1_000_000_000)];
        let fits =
            |(_, per_second): &&(&str, i64)| low >= 1_000_000_000 * per_second && high / per_second < 4_102_444_800;
        units.iter().find(fits).map(|(name, _)| *name).filter(|_| is_named && self.text_count + self.bools == 0)
    }

    /// The type and further keys of its column, and what was guessed.
    fn declaration(&self) -> (String, Option<String>) {
        let iso = TimestampFormat::Iso(None);
        let numbers = self.ints + self.floats;
        let is_number =
            |text: &str| text.trim().parse::<f64>().is_ok_and(f64::is_finite) && !text.trim().starts_with('+');
        if self.others > 0 || (self.arrays > 0 && self.arrays + self.nulls < self.count) {
            return ("type = \"json\"".into(), Some("values of several kinds: they are kept, and not checked".into()));
        }
        if self.arrays > 0 {
            let elements = self.elements.as_deref();
            return match elements.map(|elements| (elements.declaration().0, elements)) {
                Some((declared, elements))
                    if elements.nulls + elements.others + elements.arrays == 0 && !declared.contains(',') =>
                {
                    let element = declared.trim_start_matches("type = ").trim_matches('"');
                    (format!("type = \"[{element}]\""), None)
                }
                Some((_, elements)) if elements.others == elements.count && elements.count > 0 => {
                    let words = format!(
                        "objects in an array: for a row of each, read their members, as in from = \"{}[].…\"",
                        Written(&self.path)
                    );
                    ("type = \"json\"".into(), Some(words))
                }
                _ => ("type = \"json\"".into(), None),
            };
        }
        if let Some(format) = self.epoch() {
            if self.floats == 0 {
                return (
                    format!("type = \"timestamp\", format = \"{format}\""),
                    Some(format!("numbers that look like times ({format})")),
                );
            }
            if format == "epoch_s" {
                return (
                    "type = \"timestamp\", format = \"epoch\"".into(),
                    Some("numbers that look like seconds since 1970".into()),
                );
            }
        }
        if self.all_texts(|text| iso.text(text).is_ok()) {
            return ("type = \"timestamp\"".into(), None);
        }
        let zoned = TimestampFormat::Iso(Some(Zone { zone: jiff::tz::TimeZone::UTC, fold: Fold::Reject }));
        if self.all_texts(|text| zoned.text(text).is_ok()) {
            return (
                "type = \"timestamp\", zone = \"UTC\"".into(),
                Some("times without a zone: say which one the device has".into()),
            );
        }
        if self.all_texts(|text| DateFormat(None).text(text).is_ok()) {
            return ("type = \"date\"".into(), None);
        }
        if self.all_texts(is_number) {
            let whole = self.texts.iter().all(|text| text.trim().parse::<i64>().is_ok());
            let declared = if whole { "type = \"int\", coerce = true" } else { "type = \"float\", coerce = true" };
            return (declared.into(), Some("numbers in quotes".into()));
        }
        match (self.bools, numbers, self.text_count) {
            (0, 0, 0) => ("type = \"json\"".into(), Some("no value was ever seen".into())),
            (_, 0, 0) => ("type = \"bool\"".into(), None),
            (0, _, 0) if self.floats > 0 => ("type = \"float\"".into(), None),
            (0, _, 0) => ("type = \"int\"".into(), None),
            (0, 0, _) => ("type = \"text\"".into(), self.few()),
            (0, ..) => (if self.floats > 0 { "type = \"float\"" } else { "type = \"int\"" }.into(), None),
            _ => ("type = \"json\"".into(), Some("values of several types: they are kept, and not checked".into())),
        }
    }

    /// The texts, if they are few and come again and again.
    fn few(&self) -> Option<String> {
        let few = self.texts.len() <= 8 && self.text_count >= 10 * self.texts.len();
        let texts = || self.texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ");
        few.then(|| format!("if there are no others: one_of = [{}]", texts()))
    }
}

/// A stream file for messages like those of `capture`, with comments where something was guessed; or why there is none.
pub fn infer(capture: &[u8]) -> Result<String, String> {
    let is_object = |line: &[u8]| matches!(serde_json::from_slice::<Json>(line), Ok(Json::Object(_)));
    let lines: Vec<_> = capture.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
    let fitting: Vec<_> = lines.iter().filter(|line| is_object(line)).collect();
    let (messages, is_lines): (Vec<Json>, bool) = if fitting.len() * 2 > lines.len() {
        (fitting.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect(), true)
    } else {
        let documents = serde_json::Deserializer::from_slice(capture).into_iter::<Json>();
        (documents.map_while(Result::ok).filter(Json::is_object).collect(), false)
    };
    if messages.is_empty() {
        return Err("no JSON objects are in it; other formats have to be written by hand".into());
    }
    let mut all = Vec::new();
    for message in &messages {
        collect(message, &mut Vec::new(), &mut all);
    }
    // An object that has members that are columns is none itself.
    let has_members =
        |path: &[Step]| all.iter().any(|other: &Seen| other.path.len() > path.len() && other.path.starts_with(path));
    let columns: Vec<_> = all.iter().filter(|seen| !has_members(&seen.path)).collect();
    let mut text = format!("# Proposed from {} messages; what was guessed has a comment.\n", messages.len());
    if is_lines && fitting.len() < lines.len() {
        let _ = writeln!(
            text,
            "# {} lines are no JSON objects, and would go to quarantine; what is to be counted and not kept, says `drop`.",
            lines.len() - fitting.len()
        );
    }
    if !is_lines {
        text.push_str("frame = \"json\"   # documents that are not one a line\n");
    }
    let mut names: Vec<String> = Vec::new();
    let mut body = String::new();
    let mut time = None;
    for seen in columns {
        let name = name(&seen.path, &names);
        let (declared, guess) = seen.declaration();
        let is_mixed = seen.text_count > 0
            && seen.ints + seen.floats > 0
            && declared.starts_with("type = \"float\"") | declared.starts_with("type = \"int\"")
            && !declared.contains("coerce");
        let mut keys = declared;
        let path = Written(&seen.path).to_string();
        if path != name {
            keys = format!(
                "from = {}, {keys}",
                if path.contains('"') { format!("'{path}'") } else { format!("\"{path}\"") }
            );
        }
        if is_mixed {
            let _ = write!(keys, ", else = \"{name}_text\"");
        }
        match (seen.count < messages.len(), seen.nulls > 0 && !keys.contains("json")) {
            (true, true) => keys.push_str(", optional = true"),
            (true, false) => keys.push_str(", optional = \"missing\""),
            (false, true) => keys.push_str(", optional = \"null\""),
            (false, false) => {}
        }
        if time.is_none() && keys.contains("type = \"timestamp\"") && !keys.contains("optional") {
            time = Some(name.clone());
        }
        let comment = guess.map_or(String::new(), |guess| format!("   # {guess}"));
        let _ = writeln!(body, "{name} = {{ {keys} }}{comment}");
        if is_mixed {
            let _ = writeln!(body, "{name}_text = \"text\"");
            names.push(format!("{name}_text"));
        }
        names.push(name);
    }
    match time {
        Some(name) => {
            let _ = writeln!(text, "time = \"{name}\"   # the event time: the first that every message has");
        }
        None => text.push_str("# No value looks like the event time: rows are placed by the time of arrival.\n"),
    }
    Ok(format!("{text}\n[columns]\n{body}"))
}

/// Adds what is seen of a value, and of all in it.
fn collect(value: &Json, path: &mut Vec<Step>, all: &mut Vec<Seen>) {
    if !path.is_empty() {
        let index = all.iter().position(|seen| seen.path == *path).unwrap_or_else(|| {
            all.push(Seen::at(path.clone()));
            all.len() - 1
        });
        if let Some(seen) = all.get_mut(index) {
            seen.add(value);
        }
    }
    if let Json::Object(members) = value {
        for (key, value) in members {
            path.push(Step::Key(key.clone()));
            collect(value, path, all);
            path.pop();
        }
    }
}

/// A column's name for a path, which no other column has.
fn name(path: &[Step], taken: &[String]) -> String {
    let keys = path.iter().filter_map(|step| if let Step::Key(key) = step { Some(key.as_str()) } else { None });
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let mut name: String = keys.collect::<Vec<_>>().join("_").chars().map(plain).take(50).collect();
    if name.starts_with(|first: char| first.is_ascii_digit())
        || name.is_empty()
        || crate::stream_file::is_reserved(&name)
    {
        name = format!("device_{name}");
    }
    while taken.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
        name.push('_');
    }
    name
}
