//! `housekeep status`: the state of the data directory, as sections of records with named properties.
//!
//! Status only reads, and takes no lock: it may run at any time, beside everything else.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use layout::{Area, Commit, Hour, Lineage, Name, Tree};
use serde_json::{Map, Value, json};
use warehouse::LoadLog;

use crate::growth;
use crate::readers::Reader;
use crate::scan::{Dataset, Segments, Snapshot};

/// Records of one kind, all with the same properties.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) kind: &'static str,
    pub(crate) title: &'static str,
    pub(crate) records: Vec<Map<String, Value>>,
}

/// The sections, in the order of printing.
pub(crate) fn sections(
    tree: &Tree,
    snapshot: &Snapshot,
    log: Option<&LoadLog>,
    now: DateTime<Utc>,
) -> anyhow::Result<[Section; 6]> {
    Ok([
        Section { kind: "stream", title: "Streams", records: streams(snapshot) },
        Section { kind: "dataset", title: "Data sets", records: datasets(snapshot, log, now) },
        Section { kind: "quarantine", title: "Quarantine", records: quarantine(snapshot)? },
        Section { kind: "unpublished", title: "Unpublished files", records: unpublished(snapshot) },
        Section { kind: "damaged", title: "Damaged files", records: damaged(snapshot) },
        Section { kind: "disk", title: "Disk", records: vec![disk(tree, snapshot, now)?] },
    ])
}

/// The properties of a record, in the order of printing.
fn record<const N: usize>(properties: [(&str, Value); N]) -> Map<String, Value> {
    properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(hour: Option<Hour>) -> Value {
    hour.map_or(Value::Null, |hour| hour.to_string().into())
}

fn streams(snapshot: &Snapshot) -> Vec<Map<String, Value>> {
    let stream = |(name, segments): (&Name, &Segments)| {
        let commit = |hour| snapshot.datasets.get(name)?.commit(hour);
        let waits = segments.sealed.iter().filter(|sealed| {
            let segment = &sealed.segment;
            !commit(segment.hour).is_some_and(|commit| lists(commit, segment))
        });
        let waits: Vec<_> = waits.collect();
        record([
            ("name", name.as_str().into()),
            ("open_segments", segments.open.len().into()),
            ("open_bytes", segments.open.iter().map(|open| open.bytes).sum::<u64>().into()),
            ("sealed_segments", waits.len().into()),
            ("sealed_bytes", waits.iter().map(|sealed| sealed.bytes).sum::<u64>().into()),
            ("oldest_sealed", text(waits.iter().map(|sealed| sealed.segment.hour).min())),
            ("last", text(segments.hours().last().copied())),
        ])
    };
    snapshot.raw.iter().map(stream).collect()
}

/// Whether a segment is in the Parquet file already and only waits to be deleted.
fn lists(commit: &Commit, segment: &layout::SealedSegment) -> bool {
    matches!(&commit.lineage, Lineage::Segments(made_of) if made_of.iter().any(|part| part.name == segment.name))
}

fn datasets(snapshot: &Snapshot, log: Option<&LoadLog>, now: DateTime<Utc>) -> Vec<Map<String, Value>> {
    let dataset = |(name, dataset): (&Name, &Dataset)| {
        let sources = dataset.inputs();
        let reader = Reader::new(snapshot, name, dataset, now);
        let (not_loaded, loaded_stale) = log.and_then(|log| Some(unloaded(dataset, log.get(name)?))).unzip();
        let bytes: u64 = dataset.hours.values().map(|parquet| parquet.bytes).sum();
        let rows: u64 = dataset.hours.values().flat_map(|parquet| &parquet.commit).map(|commit| commit.rows).sum();
        let aggregate = !sources.is_empty();
        let sources: Vec<_> = sources.iter().map(|name| name.as_str()).collect();
        record([
            ("name", name.as_str().into()),
            ("inputs", if aggregate { sources.into() } else { Value::Null }),
            ("hours", dataset.hours.len().into()),
            ("rows", rows.into()),
            ("bytes", bytes.into()),
            ("first", text(dataset.hours.keys().next().copied())),
            ("last", text(dataset.hours.keys().next_back().copied())),
            ("expired", dataset.expired.len().into()),
            ("missing", if aggregate { reader.missing().into() } else { Value::Null }),
            ("out_of_date", if aggregate { reader.out_of_date().into() } else { Value::Null }),
            ("hours_behind", behind(snapshot, name, dataset).into()),
            ("not_loaded", not_loaded.into()),
            ("loaded_stale", loaded_stale.into()),
        ])
    };
    snapshot.datasets.iter().map(dataset).collect()
}

/// How many hours the warehouse does not hold, and of how many it holds an older state.
fn unloaded(dataset: &Dataset, log: &BTreeMap<Hour, warehouse::LoggedHour>) -> (usize, usize) {
    let (mut missing, mut stale) = (0, 0);
    for hour in dataset.hours.keys() {
        match (dataset.fingerprint(*hour), log.get(hour)) {
            (Some(_), None) => missing += 1,
            (Some(now), Some(window)) => stale += usize::from(window.fingerprint != *now),
            (None, _) => {}
        }
    }
    (missing, stale)
}

/// How many hours the last hour of a data set is behind the last of what it is made of.
fn behind(snapshot: &Snapshot, name: &Name, dataset: &Dataset) -> Option<i64> {
    let raw = snapshot.raw.get(name).and_then(|segments| segments.hours().last().copied());
    let inputs = dataset.inputs().into_iter().filter_map(|input| snapshot.datasets.get(input)?.last()).max();
    let own = dataset.last()?;
    Some(raw.max(inputs).unwrap_or(own).since(own).max(0))
}

fn quarantine(snapshot: &Snapshot) -> anyhow::Result<Vec<Map<String, Value>>> {
    let mut records = Vec::new();
    for (name, segments) in &snapshot.quarantine {
        let open = segments.open.iter().map(|open| (&open.path, open.bytes));
        let sealed = segments.sealed.iter().map(|sealed| (&sealed.segment.path, sealed.bytes));
        let files: Vec<_> = open.chain(sealed).collect();
        if files.is_empty() {
            continue;
        }
        let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
        for (path, _) in &files {
            let counts = match layout::count_rejected(path) {
                // Sealed or removed meanwhile: the next look sees it.
                Err(error) if error.is_not_found() => continue,
                counts => counts?,
            };
            for (reason, count) in counts {
                *reasons.entry(reason).or_default() += count;
            }
        }
        let hours = segments.hours();
        records.push(record([
            ("name", name.as_str().into()),
            ("files", files.len().into()),
            ("bytes", files.iter().map(|(_, bytes)| bytes).sum::<u64>().into()),
            ("first", text(hours.first().copied())),
            ("last", text(hours.last().copied())),
            ("records", reasons.values().sum::<u64>().into()),
            ("reasons", json!(reasons)),
        ]));
    }
    Ok(records)
}

fn unpublished(snapshot: &Snapshot) -> Vec<Map<String, Value>> {
    let mut groups: BTreeMap<(Area, &Name), (u64, u64)> = BTreeMap::new();
    for file in &snapshot.unpublished {
        let (files, bytes) = groups.entry((file.area, &file.name)).or_default();
        *files += 1;
        *bytes += file.bytes;
    }
    let group = |((area, name), (files, bytes)): ((Area, &Name), (u64, u64))| {
        record([
            ("area", area.as_str().into()),
            ("name", name.as_str().into()),
            ("files", files.into()),
            ("bytes", bytes.into()),
        ])
    };
    groups.into_iter().map(group).collect()
}

fn damaged(snapshot: &Snapshot) -> Vec<Map<String, Value>> {
    let file = |name: &Name, (hour, problem): (Hour, &str)| {
        record([("name", name.as_str().into()), ("hour", hour.to_string().into()), ("problem", problem.into())])
    };
    snapshot
        .datasets
        .iter()
        .flat_map(|(name, dataset)| dataset.damaged().map(move |damaged| file(name, damaged)))
        .collect()
}

fn disk(tree: &Tree, snapshot: &Snapshot, now: DateTime<Utc>) -> anyhow::Result<Map<String, Value>> {
    let segments = |segments: &BTreeMap<Name, Segments>| -> u64 {
        let open = segments.values().flat_map(|s| &s.open).map(|open| open.bytes);
        let sealed = segments.values().flat_map(|s| &s.sealed).map(|sealed| sealed.bytes);
        open.chain(sealed).sum()
    };
    let embedded = [tree.warehouse(), tree.sqlite_warehouse()];
    let warehouse: u64 =
        embedded.iter().map(|path| Ok(layout::size(path)?.unwrap_or_default())).sum::<layout::Result<u64>>()?;
    let parquet = snapshot.datasets.values().flat_map(|dataset| dataset.hours.values());
    let free = tree.free_bytes()?;
    let per_day = growth::per_day(snapshot, warehouse, now);
    let full = growth::full_at(free, per_day, now);
    Ok(record([
        ("raw_bytes", segments(&snapshot.raw).into()),
        ("quarantine_bytes", segments(&snapshot.quarantine).into()),
        ("parquet_bytes", parquet.map(|parquet| parquet.bytes).sum::<u64>().into()),
        ("unpublished_bytes", snapshot.unpublished.iter().map(|file| file.bytes).sum::<u64>().into()),
        ("warehouse_bytes", warehouse.into()),
        ("free_bytes", free.into()),
        ("growth_bytes", per_day.into()),
        ("full_in_days", full.map(|hour| hour.since(Hour::of(now)) / 24).into()),
        ("full_at", text(full)),
    ]))
}
