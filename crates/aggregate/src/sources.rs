//! The data sets and reference tables behind the names in a query.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use layout::{Area, Fingerprint, Name, Tree};

use crate::args::TableArg;
use crate::query::Query;
use crate::tables;

/// What a query reads, resolved.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    /// The data sets.
    pub(crate) datasets: Vec<Name>,
    /// The reference tables that are given, with the fingerprints of their content.
    pub(crate) tables: Vec<(&'a TableArg, Fingerprint)>,
}

impl<'a> Sources<'a> {
    /// Finds out what the names in `query` stand for.
    pub(crate) fn resolve(
        tree: &Tree,
        query: &Query,
        names: &BTreeSet<String>,
        given: &'a [TableArg],
    ) -> anyhow::Result<Self> {
        let known = known_datasets(tree)?;
        let mut sources = Self { datasets: Vec::new(), tables: Vec::new() };
        for name in names {
            if let Some(table) = given.iter().find(|table| table.name.as_str() == name) {
                sources.tables.push((table, tables::fingerprint(table)?));
            } else if query.declared.iter().any(|table| table.name == name) {
                // Not given: empty.
            } else if *name == query.name.as_str() {
                bail!("{}: reads {name}, the data set that it makes: give it another name by --name", query.origin);
            } else if let Some(dataset) = known.iter().find(|dataset| dataset.as_str() == name) {
                sources.datasets.push(dataset.clone());
            } else {
                bail!("{}: {}", query.origin, unknown(name, &known));
            }
        }
        if sources.datasets.is_empty() {
            bail!("{}: reads no data set, so there is no hour to make", query.origin);
        }
        Ok(sources)
    }

    /// The tables' part of a commit record.
    pub(crate) fn table_fingerprints(&self) -> BTreeMap<String, Fingerprint> {
        self.tables.iter().map(|(table, fingerprint)| (table.name.to_string(), fingerprint.clone())).collect()
    }
}

/// Refuses reference tables that cannot be told from each other or from a data set.
pub(crate) fn check_names(tree: &Tree, given: &[TableArg]) -> anyhow::Result<()> {
    let known = known_datasets(tree)?;
    let mut names = BTreeSet::new();
    for TableArg { name, file } in given {
        if known.contains(name) {
            bail!("--table {name}={}: there is a data set {name}: give the table another name", file.display());
        }
        if !names.insert(name) {
            bail!("--table {name}={}: the table {name} is given twice", file.display());
        }
    }
    Ok(())
}

/// Refuses reference tables that the query does not read: a misspelt name would leave its columns empty.
pub(crate) fn check_used(query: &Query, names: &BTreeSet<String>, given: &[TableArg]) -> anyhow::Result<()> {
    if let Some(table) = given.iter().find(|table| !names.contains(table.name.as_str())) {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        bail!("{}: does not read the table {}: it reads {}", query.origin, table.name, names.join(", "));
    }
    Ok(())
}

fn known_datasets(tree: &Tree) -> anyhow::Result<BTreeSet<Name>> {
    let streams = models::BUILT_IN.iter().filter_map(|model| model.name.parse().ok());
    Ok(streams.chain(tree.names(Area::Parquet)?).collect())
}

fn unknown(name: &str, known: &BTreeSet<Name>) -> String {
    let known: Vec<_> = known.iter().map(Name::as_str).collect();
    format!(
        "there is no data set or reference table {name:?}: data sets are {}; a reference table is given by --table {}=FILE",
        known.join(", "),
        if name.parse::<Name>().is_ok() { name } else { "NAME" }
    )
}
