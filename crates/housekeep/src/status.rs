//! `housekeep status`: the state of the data directory, as sections of records with named properties.
//!
//! Status only reads, and takes no lock: it may run at any time, beside everything else.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use layout::{Area, Commit, Hour, Lineage, Name, Tree};
use models::Streams;
use serde_json::{Value, json};
use warehouse::LoadLog;

use crate::growth;
use crate::readers::Reader;
use crate::scan::{Dataset, Segment, Segments, Snapshot};

/// Records of one kind, all with the same properties, the first of which is the kind; and their title.
pub(crate) type Section = (&'static str, Vec<Value>);

pub(crate) fn sections(
    tree: &Tree,
    declared: &Streams,
    snapshot: &Snapshot,
    log: Option<&LoadLog>,
    now: DateTime<Utc>,
) -> anyhow::Result<[Section; 6]> {
    Ok([
        ("Streams", streams(declared, snapshot)),
        ("Data sets", datasets(snapshot, log, now)),
        ("Quarantine", quarantine(snapshot)?),
        ("Unpublished files", unpublished(snapshot)),
        ("Damaged files", damaged(snapshot)),
        ("Disk", vec![disk(tree, snapshot, now)?]),
    ])
}

/// The streams that have data, and those of the folder of stream files.
fn streams(declared: &Streams, snapshot: &Snapshot) -> Vec<Value> {
    let files = declared.names().filter(|name| declared.is_declared(name));
    let names: BTreeSet<_> = files.chain(snapshot.raw.keys().map(Name::as_str)).collect();
    let nothing = Segments::default();
    let stream = |name: &str| {
        let found = snapshot.raw.iter().find(|(known, _)| known.as_str() == name);
        let segments = found.map_or(&nothing, |(_, segments)| segments);
        let dataset = snapshot.datasets.iter().find(|(known, _)| known.as_str() == name);
        let commit = |hour| dataset?.1.commit(hour);
        // One that is in the Parquet file already only waits to be deleted.
        let waits = |segment: &&Segment| match commit(segment.hour).map(|commit: &Commit| &commit.lineage) {
            Some(Lineage::Segments(made_of)) => made_of.iter().all(|part| part.name != segment.name),
            _ => true,
        };
        let waiting: Vec<_> = segments.sealed.iter().filter(waits).collect();
        json!({
            "kind": "stream",
            "name": name,
            "open_segments": segments.open.len(),
            "open_bytes": bytes(&segments.open),
            "sealed_segments": waiting.len(),
            "sealed_bytes": bytes(waiting.iter().copied()),
            "oldest_sealed": waiting.iter().map(|segment| segment.hour).min(),
            "last": segments.hours().last(),
            "described_by": match declared.get(name) {
                None => "nothing: its data is left alone; give it a stream file".to_owned(),
                Some(Err(_)) => format!("{}, which is wrong: tcp-ingest --check {name} says why", described_by(declared, name)),
                Some(Ok(_)) => described_by(declared, name),
            },
        })
    };
    names.into_iter().map(stream).collect()
}

fn described_by(declared: &Streams, name: &str) -> String {
    let path = declared.path(name).filter(|_| !declared.is_shipped(name));
    path.map_or_else(|| "a file that comes with the programs".to_owned(), |path| path.display().to_string())
}

fn bytes<'s>(segments: impl IntoIterator<Item = &'s Segment>) -> u64 {
    segments.into_iter().map(|segment| segment.bytes).sum()
}

fn datasets(snapshot: &Snapshot, log: Option<&LoadLog>, now: DateTime<Utc>) -> Vec<Value> {
    let dataset = |(name, dataset): (&Name, &Dataset)| {
        let inputs = dataset.inputs();
        let is_aggregate = !inputs.is_empty();
        let reader = Reader::new(snapshot, name, dataset, now);
        let (not_loaded, loaded_stale) = log.and_then(|log| Some(unloaded(dataset, log.get(name)?))).unzip();
        json!({
            "kind": "dataset",
            "name": name,
            "inputs": is_aggregate.then_some(inputs),
            "hours": dataset.hours.len(),
            "rows": dataset.hours.values().flat_map(|parquet| &parquet.commit).map(|commit| commit.rows).sum::<u64>(),
            "bytes": dataset.hours.values().map(|parquet| parquet.bytes).sum::<u64>(),
            "first": dataset.hours.keys().next(),
            "last": dataset.hours.keys().next_back(),
            "expired": dataset.expired.len(),
            "missing": is_aggregate.then(|| reader.missing()),
            "out_of_date": is_aggregate.then(|| reader.out_of_date().count()),
            "hours_behind": behind(snapshot, name, dataset),
            "not_loaded": not_loaded,
            "loaded_stale": loaded_stale,
        })
    };
    snapshot.datasets.iter().map(dataset).collect()
}

/// How many hours the warehouse does not hold, and of how many it holds an older state.
fn unloaded(dataset: &Dataset, log: &BTreeMap<Hour, warehouse::LoggedHour>) -> (usize, usize) {
    let (mut missing, mut stale) = (0, 0);
    for (hour, parquet) in &dataset.hours {
        match (&parquet.commit, log.get(hour)) {
            (Ok(_), None) => missing += 1,
            (Ok(now), Some(loaded)) => stale += usize::from(loaded.fingerprint != now.fingerprint),
            (Err(_), _) => {}
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

fn quarantine(snapshot: &Snapshot) -> anyhow::Result<Vec<Value>> {
    let mut records = Vec::new();
    for (name, segments) in &snapshot.quarantine {
        let hours = segments.hours();
        if hours.is_empty() {
            continue;
        }
        let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
        for segment in segments.all() {
            let counts = match layout::count_rejected(&segment.path) {
                // Sealed or removed meanwhile: the next look sees it.
                Err(error) if error.is_not_found() => continue,
                counts => counts?,
            };
            for (reason, count) in counts {
                *reasons.entry(reason).or_default() += count;
            }
        }
        records.push(json!({
            "kind": "quarantine",
            "name": name,
            "files": segments.all().count(),
            "bytes": bytes(segments.all()),
            "first": hours.first(),
            "last": hours.last(),
            "records": reasons.values().sum::<u64>(),
            "reasons": reasons,
        }));
    }
    Ok(records)
}

fn unpublished(snapshot: &Snapshot) -> Vec<Value> {
    let mut groups: BTreeMap<(Area, &Name), (u64, u64)> = BTreeMap::new();
    for file in &snapshot.unpublished {
        let (files, bytes) = groups.entry((file.area, &file.name)).or_default();
        *files += 1;
        *bytes += file.bytes;
    }
    let record = |((area, name), (files, bytes))| json!({ "kind": "unpublished", "area": area, "name": name, "files": files, "bytes": bytes });
    groups.into_iter().map(record).collect()
}

fn damaged(snapshot: &Snapshot) -> Vec<Value> {
    let record = |name: &Name, (hour, problem): (Hour, String)| json!({ "kind": "damaged", "name": name, "hour": hour, "problem": problem });
    let datasets = snapshot.datasets.iter();
    datasets.flat_map(|(name, dataset)| dataset.damaged().map(move |damaged| record(name, damaged))).collect()
}

fn disk(tree: &Tree, snapshot: &Snapshot, now: DateTime<Utc>) -> anyhow::Result<Value> {
    let embedded = [tree.warehouse(), tree.sqlite_warehouse()];
    let warehouse: u64 =
        embedded.iter().map(|path| Ok(layout::size(path)?.unwrap_or_default())).sum::<layout::Result<u64>>()?;
    let parquet = snapshot.datasets.values().flat_map(|dataset| dataset.hours.values());
    let free = tree.free_bytes()?;
    let per_day = growth::per_day(snapshot, warehouse, now);
    let full = growth::full_at(free, per_day, now);
    Ok(json!({
        "kind": "disk",
        "raw_bytes": bytes(snapshot.raw.values().flat_map(Segments::all)),
        "quarantine_bytes": bytes(snapshot.quarantine.values().flat_map(Segments::all)),
        "parquet_bytes": parquet.map(|parquet| parquet.bytes).sum::<u64>(),
        "unpublished_bytes": snapshot.unpublished.iter().map(|file| file.bytes).sum::<u64>(),
        "warehouse_bytes": warehouse,
        "free_bytes": free,
        "growth_bytes": per_day,
        "full_in_days": full.map(|hour| hour.since(Hour::of(now)) / 24),
        "full_at": full,
    }))
}
