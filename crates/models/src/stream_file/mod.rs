//! Stream files: what a stream is, said in a text file.
//!
//! A file is compiled in steps: its text becomes tables that know their places (`table`), tables become columns (`column`,
//! `path`), and columns the tree that the parser follows (`tree`). All that is wrong is collected with its place
//! (`problem`). A JSON Schema becomes the text of a stream file first (`json_schema`).

mod column;
mod json_schema;
mod path;
mod problem;
mod table;
mod tree;

use std::path::Path;

use regex::Regex;
use regex::bytes::RegexSet;
use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

pub(crate) use column::is_reserved;
use column::{Declared, Source};
use problem::Collector;
pub use problem::Problems;
use table::{Keys, one_of, reason, text};
use tree::{Case, ObjectOptions, Objects};

use crate::leaf::{Kind, Leaf};
use crate::record;
use crate::schema::{Column, ColumnType, Frame, Meta, Model, Node, Step, Variants, When, Written};

/// The keys of a stream file.
const KEYS: [&str; 9] = ["frame", "time", "drop", "unknown", "no_case", "schema", "columns", "objects", "case"];

/// Compiles the stream file `file`, which has this text and describes the stream `name`. A schema that it names is looked for
/// beside it.
pub(crate) fn compile(name: &str, file: &Path, text: &str) -> Result<Model, Problems> {
    let shown = file.display().to_string();
    let problems = Collector::new(&shown, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        problems.add(error.span().unwrap_or_default(), error.message());
    }
    if problems.any() {
        return problems.finish(None);
    }
    if let Some(schema) = table.get_ref().get("schema") {
        let Some(path) = table::text(schema, &problems) else { return problems.finish(None) };
        let path = file.with_file_name(path);
        let read = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()));
        return match read
            .and_then(|schema| json_schema::expand(&schema, text).map_err(|words| format!("{}{words}", path.display())))
        {
            Ok(whole) => compile_columns(name, &format!("{shown} with {}", path.display()), &whole),
            Err(words) => {
                problems.add(schema.span(), words);
                problems.finish(None)
            }
        };
    }
    compile_columns(name, &shown, text)
}

fn compile_columns(name: &str, file: &str, text: &str) -> Result<Model, Problems> {
    let problems = Collector::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        problems.add(error.span().unwrap_or_default(), error.message());
    }
    let keys = Keys::new(table.get_ref(), 0..0, &problems);
    keys.allow(&KEYS);
    let model = Compiler { name, text, keys, problems: &problems }.model();
    problems.finish(model)
}

struct Compiler<'c, 't> {
    name: &'c str,
    text: &'c str,
    keys: Keys<'c, 't>,
    problems: &'c Collector<'c>,
}

impl Compiler<'_, '_> {
    fn model(&self) -> Option<Model> {
        let mut common = self.keys.get("columns").map_or_else(Vec::new, |columns| self.columns(columns));
        let mut cases = self.cases();
        if common.is_empty() && cases.iter().all(|case| case.columns.is_empty()) {
            self.problems
                .add(self.keys.place(), "the stream has no columns: say under [columns] what its messages hold");
        }
        let time = self.keys.get("time").and_then(|value| Some((text(value, self.problems)?, value.span())));
        let all = || common.iter().chain(cases.iter().flat_map(|case| &case.columns));
        let is_arrival = |column: &Declared| matches!(column.source, Source::Meta(Meta::ArrivalTime));
        if time.is_none() && !all().any(is_arrival) {
            if all().any(|column| column.name == "arrival_time") {
                let words = "without a `time`, rows are placed by the time of arrival: a column `arrival_time` has { meta = \"arrival_time\" }";
                self.problems.add(self.keys.place(), words);
            }
            let source = Source::Meta(Meta::ArrivalTime);
            let arrival = Declared {
                name: "arrival_time".into(),
                place: 0..0,
                column_type: ColumnType::Timestamp,
                is_json: false,
                source,
            };
            common.insert(0, arrival);
        }
        let groups = [common.as_slice()].into_iter().chain(cases.iter().map(|case| case.columns.as_slice()));
        let columns = self.unite(groups);
        common
            .iter_mut()
            .chain(cases.iter_mut().flat_map(|case| &mut case.columns))
            .for_each(|column| recode(column, &columns));
        let index = |name: &str| columns.iter().position(|column| column.name == name);
        let message = self.variants(&common, &cases, &columns)?;
        let all = || common.iter().chain(cases.iter().flat_map(|case| &case.columns));
        let mut meta: Vec<_> = all()
            .filter_map(|column| match column.source {
                Source::Meta(meta) => Some((meta, index(&column.name)?)),
                _ => None,
            })
            .collect();
        meta.sort_unstable();
        for (_, column) in
            meta.iter().zip(meta.iter().skip(1)).filter(|(first, second)| first.0 == second.0).map(|(_, second)| second)
        {
            let name = columns.get(*column).map_or("", |column| &column.name);
            let place = all().find(|declared| declared.name == name).map(|declared| declared.place.clone());
            self.problems.add(place.unwrap_or_default(), "another column has the same `meta`");
        }
        let event_time = match &time {
            None => None,
            Some((name, place)) => Some(self.event_time(name, place.clone(), &message, &columns)?),
        };
        let arrival = meta.iter().find(|(meta, _)| *meta == Meta::ArrivalTime).map(|(_, column)| *column);
        let json: Vec<_> = all().filter(|column| column.is_json).filter_map(|column| index(&column.name)).collect();
        let has_rows = message.all.iter().any(|variant| variant.root.each().is_some());
        let record = record::records(&columns, &meta, &json, has_rows, &message);
        let frames = [("lines", Frame::Lines), ("json", Frame::Json)];
        Some(Model {
            name: self.name.to_owned(),
            event_time,
            placed_by: event_time.or(arrival)?,
            frame: self.word("frame", &frames).unwrap_or(Frame::Lines),
            drops_no_case: self.word("no_case", &[("quarantine", false), ("drop", true)]).unwrap_or(false),
            text: self.text.to_owned(),
            drop: self.drop()?,
            columns,
            meta,
            json,
            has_rows,
            message,
            record,
        })
    }

    /// The value of a key that is one of a few words.
    fn word<T: Copy>(&self, key: &str, all: &[(&str, T)]) -> Option<T> {
        let value = self.keys.get(key)?;
        one_of(key, value, all, self.problems)
    }

    fn columns(&self, value: &Spanned<DeValue<'_>>) -> Vec<Declared> {
        let Some(table) = value.get_ref().as_table() else {
            self.problems.add(value.span(), "`columns` is a table: [columns], and a line for each column");
            return Vec::new();
        };
        table.iter().filter_map(|(name, value)| column::read(name, value, self.problems)).collect()
    }

    fn cases(&self) -> Vec<Case> {
        let Some(value) = self.keys.get("case") else { return Vec::new() };
        let tables = value.get_ref().as_array().map(|all| all.iter().collect::<Vec<_>>()).unwrap_or_default();
        if tables.is_empty() {
            self.problems.add(value.span(), "cases are written as [[case]], each with `when` and [case.columns]");
        }
        let cases: Vec<_> = tables.into_iter().filter_map(|table| self.case(table)).collect();
        if let Some(other) = cases.iter().find(|case| cases.first().is_some_and(|first| first.path != case.path)) {
            self.problems.add(
                other.place.clone(),
                "all cases are told apart by the same value: `from` is the same in each `when`",
            );
        }
        cases
    }

    fn case(&self, value: &Spanned<DeValue<'_>>) -> Option<Case> {
        let keys = Keys::new(value.get_ref().as_table()?, value.span(), self.problems);
        keys.allow(&["when", "unknown", "objects", "columns"]);
        let Some(when) = keys.get("when") else {
            self.problems
                .add(value.span(), "a case has `when`, as in when = { from = \"kind\", one_of = [\"status\"] }");
            return None;
        };
        let Some(table) = when.get_ref().as_table() else {
            self.problems.add(when.span(), "`when` is a table, as in { from = \"kind\", one_of = [\"status\"] }");
            return None;
        };
        let condition = Keys::new(table, when.span(), self.problems);
        condition.allow(&["from", "one_of", "pattern"]);
        let from = condition.get("from");
        let path = from.and_then(|from| {
            let path = path::parse(text(from, self.problems)?);
            let path = path.map_err(|words| self.problems.add(from.span(), words)).ok()?;
            let keys_only = path.iter().all(|step| matches!(step, Step::Key(_)));
            if !keys_only {
                self.problems.add(from.span(), "what tells cases apart is a member of an object, not of an array");
            }
            keys_only.then_some(path)
        });
        let one_of = condition.literals("one_of");
        let when = match condition.get("pattern") {
            None if !one_of.is_empty() => Some(When::OneOf(one_of)),
            Some(pattern) if one_of.is_empty() => {
                let words = |error| {
                    self.problems
                        .add(pattern.span(), format!("the pattern is no regular expression: {}", reason(&error)));
                };
                Regex::new(text(pattern, self.problems)?).map_err(words).ok().map(When::Pattern)
            }
            _ => {
                self.problems.add(when.span(), "`when` has either `one_of` or `pattern`");
                None
            }
        };
        if from.is_none() {
            self.problems.add(condition.place(), "`when` has `from`: the path of the value that tells the cases apart");
        }
        let columns = keys.get("columns").map_or_else(Vec::new, |columns| self.columns(columns));
        let objects = self.objects(&keys);
        Some(Case { when: when?, path: path?, place: value.span(), columns, objects })
    }

    /// The columns of all kinds of messages.
    fn unite<'d>(&self, groups: impl Iterator<Item = &'d [Declared]>) -> Vec<Column> {
        let mut columns: Vec<Column> = Vec::new();
        for (group, declared) in
            groups.enumerate().flat_map(|(group, all)| all.iter().map(move |column| (group, column)))
        {
            let new = Column { name: declared.name.clone(), column_type: declared.column_type.clone() };
            let Some(known) = columns.iter_mut().find(|column| column.name.eq_ignore_ascii_case(&new.name)) else {
                columns.push(new);
                continue;
            };
            match (&mut known.column_type, new.column_type) {
                _ if known.name != new.name || group == 0 => {
                    self.problems.add(
                        declared.place.clone(),
                        format!("SQL takes this name for that of the column `{}`", known.name),
                    );
                }
                (ColumnType::OneOf(texts), ColumnType::OneOf(more)) => {
                    let mut all = texts.to_vec();
                    all.extend(more.iter().filter(|text| !texts.contains(text)).cloned());
                    *texts = all.into();
                }
                (known, new) if *known != new => {
                    self.problems
                        .add(declared.place.clone(), format!("in another case the column is of the type {known}"));
                }
                _ => {}
            }
        }
        columns
    }

    fn variants(&self, common: &[Declared], cases: &[Case], columns: &[Column]) -> Option<Variants> {
        let objects = self.objects(&self.keys);
        let index = |name: &str| columns.iter().position(|column| column.name == name);
        let build = |case: Option<&Case>, objects: &Objects| {
            let all = || common.iter().chain(case.into_iter().flat_map(|case| &case.columns));
            let indices: Vec<_> = all().map(|column| index(&column.name)).collect::<Option<_>>()?;
            let declared: Vec<_> = indices.iter().copied().zip(all()).collect();
            let absent: Vec<_> = (0..columns.len()).filter(|column| !indices.contains(column)).collect();
            Some(tree::build(&declared, &absent, case, objects, self.problems))
        };
        let variants = match cases.first() {
            None => Variants { all: vec![build(None, &objects)?], discriminator: Vec::new() },
            Some(first) => {
                let all = cases.iter().map(|case| build(Some(case), &objects.and(&case.objects)));
                Variants { all: all.collect::<Option<_>>()?, discriminator: first.path.clone() }
            }
        };
        let of_cases = cases.iter().flat_map(|case| &case.objects.named);
        for options in objects.named.iter().chain(of_cases) {
            if !variants.all.iter().any(|variant| variant.root.has_object(&options.path)) {
                let words = format!("no column reads anything in an object `{}`", Written(&options.path));
                self.problems.add(options.place.clone(), words);
            }
        }
        Some(variants)
    }

    /// What the file, or a case of it, says of objects.
    fn objects(&self, keys: &Keys<'_, '_>) -> Objects {
        let unknown = [("ignore", false), ("quarantine", true)];
        let closed = keys.get("unknown").and_then(|value| one_of("unknown", value, &unknown, self.problems));
        let mut objects = Objects { closed, named: Vec::new() };
        let Some(value) = keys.get("objects") else { return objects };
        let Some(table) = value.get_ref().as_table() else {
            self.problems.add(value.span(), "`objects` is a table: [objects], and a line for each object");
            return objects;
        };
        for (path, options) in table {
            let Some(table) = options.get_ref().as_table() else {
                self.problems
                    .add(options.span(), "an object has a table, as in { optional = true, unknown = \"quarantine\" }");
                continue;
            };
            let keys = Keys::new(table, options.span(), self.problems);
            keys.allow(&["optional", "unknown"]);
            let optional = keys.get("optional").and_then(|value| match value.get_ref().as_bool() {
                Some(both) => Some((both, both)),
                None => {
                    one_of("optional", value, &[("missing", (true, false)), ("null", (false, true))], self.problems)
                }
            });
            let closed = keys.get("unknown").and_then(|value| one_of("unknown", value, &unknown, self.problems));
            match path::parse(path.get_ref()) {
                Ok(steps) => objects.named.push(ObjectOptions { path: steps, place: path.span(), optional, closed }),
                Err(words) => self.problems.add(path.span(), words),
            }
        }
        objects
    }

    /// The column that is the event time: each message has one.
    fn event_time(&self, name: &str, place: table::Place, message: &Variants, columns: &[Column]) -> Option<usize> {
        let found = columns.iter().position(|column| column.name == name);
        let is_timestamp =
            |column: usize| columns.get(column).is_some_and(|column| column.column_type == ColumnType::Timestamp);
        let Some(column) = found.filter(|column| is_timestamp(*column)) else {
            let known: Vec<_> = (0..columns.len())
                .filter(|column| is_timestamp(*column))
                .filter_map(|column| columns.get(column))
                .map(|column| format!("`{}`", column.name))
                .collect();
            let known = if known.is_empty() {
                "but no column is one".to_owned()
            } else {
                format!("as {}", known.join(" and "))
            };
            self.problems.add(place, format!("`time` is the name of a column of the type timestamp, {known}"));
            return None;
        };
        for variant in &message.all {
            if !is_always_there(&variant.root, column) {
                let path = Written(&message.discriminator).to_string();
                let which =
                    if path.is_empty() { String::new() } else { format!(" (not so in the case {})", variant.when) };
                self.problems.add(place.clone(), format!("each message has an event time: the column is read from the message, without `optional`, `null` or `else`{which}"));
            }
        }
        Some(column)
    }

    fn drop(&self) -> Option<RegexSet> {
        let mut patterns = Vec::new();
        if let Some(value) = self.keys.get("drop") {
            let Some(all) = value.get_ref().as_array() else {
                self.problems.add(value.span(), "`drop` is a list of regular expressions, as in ['^#']");
                return None;
            };
            for pattern in all {
                let Some(text) = text(pattern, self.problems) else { continue };
                match regex::bytes::Regex::new(text) {
                    Ok(_) => patterns.push(text.to_owned()),
                    Err(error) => {
                        self.problems.add(pattern.span(), format!("this is no regular expression: {}", reason(&error)));
                    }
                }
            }
        }
        RegexSet::new(patterns).ok()
    }
}

/// Whether each message with `node` has a value for the column.
fn is_always_there(node: &Node, column: usize) -> bool {
    match node {
        Node::Object(object) | Node::Array(object) => object
            .members
            .iter()
            .any(|member| !member.may_miss && !member.may_be_null && is_always_there(&member.node, column)),
        Node::Each(node) => is_always_there(node, column),
        Node::Leaf(leaf) => {
            leaf.column == Some(column) && !leaf.may_be_null && leaf.nulls.is_empty() && leaf.otherwise.is_none()
        }
    }
}

/// Gives the texts of a column of few the indices that they have among those of all kinds of messages.
fn recode(declared: &mut Declared, columns: &[Column]) {
    let Source::Path { leaf: Leaf { kind: Kind::OneOf(codes), .. }, .. } = &mut declared.source else { return };
    let column = columns.iter().find(|column| column.name == declared.name);
    if let (ColumnType::OneOf(own), Some(ColumnType::OneOf(all))) =
        (&declared.column_type, column.map(|column| &column.column_type))
    {
        for (_, index) in codes {
            let text = own.get(*index as usize);
            *index = (0..).zip(all.iter()).find(|(_, other)| Some(*other) == text).map_or(*index, |(index, _)| index);
        }
    }
}
