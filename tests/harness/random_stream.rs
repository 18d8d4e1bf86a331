//! Random streams: stream files with all kinds of columns, and messages that mostly fit.

#![allow(clippy::indexing_slicing, reason = "tests")]

use std::fmt::Write as _;

use crate::Random;

fn one<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.below(of.len())]
}

fn chance(random: &mut Random, percent: usize) -> bool {
    random.below(100) < percent
}

/// A field of a message: the column's declaration, and texts of JSON that it takes or that are near them.
type Field = (&'static str, &'static [&'static str]);

const FIELDS: &[Field] = &[
    (
        "type = \"int\"",
        &["5", "-5", "0", "-0", "1234567", "12", "999999999999999999", "9223372036854775808", "1.0", "null", "\"5\""],
    ),
    ("type = \"int\", range = [10, 90]", &["10", "55", "90", "91", "09", "5", "12"]),
    ("type = \"int\", min = -50, max = 4999", &["-50", "-51", "4999", "5000", "300", "-1"]),
    ("type = \"int\", multiple_of = 5", &["10", "15", "16"]),
    ("type = \"int\", one_of = [10, 20]", &["10", "20", "30"]),
    ("type = \"int\", null = [-99], optional = true", &["-99", "-98", "null", "7"]),
    ("type = \"int\", coerce = true", &["\"12\"", "12", "\" 7\"", "\"x\""]),
    ("type = \"float\"", &["1.5", "-0.25", "-0.0", "3", "1e5", "1e999", "0.30000000000000004", "12.75", "9.99"]),
    ("type = \"float\", above = 0, below = 10", &["0.01", "9.99", "10.0", "0.0", "5.5", "99.9"]),
    ("type = \"decimal(6,2)\"", &["1.50", "1.5", "9999.99", "10000.0", "1.555", "12.25", "1e2", "-3.75", "\"1\""]),
    ("type = \"decimal(4,1)\", max = 50, coerce = true", &["49.9", "50.0", "50.1", "\"12.5\"", "10.0", "99.9"]),
    ("type = \"bool\"", &["true", "false", "1", "null"]),
    ("type = \"text\"", &["\"\"", "\"a\"", "\"straße\"", "\"a\\\"b\"", "\"\\u0041\"", "5", "\"\u{7f}\""]),
    ("type = \"text\", max_length = 3, empty = \"null\"", &["\"\"", "\"abc\"", "\"abcd\"", "\"äöü\""]),
    ("type = \"text\", pattern = \"^[a-c]+$\"", &["\"abc\"", "\"d\""]),
    ("one_of = [\"on\", \"off\", \"°C\"]", &["\"on\"", "\"off\"", "\"°C\"", "\"o\\u006e\"", "\"x\"", "1"]),
    ("one_of = { 0 = \"none\", 1 = \"warn\", \"z\" = \"none\" }", &["0", "1", "\"z\"", "2", "1.0"]),
    ("type = \"bytes\"", &["\"00ff\"", "\"0\"", "\"\""]),
    (
        "type = \"timestamp\"",
        &["\"2026-01-31T10:00:00Z\"", "\"2026-01-31T10:00:01.25+02:00\"", "\"2026-13-31T10:00:00Z\"", "5"],
    ),
    (
        "type = \"timestamp\", format = \"epoch_ms\"",
        &["1700000000123", "1700000000999", "-5", "99999999999999999", "1.5"],
    ),
    ("type = \"timestamp\", format = \"epoch\"", &["1700000000", "1700000000.25", "1700000000.5"]),
    ("type = \"date\"", &["\"2026-01-31\"", "\"2026-02-30\""]),
    ("type = \"time\"", &["\"10:00\"", "\"10:00:59.5\"", "\"25:00\""]),
    ("type = \"json\", optional = true", &["{\"a\": [1, \"}\"]}", "5", "\"x\"", "null", "[]", "true", "1e999"]),
    ("type = \"[int]\", max_items = 2", &["[1, 2]", "[]", "[1,2,3]", "[1.5]", "5"]),
    ("type = \"[text]\", optional = \"null\"", &["[\"a\", \"b\\n\"]", "null", "[1]"]),
];

/// A node of a message that is being made up.
#[derive(Debug)]
enum Node {
    Leaf { values: &'static [&'static str], optional: bool },
    Ignored(&'static [&'static str]),
    Object(Vec<(String, Node)>),
}

/// A random stream: its file, and how its messages look.
#[derive(Debug)]
pub struct RandomStream {
    /// Its stream file.
    pub file: String,
    message: Node,
}

impl RandomStream {
    /// Makes one up.
    pub fn new(random: &mut Random) -> Self {
        let mut columns = String::new();
        let mut number = 0;
        let has_time = chance(random, 60);
        let mut members = object(random, "", 0, &mut number, &mut columns);
        let mut head = String::new();
        if columns.is_empty() {
            columns.push_str("arrival_time = { meta = \"arrival_time\" }\n");
        }
        if has_time {
            let (format, values): Field = one(
                random,
                &[
                    ("epoch_s", &["1700000000", "1700003599", "1700000001", "-5", "5", "1e9"]),
                    ("epoch_ms", &["1700000000123", "1700000000124", "1700003600000"]),
                    ("epoch_us", &["1700000000123456", "1700000000123457"]),
                    ("epoch_ns", &["1700000000123456789"]),
                    ("iso", &["\"2026-01-31T10:00:00Z\"", "\"2026-01-31T10:59:59.999Z\"", "\"2026-01-31T10:61:00Z\""]),
                ],
            );
            let _ = writeln!(columns, "t = {{ type = \"timestamp\", format = \"{format}\" }}");
            head.push_str("time = \"t\"\n");
            members.push(("t".into(), Node::Leaf { values, optional: false }));
        }
        if chance(random, 15) {
            head.push_str("unknown = \"quarantine\"\n");
        }
        if chance(random, 20) {
            columns.push_str("source = { meta = \"source_address\" }\n");
        }
        Self { file: format!("{head}[columns]\n{columns}"), message: Node::Object(members) }
    }

    /// A message as a device might write it, in one of a few styles; most of its values fit.
    pub fn message(&self, random: &mut Random) -> Vec<u8> {
        let style = random.below(4_usize);
        let line = message(random, &self.message, style);
        damaged(random, &line)
    }
}

fn object(
    random: &mut Random,
    path: &str,
    depth: usize,
    number: &mut usize,
    columns: &mut String,
) -> Vec<(String, Node)> {
    let keys = ["id", "value", "temp", "x", "state", "größe", "a key", "unit"];
    let mut members = Vec::new();
    for _ in 0..=random.below(5) {
        let key = format!("{}{number}", one(random, &keys));
        *number += 1;
        let written = if key.contains(' ') { format!("\"{key}\"") } else { key.clone() };
        let path = if path.is_empty() { written } else { format!("{path}.{written}") };
        let node = if depth < 2 && chance(random, 20) {
            Node::Object(object(random, &path, depth + 1, number, columns))
        } else if chance(random, 15) {
            Node::Ignored(&["1", "22", "\"x\"", "null", "[1]", "{\"a\":1}", "1e999", "true"])
        } else {
            let (declared, values) = one(random, FIELDS);
            let optional = !declared.contains("optional") && chance(random, 25);
            let suffix = if optional { ", optional = true" } else { "" };
            let _ = writeln!(columns, "c{number} = {{ from = '{path}', {declared}{suffix} }}");
            Node::Leaf { values, optional: optional || declared.contains("true") }
        };
        members.push((key, node));
    }
    members
}

/// A message, in one of a few styles of writing; most of its values fit.
fn message(random: &mut Random, node: &Node, style: usize) -> String {
    match node {
        // The first values of a field are mostly good ones.
        Node::Leaf { values, .. } if chance(random, 80) => one(random, &values[..values.len().min(3)]).to_owned(),
        Node::Leaf { values, .. } => one(random, values).to_owned(),
        Node::Ignored(values) => {
            values[if chance(random, 70) { style % 3 } else { random.below(values.len()) }].to_owned()
        }
        Node::Object(members) => {
            let (comma, colon) = if style.is_multiple_of(2) { (",", ":") } else { (", ", ": ") };
            let mut order: Vec<_> = members.iter().collect();
            if style >= 2 {
                order.reverse();
            }
            if chance(random, 2) {
                let at = random.below(order.len());
                let again = order[at];
                order.push(again);
            }
            let left_out = |random: &mut Random, node: &Node| match node {
                Node::Leaf { optional: true, .. } | Node::Ignored(_) => chance(random, 10),
                _ => chance(random, 1),
            };
            let mut parts = Vec::new();
            for (key, node) in order {
                if !left_out(random, node) {
                    parts.push(format!("\"{key}\"{colon}{}", message(random, node, style)));
                }
            }
            format!("{{{}}}", parts.join(comma))
        }
    }
}

/// Digits changed, or any byte.
fn damaged(random: &mut Random, line: &str) -> Vec<u8> {
    let mut bytes = line.as_bytes().to_vec();
    if chance(random, 60) {
        for byte in bytes.iter_mut().filter(|byte| byte.is_ascii_digit()) {
            if chance(random, 30) {
                *byte = b'0' + u8::try_from(random.below(10)).unwrap();
            }
        }
    }
    if chance(random, 5) {
        let at = random.below(bytes.len());
        bytes[at] = one(random, b"{}[]\",:0.-eE\\u\x00 \xff");
    }
    bytes
}
