//! What is printed and said. The state of the data directory: a small table for each section for people, an object with
//! its `kind` per line for programs, or, as CSV, a line for each property.

use std::collections::BTreeMap;
use std::io::{self, Write};

use cli::{Failure, Format, Size, Table};
use layout::{Hour, Name, Tree};
use serde_json::{Map, Value};

use crate::plan::{Action, Cause, Removable, Step};
use crate::scan::Snapshot;
use crate::status::Section;

/// Prints the sections that have records.
pub(crate) fn print_sections(sections: &[Section], format: Format) -> io::Result<()> {
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
        Some(Value::Number(bytes)) if name.ends_with("bytes") => bytes.as_u64().map(|bytes| Size(bytes).human()).into(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ").into(),
        Some(Value::Object(counts)) => {
            counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ").into()
        }
        Some(value) => value.clone(),
        None => Value::Null,
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

/// Prints a plan, one row for each step.
pub(crate) fn print_plan(tree: &Tree, steps: &[Step], format: Format) -> io::Result<()> {
    let columns = ["action", "kind", "name", "hour", "path", "bytes", "reason"].map(str::to_owned).to_vec();
    let mut table = Table::new(io::stdout().lock(), format, columns)?;
    for step in steps {
        let action = if step.action == Action::Remove { "remove" } else { "keep" };
        let (kind, hour) = match &step.what {
            Removable::Quarantined(segment) => ("quarantine", Some(segment.hour)),
            Removable::Hour(hour, _) => ("parquet", Some(*hour)),
            Removable::Orphan(_) => ("orphan", None),
            Removable::Folder => ("folder", None),
        };
        table.row(vec![
            action.into(),
            kind.into(),
            step.name.as_str().into(),
            hour.map_or(Value::Null, |hour| hour.to_string().into()),
            tree.relative(&step.path).into(),
            step.bytes.into(),
            step.reason.as_str().into(),
        ])?;
    }
    table.finish()
}

/// Reports what is kept although it is due: each hour with `-v`; what is damaged or overdue always.
pub(crate) fn kept(tree: &Tree, steps: &[Step]) {
    let mut overdue: BTreeMap<(&Name, &str), Vec<Hour>> = BTreeMap::new();
    let mut damaged: BTreeMap<&Name, Vec<Failure>> = BTreeMap::new();
    for step in steps {
        let (Action::Keep(cause), Removable::Hour(hour, _)) = (step.action, &step.what) else { continue };
        match cause {
            Cause::Waiting => log::info!("{}: kept: {}", tree.relative(&step.path), step.reason),
            Cause::Overdue => {
                log::info!("{}: kept: {}", tree.relative(&step.path), step.reason);
                overdue.entry((&step.name, &step.reason)).or_default().push(*hour);
            }
            Cause::Damaged => {
                damaged.entry(&step.name).or_default().push(Failure::new(*hour, format!("kept: {}", step.reason)));
            }
        }
    }
    for (name, failures) in damaged {
        cli::report_failures(name, &failures);
    }
    for ((name, reason), hours) in overdue {
        let overdue = cli::count(hours.len(), "overdue hour");
        log::warn!("{name}: {overdue} kept ({}): {reason}", cli::hours_in_words(hours));
    }
}

/// Reports the files that cannot be read; says whether there are any.
pub(crate) fn damaged(snapshot: &Snapshot) -> bool {
    let mut any = false;
    for (name, dataset) in &snapshot.datasets {
        let failures: Vec<_> =
            dataset.damaged().map(|(hour, problem)| Failure::new(hour, problem.to_owned())).collect();
        cli::report_failures(name, &failures);
        any |= !failures.is_empty();
    }
    any
}
