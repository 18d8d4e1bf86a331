//! JSON Schemas, as pydantic's `model_json_schema()` prints them, as the text of a stream file.
//!
//! Nested objects become columns whose names are joined by `_`, a union of scalars a column for each type, and a
//! discriminated union a case for each kind. What a schema asks for and a stream cannot check stands in a comment beside its
//! column. What cannot be a stream at all (`not`, `if`, recursion and the like) is refused with its place in the schema.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use crate::schema::is_plain_key;

use super::column::is_reserved;

/// The text of the stream file `text`, which names this schema, with the columns of the schema in it. What the file says of a
/// column itself comes first. Errors begin with a place in the schema.
pub(super) fn expand(schema: &str, text: &str) -> Result<String, String> {
    let root: Json = serde_json::from_str(schema).map_err(|error| format!(": {error}"))?;
    let mut file: Table = toml::from_str(text).map_err(|error| format!(": {}", error.message()))?;
    let mut importer =
        Importer { root: &root, errors: Vec::new(), refs: Vec::new(), out: Columns::default(), cases: None };
    importer.walk(&root, &At::default(), Absence::default());
    if file.contains_key("case") {
        importer
            .errors
            .push("#: the stream file names a schema and has cases of its own; it can have one of them".into());
    }
    if !importer.errors.is_empty() {
        return Err(importer.errors.join("; "));
    }
    file.remove("schema");
    if importer.out.closed {
        file.entry("unknown").or_insert("quarantine".into());
    }
    let mut own = table(file.remove("columns"));
    let mut objects = importer.out.objects;
    objects.extend(table(file.remove("objects")));
    let mut whole = String::new();
    let mut of_cases = Vec::new();
    for (key, value) in &file {
        let _ = writeln!(whole, "{key} = {}", inline(value));
    }
    let mut cases = String::new();
    for Case { when, columns } in importer.cases.into_iter().flatten() {
        let _ = write!(cases, "\n[[case]]\nwhen = {}\n", inline(&Value::Table(when)));
        if columns.closed {
            cases.push_str("unknown = \"quarantine\"\n");
        }
        cases.push_str("[case.objects]\n");
        write_objects(&columns.objects, &mut cases);
        cases.push_str("[case.columns]\n");
        of_cases.extend(columns.all.iter().map(|column| column.name.clone()));
        // A column of several kinds is declared in each of them.
        write_columns(columns.all, &mut own.clone(), &mut cases);
    }
    own.retain(|name, _| !of_cases.iter().any(|other| other == name));
    whole.push_str("\n[columns]\n");
    write_columns(importer.out.all, &mut own, &mut whole);
    for (name, value) in own {
        let _ = writeln!(whole, "{} = {}", key(&name), inline(&value));
    }
    if !objects.is_empty() {
        whole.push_str("\n[objects]\n");
        write_objects(&objects, &mut whole);
    }
    Ok(whole + &cases)
}

fn table(value: Option<Value>) -> Table {
    match value {
        Some(Value::Table(table)) => table,
        _ => Table::new(),
    }
}

/// Writes columns, each as the file itself declares it, as far as it does.
fn write_columns(columns: Vec<Declared>, own: &mut Table, text: &mut String) {
    // The columns that took what did not fit another one, which is declared otherwise now.
    let mut unused = Vec::new();
    for Declared { name, mut keys, notes, is_target, .. } in columns {
        if is_target && unused.contains(&name) {
            unused.extend(keys.get("else").and_then(Value::as_str).map(str::to_owned));
            continue;
        }
        let own = match own.remove(&name) {
            Some(Value::String(type_name)) => Table::from_iter([("type".to_owned(), Value::String(type_name))]),
            other => table(other),
        };
        if own.contains_key("type") || own.contains_key("meta") || own.contains_key("const") {
            // Of another type, what the schema asks for does not fit.
            unused.extend(keys.get("else").and_then(Value::as_str).map(str::to_owned));
            keys.retain(|key, _| own.contains_key("type") && (key == "from" || key == "optional"));
        }
        keys.extend(own);
        for note in notes {
            let _ = writeln!(text, "# {name}: {note}");
        }
        let _ = writeln!(text, "{} = {}", key(&name), inline(&Value::Table(keys)));
    }
}

fn write_objects(objects: &Table, text: &mut String) {
    for (path, options) in objects {
        let _ = writeln!(text, "{} = {}", key(path), inline(options));
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Table(table) => {
            let members: Vec<_> =
                table.iter().map(|(name, value)| format!("{} = {}", key(name), inline(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(all) => format!("[{}]", all.iter().map(inline).collect::<Vec<_>>().join(", ")),
        // Its own way to write a text may take several lines.
        Value::String(text) => quoted(text),
        scalar => scalar.to_string(),
    }
}

/// A text in quotes, as both TOML and a path have it: the escapes of JSON are TOML's, too.
fn quoted(text: &str) -> String {
    Json::String(text.to_owned()).to_string().replace('\u{7f}', "\\u007f")
}

fn key(name: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// Columns of the stream file.
#[derive(Default)]
struct Columns {
    all: Vec<Declared>,
    objects: Table,
    /// Whether the message itself has no unknown members.
    closed: bool,
}

struct Declared {
    name: String,
    keys: Table,
    /// What the schema asks for and the column does not.
    notes: Vec<String>,
    /// Whether another column's `else` leads here.
    is_target: bool,
    /// Where the schema has it.
    place: String,
}

/// A kind of messages that a discriminator tells from others.
struct Case {
    when: Table,
    columns: Columns,
}

/// A place in the schema, and in the messages.
#[derive(Debug, Clone, Default)]
struct At {
    /// As a JSON pointer.
    pointer: String,
    keys: Vec<String>,
}

impl At {
    fn member(&self, key: &str) -> Self {
        let keys = self.keys.iter().cloned().chain([key.to_owned()]).collect();
        Self { pointer: format!("{}/properties/{key}", self.pointer), keys }
    }

    fn below(&self, step: &str) -> Self {
        Self { pointer: format!("{}/{step}", self.pointer), keys: self.keys.clone() }
    }

    fn path(&self) -> String {
        let plain = |key: &String| if is_plain_key(key) { key.clone() } else { quoted(key) };
        self.keys.iter().map(plain).collect::<Vec<_>>().join(".")
    }

    /// The column's name.
    fn name(&self) -> String {
        let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
        let name: String = self.keys.join("_").chars().map(plain).collect();
        if is_reserved(&name) || name.starts_with(|first: char| first.is_ascii_digit()) {
            format!("device_{name}")
        } else {
            name
        }
    }
}

/// How a value may be absent.
#[derive(Debug, Clone, Copy, Default)]
struct Absence {
    missing: bool,
    null: bool,
}

impl Absence {
    fn value(self) -> Value {
        match (self.missing, self.null) {
            (true, true) => true.into(),
            (true, false) => "missing".into(),
            (false, true) => "null".into(),
            (false, false) => false.into(),
        }
    }
}

/// The type of a single value: the keys of its column.
#[derive(Debug, Clone)]
struct Scalar {
    keys: Table,
    notes: Vec<String>,
}

impl Scalar {
    fn of(type_name: &str) -> Self {
        Self { keys: Table::from_iter([("type".to_owned(), type_name.into())]), notes: Vec::new() }
    }

    fn json(note: &str) -> Self {
        Self { notes: vec![note.to_owned()], ..Self::of("json") }
    }

    fn type_name(&self) -> &str {
        self.keys.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.keys.insert(key.to_owned(), value.into());
    }
}

/// In which order a union tries its types: a number that is whole is an integer, and a text that is a time is one.
const ORDER: [&str; 8] = ["bool", "int", "float", "decimal", "timestamp", "date", "time", "text"];

struct Importer<'s> {
    root: &'s Json,
    errors: Vec<String>,
    /// The references that are being followed.
    refs: Vec<&'s str>,
    out: Columns,
    cases: Option<Vec<Case>>,
}

impl<'s> Importer<'s> {
    fn error(&mut self, at: &At, words: impl std::fmt::Display) {
        self.errors.push(format!("#{}: {words}", at.pointer));
    }

    /// The schema that `schema` stands for, and how many references were followed to it.
    fn resolve(&mut self, mut schema: &'s Json, at: &At) -> (&'s Json, usize) {
        let mut followed = 0;
        loop {
            let single =
                schema.get("allOf").and_then(Json::as_array).filter(|all| all.len() == 1).and_then(|all| all.first());
            if let Some(only) = single {
                schema = only;
                continue;
            }
            let Some(reference) = schema.get("$ref").and_then(Json::as_str) else { return (schema, followed) };
            let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            match target {
                _ if self.refs.contains(&reference) => {
                    self.error(at, format!("`{reference}` contains itself, and a row has a fixed number of columns"));
                }
                None => self.error(at, format!("`{reference}` is not in this file")),
                Some(target) => {
                    self.refs.push(reference);
                    followed += 1;
                    schema = target;
                    continue;
                }
            }
            return (&Json::Null, followed);
        }
    }

    /// Reads what stands at a place, and adds its columns.
    fn walk(&mut self, schema: &'s Json, at: &At, absence: Absence) {
        let (resolved, followed) = self.resolve(schema, at);
        if let Json::Object(schema) = resolved {
            self.object_or_value(schema, at, absence);
        } else if *resolved == Json::Bool(true) {
            self.column(at, absence, Scalar::of("json"));
        }
        self.refs.truncate(self.refs.len() - followed);
    }

    fn object_or_value(&mut self, schema: &'s Map<String, Json>, at: &At, absence: Absence) {
        for keyword in [
            "not",
            "if",
            "patternProperties",
            "dependentSchemas",
            "dependentRequired",
            "unevaluatedProperties",
            "contains",
            "propertyNames",
            "$dynamicRef",
            "allOf",
        ] {
            if schema.contains_key(keyword) {
                self.error(at, format!("a stream cannot check `{keyword}`"));
            }
        }
        let null = |one: &Json| one.get("type").and_then(Json::as_str) == Some("null");
        if let Some(all) = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(*key)).and_then(Json::as_array) {
            let others: Vec<_> = all.iter().filter(|one| !null(one)).collect();
            let absence = Absence { null: absence.null || others.len() < all.len(), ..absence };
            match (
                others.as_slice(),
                schema.get("discriminator").and_then(|tells| tells.get("propertyName")).and_then(Json::as_str),
            ) {
                ([only], _) => self.walk(only, at, absence),
                (_, Some(key)) if !absence.null && !absence.missing => self.discriminated(&others, key, at),
                _ => self.union(&others, at, absence),
            }
            return;
        }
        let is_object = schema.get("type").and_then(Json::as_str) == Some("object");
        match schema.get("properties").and_then(Json::as_object) {
            Some(properties) if is_object => self.properties(schema, properties, at, absence),
            _ if at.keys.is_empty() => self.error(at, "a message is an object with `properties`"),
            _ => {
                if let Some(scalar) = self.scalar(schema, at) {
                    self.column(at, absence, scalar);
                }
            }
        }
    }

    fn properties(
        &mut self,
        schema: &'s Map<String, Json>,
        properties: &'s Map<String, Json>,
        at: &At,
        absence: Absence,
    ) {
        let closed = schema.get("additionalProperties") == Some(&Json::Bool(false));
        if let Some(Json::Object(_)) = schema.get("additionalProperties") {
            self.error(at, "a stream cannot check the type of members that it does not know");
        }
        if at.keys.is_empty() {
            self.out.closed = closed;
        } else if properties.is_empty() {
            return self.column(at, absence, Scalar::json("an object without members: it is kept, and not checked"));
        } else {
            let unknown = if closed { "quarantine" } else { "ignore" };
            let options = [("optional".to_owned(), absence.value()), ("unknown".to_owned(), unknown.into())];
            self.out.objects.insert(at.path(), Value::Table(options.into_iter().collect()));
        }
        let required: Vec<_> =
            schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
        for (key, property) in properties {
            let at = at.member(key);
            let before = self.out.all.len();
            self.walk(property, &at, Absence { missing: !required.contains(&key.as_str()), null: false });
            let default = property.get("default").filter(|default| !default.is_null());
            if let (Some(default), Some(column)) = (default, self.out.all.get_mut(before)) {
                column.notes.push(format!("where it is missing, the column is NULL, and not {default}"));
            }
        }
    }

    /// Kinds of messages, or of one object in them.
    fn discriminated(&mut self, kinds: &[&'s Json], key: &str, at: &At) {
        if self.cases.is_some() {
            return self.error(at, "a stream has one value that tells its messages apart, and the schema has several");
        }
        self.cases = Some(Vec::new());
        let mut cases = Vec::new();
        for (index, kind) in kinds.iter().enumerate() {
            let at = at.below(&format!("oneOf/{index}"));
            let outside = std::mem::take(&mut self.out);
            self.walk(kind, &at, Absence::default());
            let columns = std::mem::replace(&mut self.out, outside);
            let (resolved, followed) = self.resolve(kind, &at);
            self.refs.truncate(self.refs.len() - followed);
            let tells = resolved.get("properties").and_then(|properties| properties.get(key));
            let values = tells.and_then(|tells| self.resolve_values(tells, &at));
            let Some(values) = values else {
                self.error(&at, format!("`{key}` tells the kinds apart, and has neither `const` nor `enum` here"));
                continue;
            };
            let from = at.member(key).path();
            let when =
                Table::from_iter([("from".to_owned(), from.into()), ("one_of".to_owned(), Value::Array(values))]);
            cases.push(Case { when, columns });
        }
        tell_apart(&mut cases);
        self.cases = Some(cases);
    }

    fn resolve_values(&mut self, schema: &'s Json, at: &At) -> Option<Vec<Value>> {
        let (resolved, followed) = self.resolve(schema, at);
        self.refs.truncate(self.refs.len() - followed);
        let values = match (resolved.get("const"), resolved.get("enum").and_then(Json::as_array)) {
            (Some(value), _) => std::slice::from_ref(value),
            (None, Some(values)) => values.as_slice(),
            _ => return None,
        };
        values.iter().map(literal).collect()
    }

    /// A value of one of several types: a column for each.
    fn union(&mut self, kinds: &[&'s Json], at: &At, absence: Absence) {
        let mut scalars = Vec::new();
        for kind in kinds {
            let (resolved, followed) = self.resolve(kind, at);
            self.refs.truncate(self.refs.len() - followed);
            let scalar = resolved.as_object().and_then(|schema| self.scalar(schema, at));
            scalars.extend(scalar.filter(|scalar| ORDER.iter().any(|name| scalar.type_name().starts_with(name))));
        }
        if at.keys.is_empty() {
            return self.error(at, "kinds of messages need a `discriminator` that tells them apart");
        }
        if scalars.len() < kinds.len() {
            return self.column(
                at,
                absence,
                Scalar::json("a union of objects or lists: the value is kept, and not checked"),
            );
        }
        let rank = |scalar: &Scalar| ORDER.iter().position(|name| scalar.type_name().starts_with(name));
        scalars.sort_by_key(rank);
        if let [number, text] = scalars.as_mut_slice()
            && (number.type_name(), text.type_name()) == ("float", "text")
        {
            number.notes.push("a schema does not tell a Decimal from `float | str`: for one, say type = \"decimal(p,s)\", coerce = true".into());
        }
        let count = scalars.len();
        let names: Vec<_> = (0..count)
            .zip(&scalars)
            .map(|(index, scalar)| {
                let kind = ORDER.iter().find(|name| scalar.type_name().starts_with(*name)).unwrap_or(&"text");
                let earlier = scalars.iter().take(index).filter(|other| rank(other) == rank(scalar)).count();
                match (index, earlier) {
                    (0, _) => at.name(),
                    (_, 0) => format!("{}_{kind}", at.name()),
                    _ => format!("{}_{kind}{}", at.name(), earlier + 1),
                }
            })
            .collect();
        for (index, mut scalar) in scalars.into_iter().enumerate() {
            if let Some(next) = names.get(index + 1) {
                scalar.set("else", next.as_str());
            }
            if index == 0 {
                self.column(at, absence, scalar);
            } else if let Some(name) = names.get(index) {
                self.declare(at, name.clone(), scalar, true);
            }
        }
    }

    fn column(&mut self, at: &At, absence: Absence, mut scalar: Scalar) {
        let name = at.name();
        if at.path() != name {
            scalar.set("from", at.path());
        }
        if absence.missing || absence.null {
            scalar.set("optional", absence.value());
        }
        self.declare(at, name, scalar, false);
    }

    fn declare(&mut self, at: &At, name: String, Scalar { keys, notes }: Scalar, is_target: bool) {
        if let Some(other) = self.out.all.iter().find(|other| other.name.eq_ignore_ascii_case(&name)) {
            let words = format!("its column would be `{name}`, as that of #{}", other.place);
            return self.error(at, words);
        }
        self.out.all.push(Declared { name, keys, notes, is_target, place: at.pointer.clone() });
    }

    /// The type of a value that goes to one column.
    fn scalar(&mut self, schema: &'s Map<String, Json>, at: &At) -> Option<Scalar> {
        let listed = schema
            .get("const")
            .map(std::slice::from_ref)
            .or_else(|| schema.get("enum").and_then(Json::as_array).map(Vec::as_slice));
        if let Some(values) = listed {
            return Some(one_of(values));
        }
        let number = |key: &str| schema.get(key).and_then(literal);
        let copy = |scalar: &mut Scalar, pairs: &[(&str, &str)]| {
            for (from, to) in pairs {
                if let Some(value) = number(from) {
                    scalar.set(to, value);
                }
            }
        };
        let ranges = [
            ("minimum", "min"),
            ("maximum", "max"),
            ("exclusiveMinimum", "above"),
            ("exclusiveMaximum", "below"),
            ("multipleOf", "multiple_of"),
        ];
        let lengths = [("minLength", "min_length"), ("maxLength", "max_length"), ("pattern", "pattern")];
        let format = schema.get("format").and_then(Json::as_str);
        Some(match schema.get("type").and_then(Json::as_str) {
            Some("integer") => {
                let mut scalar = Scalar::of("int");
                copy(&mut scalar, &ranges);
                scalar
            }
            Some("number") => {
                let mut scalar = Scalar::of("float");
                copy(&mut scalar, &ranges);
                scalar
            }
            Some("boolean") => Scalar::of("bool"),
            Some("string") => match format {
                Some("date-time") => {
                    let mut scalar = Scalar::of("timestamp");
                    scalar.set("zone", "UTC");
                    scalar
                        .notes
                        .push("a schema does not say of which zone a time without one is: it is taken for UTC".into());
                    scalar
                }
                Some("date") => Scalar::of("date"),
                Some("time") => Scalar::of("time"),
                Some("uuid") => {
                    let mut scalar = Scalar::of("text");
                    scalar.set(
                        "pattern",
                        "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
                    );
                    scalar
                }
                _ => {
                    let mut scalar = Scalar::of("text");
                    copy(&mut scalar, &lengths);
                    if let Some(format) = format {
                        scalar.notes.push(format!("the format `{format}` is not checked"));
                    }
                    scalar
                }
            },
            Some("array") => self.list(schema, at),
            Some("object") => Scalar::json("an object of any members: it is kept, and not checked"),
            Some("null") => Scalar { notes: vec!["always null".into()], ..Scalar::of("json") },
            Some(other) => {
                self.error(at, format!("`{other}` is no type"));
                return None;
            }
            None if schema.get("type").is_some() => {
                self.error(at, "several types are written as `anyOf`");
                return None;
            }
            None => Scalar::of("json"),
        })
    }

    fn list(&mut self, schema: &'s Map<String, Json>, at: &At) -> Scalar {
        let loose = Scalar::json("a list of other things than single values: it is kept, and not checked");
        let Some(items) = schema.get("items").filter(|_| !schema.contains_key("prefixItems")) else { return loose };
        let (resolved, followed) = self.resolve(items, at);
        let element = match resolved.as_object() {
            Some(element) if !element.contains_key("anyOf") && !element.contains_key("oneOf") => {
                self.scalar(element, &at.below("items"))
            }
            _ => None,
        };
        self.refs.truncate(self.refs.len() - followed);
        let Some(mut scalar) = element.filter(|element| ORDER.iter().any(|name| element.type_name() == *name)) else {
            return loose;
        };
        let type_name = format!("[{}]", scalar.type_name());
        scalar.set("type", type_name);
        for (from, to) in [("minItems", "min_items"), ("maxItems", "max_items")] {
            if let Some(value) = schema.get(from).and_then(literal) {
                scalar.set(to, value);
            }
        }
        scalar
    }
}

/// Gives columns of one name that are of different types in different kinds of messages names of their own: that of the kind
/// behind theirs.
fn tell_apart(cases: &mut [Case]) {
    let type_of = |column: &Declared| (column.keys.get("type").cloned(), column.keys.contains_key("one_of"));
    let mut known: Vec<(String, _)> = Vec::new();
    let mut different = Vec::new();
    for column in cases.iter().flat_map(|case| &case.columns.all) {
        match known.iter().find(|(name, _)| *name == column.name) {
            None => known.push((column.name.clone(), type_of(column))),
            Some((_, known)) if *known != type_of(column) => different.push(column.name.clone()),
            Some(_) => {}
        }
    }
    for Case { when, columns } in cases {
        let values = when.get("one_of").and_then(Value::as_array);
        let kind = values.and_then(|values| values.first()).map(ToString::to_string).unwrap_or_default();
        let kind: String = kind.chars().filter(char::is_ascii_alphanumeric).collect();
        for column in &mut columns.all {
            if let Some(Value::String(otherwise)) = column.keys.get_mut("else")
                && different.contains(otherwise)
            {
                let _ = write!(otherwise, "_{kind}");
            }
            if different.contains(&column.name) {
                if !column.is_target {
                    column.keys.entry("from").or_insert(column.name.as_str().into());
                }
                let _ = write!(column.name, "_{kind}");
            }
        }
    }
}

/// The type of one of a few values.
fn one_of(values: &[Json]) -> Scalar {
    let literals: Option<Vec<Value>> = values.iter().map(literal).collect();
    let all = |is: fn(&Json) -> bool| values.iter().all(is);
    let type_name = match () {
        () if all(Json::is_string) => "text",
        () if all(Json::is_i64) => "int",
        () if all(Json::is_boolean) => "bool",
        () => return Scalar::json("one of values of several types: the value is kept, and not checked"),
    };
    let mut scalar = Scalar::of(type_name);
    if let Some(literals) = literals {
        scalar.set("one_of", Value::Array(literals));
    }
    scalar
}

/// The value of a stream file for one of a schema.
fn literal(value: &Json) -> Option<Value> {
    Some(match value {
        Json::String(text) => text.as_str().into(),
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64()?.into(),
        },
        _ => return None,
    })
}
