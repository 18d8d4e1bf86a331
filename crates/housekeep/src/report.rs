//! The state on stdout: a small table for each section for people, an object with its `kind` per line for programs, or a
//! line per property where only a single CSV table will do.

use std::io::{self, Write};

use cli::{Format, Table};
use serde_json::{Map, Value};

/// Records of one kind, all with the same properties.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) kind: &'static str,
    pub(crate) title: &'static str,
    pub(crate) records: Vec<Map<String, Value>>,
}

/// Prints the sections that have records.
pub(crate) fn print(sections: &[Section], format: Format) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match format {
        Format::Table => {
            for (index, section) in sections.iter().filter(|section| !section.records.is_empty()).enumerate() {
                if index > 0 {
                    writeln!(out)?;
                }
                writeln!(out, "{}", section.title)?;
                table(&mut out, &section.records)?;
            }
        }
        Format::Ndjson => {
            for section in sections {
                for record in &section.records {
                    let kind = [("kind".to_owned(), Value::from(section.kind))];
                    let object: Map<_, _> = kind.into_iter().chain(record.clone()).collect();
                    serde_json::to_writer(&mut out, &object)?;
                    writeln!(out)?;
                }
            }
        }
        Format::Csv => csv(&mut out, sections)?,
    }
    out.flush()
}

/// A table of the properties that any of the records has.
fn table(out: &mut impl Write, records: &[Map<String, Value>]) -> io::Result<()> {
    let Some(first) = records.first() else { return Ok(()) };
    let used = |name: &&String| records.iter().any(|record| record.get(*name).is_some_and(|value| !value.is_null()));
    let names: Vec<_> = first.keys().filter(used).collect();
    let titles = names.iter().map(|name| title(name)).collect();
    let mut table = Table::new(out, Format::Table, titles)?;
    for record in records {
        table.row(names.iter().map(|name| cell(name, record.get(*name))).collect())?;
    }
    table.finish()
}

/// A column's title: the unit stands in the cells.
fn title(name: &str) -> String {
    name.strip_suffix("_bytes").unwrap_or(name).replace('_', " ")
}

fn cell(name: &str, value: Option<&Value>) -> Value {
    match value {
        Some(Value::Number(bytes)) if name.ends_with("bytes") => bytes.as_u64().map(human).into(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ").into(),
        Some(Value::Object(counts)) => {
            counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ").into()
        }
        Some(value) => value.clone(),
        None => Value::Null,
    }
}

/// Bytes with one decimal in the largest unit that they fill.
fn human(bytes: u64) -> String {
    let units = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{}.{} {unit}", bytes / size, bytes % size * 10 / size),
        None => format!("{bytes} B"),
    }
}

fn csv(out: &mut impl Write, sections: &[Section]) -> io::Result<()> {
    let columns = ["kind", "name", "property", "value"].map(str::to_owned).to_vec();
    let mut table = Table::new(out, Format::Csv, columns)?;
    for section in sections {
        for record in &section.records {
            let name = record.get("name").cloned().unwrap_or_default();
            for (property, value) in record.iter().filter(|(property, _)| *property != "name") {
                table.row(vec![section.kind.into(), name.clone(), property.as_str().into(), cell("", Some(value))])?;
            }
        }
    }
    table.finish()
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn bytes_are_shown_in_the_largest_unit_they_fill() {
        let shown = [0, 1023, 1024, 1536, 1 << 20, (1 << 30) - 1, 5 << 40].map(human);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1023.9 MiB", "5.0 TiB"]);
    }
}
