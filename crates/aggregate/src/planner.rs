//! From the tree to the plan of a query.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use chrono::{DateTime, Utc};
use cli::Usage;
use engine::SqlColumn;
use layout::{Commit, Hour, HourRange, Lineage, Name, Recipe, Tree};
use models::Streams;
use serde_json::Value;

use crate::args::Args;
use crate::plan::{Plan, Wanted, plan};
use crate::query::Query;
use crate::report;
use crate::scan::scan;
use crate::sources::Sources;

/// What queries are planned by.
pub(crate) struct Planner<'a> {
    pub(crate) args: &'a Args,
    pub(crate) tree: &'a Tree,
    pub(crate) streams: &'a Streams,
    /// The names of all data sets.
    pub(crate) known: &'a BTreeSet<Name>,
    pub(crate) now: DateTime<Utc>,
    /// The columns that the queries before would have given their data sets, where nothing is made.
    pub(crate) expected_columns: BTreeMap<Name, Vec<SqlColumn>>,
    /// The files that they would have made of each data set.
    pub(crate) expected_files: BTreeMap<Name, BTreeMap<Hour, Commit>>,
    /// The lines of the table that is printed of all queries.
    pub(crate) lines: Vec<Vec<Value>>,
}

impl Planner<'_> {
    /// Plans the windows of `query` by what the tree holds and is expected to; those to be printed as if none was made.
    pub(crate) fn plan(&self, query: &Query, sources: &Sources<'_>) -> anyhow::Result<(Recipe, Plan)> {
        let (args, range, header) = (self.args, self.args.range.range()?, &query.header);
        let output = args.output.is_none().then_some(&query.name);
        let recipe = Recipe {
            query: query.fingerprint.clone(),
            tables: sources.tables.iter().map(|(table, content)| (table.name.to_string(), content.clone())).collect(),
            ignore_changes: header.ignore_changes.clone(),
        };
        let mut snapshot = scan(self.tree, self.streams, &sources.datasets, output, &header.calendar, range)?;
        for (dataset, files) in &mut snapshot.inputs {
            let expected = self.expected_files.get(dataset).into_iter().flatten();
            files.extend(expected.map(|(hour, commit)| (*hour, Ok(commit.clone()))));
            if files.is_empty() {
                report::name_missing(args, self.streams, query, dataset);
            }
        }
        let wanted = Wanted {
            recipe: &recipe,
            calendar: &header.calendar,
            range,
            rebuild: args.rebuild || output.is_none(),
            include_current: args.include_current,
            now: self.now,
            expired: &|dataset, hour| self.tree.expired_record(dataset, hour).ok(),
        };
        let plan = plan(&query.name, &snapshot, wanted)?;
        let made_anew = plan.steps.iter().filter_map(|step| snapshot.output.get(&step.window.hour())?.as_ref().ok());
        let newest = if output.is_none() { self.tree.parquet_files(&query.name, HourRange::ALL)?.pop() } else { None };
        let newest = newest.and_then(|file| Commit::read(&file.path).ok());
        if let Some(table) = forgotten(query, &recipe, made_anew.chain(&newest)).filter(|_| !args.rebuild) {
            bail!(Usage(format!(
                "{}: was made with the table {table}, and now none is given: give it by --table {table}=FILE, or make the \
                 windows anew without it by --rebuild",
                query.name
            )));
        }
        Ok((recipe, plan))
    }

    /// Expects the files that `plan` would make of `dataset`.
    pub(crate) fn expect_files(&mut self, dataset: &Name, recipe: &Recipe, plan: &Plan) {
        let files = plan.steps.iter().map(|step| (step.window.hour(), recipe.commit(step.window, &step.inputs)));
        self.expected_files.insert(dataset.clone(), files.collect());
    }
}

/// A reference table that `query` can do without, that is not given, and that some of `made` was made with: it was
/// forgotten, and its columns would be emptied.
fn forgotten<'c>(query: &Query, recipe: &Recipe, mut made: impl Iterator<Item = &'c Commit>) -> Option<&'static str> {
    let mut not_given = query.declared.iter().map(|table| table.name).filter(|name| !recipe.tables.contains_key(*name));
    not_given.find(|name| {
        made.any(|made| matches!(&made.lineage, Lineage::Query { tables, .. } if tables.contains_key(*name)))
    })
}
