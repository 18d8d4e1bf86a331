//! What is printed and said. The state of the data directory: a small table for each section for people, an object with
//! its `kind` per line for programs, or, as CSV, a line for each property.

use std::collections::BTreeMap;
use std::io::{self, Write};

use cli::{Failure, Format, Size, Table};
use layout::{Hour, Name, Tree};
use serde_json::{Map, Value};

use crate::plan::{Action, Removable, Step};
use crate::scan::Snapshot;
use crate::status::Section;

/// Prints the sections that have records.
pub(crate) fn print_sections(sections: &[Section], format: Format) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut records = sections.iter().flat_map(|(_, records)| records);
    match format {
        Format::Table => {
            for (index, (title, records)) in sections.iter().filter(|(_, records)| !records.is_empty()).enumerate() {
                let space = if index > 0 { "\n" } else { "" };
                writeln!(out, "{space}{title}")?;
                table(&mut out, records)?;
            }
        }
        Format::Ndjson => records.try_for_each(|record| writeln!(out, "{record}"))?,
        Format::Csv => csv(&mut out, records)?,
    }
    out.flush()
}

/// A table of the properties that any of the records has.
fn table(out: &mut impl Write, records: &[Value]) -> io::Result<()> {
    let properties = records.first().and_then(Value::as_object).into_iter().flat_map(Map::keys);
    let is_shown = |name: &&String| {
        *name != "kind" && records.iter().any(|record| record.get(*name).is_some_and(|value| !value.is_null()))
    };
    let names: Vec<_> = properties.filter(is_shown).collect();
    // The unit stands in the cells.
    let title = |name: &&String| name.strip_suffix("_bytes").unwrap_or(name).replace('_', " ");
    let mut table = Table::new(out, Format::Table, names.iter().map(title))?;
    for record in records {
        table.row(names.iter().map(|name| cell(name, record.get(*name))).collect())?;
    }
    table.finish()
}

fn cell(name: &str, value: Option<&Value>) -> Value {
    let listed = |items: Vec<String>| items.join(", ").into();
    match value {
        Some(Value::Number(bytes)) if name.ends_with("bytes") => bytes.as_u64().map(|bytes| Size(bytes).human()).into(),
        Some(Value::Array(names)) => listed(names.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        Some(Value::Object(counts)) => listed(counts.iter().map(|(name, count)| format!("{name} {count}")).collect()),
        Some(value) => value.clone(),
        None => Value::Null,
    }
}

fn csv<'r>(out: &mut impl Write, records: impl Iterator<Item = &'r Value>) -> io::Result<()> {
    let mut table = Table::new(out, Format::Csv, ["kind", "name", "property", "value"])?;
    for record in records {
        let [kind, name] = ["kind", "name"].map(|property| cell("", record.get(property)));
        let properties = record.as_object().into_iter().flatten();
        for (property, value) in properties.filter(|(property, _)| !["kind", "name"].contains(&property.as_str())) {
            table.row(vec![kind.clone(), name.clone(), property.as_str().into(), cell("", Some(value))])?;
        }
    }
    table.finish()
}

pub(crate) fn print_plan(tree: &Tree, steps: &[Step], format: Format) -> io::Result<()> {
    let columns = ["action", "kind", "name", "hour", "path", "bytes", "reason"];
    let mut table = Table::new(io::stdout().lock(), format, columns)?;
    for step in steps {
        let action = if step.action == Action::Remove { "remove" } else { "keep" };
        let (kind, hour) = match &step.what {
            Removable::Quarantined(hour) => ("quarantine", Some(*hour)),
            Removable::Hour(hour, _) => ("parquet", Some(*hour)),
            Removable::Orphan => ("orphan", None),
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
        let Removable::Hour(hour, _) = step.what else { continue };
        match step.action {
            Action::Remove => continue,
            Action::Keep => {}
            Action::KeepOverdue => overdue.entry((&step.name, &step.reason)).or_default().push(hour),
            Action::KeepDamaged => {
                damaged.entry(&step.name).or_default().push(Failure::new(hour, format!("kept: {}", step.reason)));
                continue;
            }
        }
        log::info!("{}: kept: {}", tree.relative(&step.path), step.reason);
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
        let failures: Vec<_> = dataset.damaged().map(|(hour, problem)| Failure::new(hour, problem)).collect();
        cli::report_failures(name, &failures);
        any |= !failures.is_empty();
    }
    any
}
