//! The data sets and reference tables behind the names in a query.

use std::collections::BTreeSet;

use anyhow::bail;
use cli::Usage;
use layout::{Area, Fingerprint, Name, Tree};
use models::Streams;

use crate::args::TableArg;
use crate::query::Query;
use crate::tables;

/// What a query reads, resolved.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    pub(crate) datasets: Vec<Name>,
    /// The reference tables that are given, with the fingerprints of their content.
    pub(crate) tables: Vec<(&'a TableArg, Fingerprint)>,
}

impl<'a> Sources<'a> {
    /// Finds out what the names that `query` reads stand for; `known` are the data sets.
    pub(crate) fn resolve(
        query: &Query,
        known: &BTreeSet<Name>,
        streams: &Streams,
        given: &'a [TableArg],
    ) -> anyhow::Result<Self> {
        let mut sources = Self { datasets: Vec::new(), tables: Vec::new() };
        for name in &query.reads {
            if let Some(table) = given.iter().find(|table| table.name.as_str() == name) {
                sources.tables.push((table, tables::fingerprint(table)?));
            } else if query.declared.iter().any(|table| table.name == name) {
                // Not given: empty.
            } else if *name == query.name.as_str() {
                bail!("{}: reads {name}, the data set that it makes: give it another name by --name", query.origin);
            } else if let Some(dataset) = known.iter().find(|dataset| dataset.as_str() == name) {
                sources.datasets.push(dataset.clone());
            } else {
                let known: Vec<_> = known.iter().filter(|known| **known != query.name).map(Name::as_str).collect();
                bail!(
                    "{}: there is no data set or reference table {name:?}: data sets are {}; a reference table is given by \
                     --table {}=FILE; if another aggregate makes it, {}",
                    query.origin,
                    known.join(", "),
                    if name.parse::<Name>().is_ok() { name } else { "NAME" },
                    how_to_make(streams, name)
                );
            }
        }
        if sources.datasets.is_empty() {
            bail!("{}: reads no data set, so there is no hour to make", query.origin);
        }
        if let Some(name) = query.header.ignore_changes.iter().find(|name| !query.reads.contains(*name)) {
            bail!("{}: -- @ignore_changes: {name}: it does not read such a table", query.origin);
        }
        Ok(sources)
    }
}

/// Refuses reference tables that cannot be told from each other or from a data set.
pub(crate) fn check_names(known: &BTreeSet<Name>, given: &[TableArg]) -> anyhow::Result<()> {
    let mut names = BTreeSet::new();
    for TableArg { name, file } in given {
        let file = file.display();
        if known.contains(name) {
            bail!(Usage(format!("--table {name}={file}: there is a data set {name}: give the table another name")));
        }
        if !names.insert(name) {
            bail!(Usage(format!("--table {name}={file}: the table {name} is given twice")));
        }
    }
    Ok(())
}

/// Refuses reference tables that no query reads: a misspelt name would leave its columns empty.
pub(crate) fn check_used(queries: &[Query], given: &[TableArg]) -> anyhow::Result<()> {
    let is_read = |table: &&TableArg| queries.iter().any(|query| query.reads.contains(table.name.as_str()));
    let Some(TableArg { name, .. }) = given.iter().find(|table| !is_read(table)) else { return Ok(()) };
    let read: BTreeSet<_> = queries.iter().flat_map(|query| &query.reads).map(String::as_str).collect();
    let read = read.into_iter().collect::<Vec<_>>().join(", ");
    bail!(Usage(match queries {
        [query] => format!("{}: does not read the table {name}: it reads {read}", query.origin),
        _ => format!("no query: reads the table {name}: they read {read}"),
    }))
}

/// The streams, the data sets of the tree, and those that `queries` make.
pub(crate) fn known_datasets(tree: &Tree, streams: &Streams, queries: &[Query]) -> anyhow::Result<BTreeSet<Name>> {
    let streams = streams.names().filter_map(|name| name.parse().ok());
    let made = queries.iter().map(|query| query.name.clone());
    Ok(streams.chain(tree.names(Area::Parquet)?).chain(made).collect())
}

/// How a data set that has no hour comes to have some.
pub(crate) fn how_to_make(streams: &Streams, dataset: &str) -> String {
    if streams.has(dataset) {
        format!("run compact, which makes them of the segments of {dataset} when their hour is over")
    } else if dataset == "temperatures" {
        "run aggregate temperatures, or give temperatures in the same run".to_owned()
    } else {
        format!("run the query that makes {dataset}, or give its file by --sql in the same run")
    }
}
