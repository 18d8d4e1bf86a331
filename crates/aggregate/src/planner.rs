//! From the tree to the plan of a query.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use cli::Usage;
use layout::{Commit, Hour, HourRange, Name, Recipe, Tree};

use crate::args::Args;
use crate::plan::{Plan, Wanted, forgotten, plan};
use crate::query::Query;
use crate::report;
use crate::scan::scan;
use crate::session::Promised;
use crate::sources::Sources;

/// What queries are planned by.
pub(crate) struct Planner<'a> {
    pub(crate) args: &'a Args,
    pub(crate) tree: &'a Tree,
    /// The names of all data sets.
    pub(crate) known: &'a BTreeSet<Name>,
    pub(crate) now: DateTime<Utc>,
}

impl Planner<'_> {
    /// Plans the windows of `query` by what the tree holds, and by the files `expected` as if they were in it. Without an
    /// `output`, all windows are planned as if none was made.
    pub(crate) fn plan(
        &self,
        query: &Query,
        sources: &Sources<'_>,
        output: Option<&Name>,
        expected: &Overlay,
    ) -> anyhow::Result<(Recipe, Plan)> {
        let (args, range) = (self.args, self.args.range.range()?);
        let recipe = Recipe {
            query: query.fingerprint.clone(),
            tables: sources.table_fingerprints(),
            ignore_changes: query.ignore_changes.clone(),
        };
        let mut snapshot = scan(self.tree, &sources.datasets, output, &query.calendar, range)?;
        for (dataset, files) in &mut snapshot.inputs {
            let files_of = expected.get(dataset).into_iter().flatten();
            files.extend(files_of.map(|(hour, commit)| (*hour, Ok(commit.clone()))));
            if files.is_empty() {
                report::name_missing(args, query, dataset);
            }
        }
        let wanted = Wanted {
            calendar: &query.calendar,
            range,
            rebuild: args.rebuild || output.is_none(),
            include_current: args.include_current,
            now: self.now,
            expired: &|dataset, hour| self.tree.expired_record(dataset, hour).ok(),
        };
        let plan = plan(&query.name, &recipe, &snapshot, wanted)?;
        let made_anew = plan.steps.iter().filter_map(|step| snapshot.output.get(&step.window.hour())?.as_ref().ok());
        let newest = if output.is_none() { self.newest(query)? } else { None };
        if let Some(table) = forgotten(query, &recipe, made_anew.chain(&newest)).filter(|_| !args.rebuild) {
            return Err(Usage(format!(
                "{}: was made with the table {table}, and now none is given: give it by --table {table}=FILE, or make the \
                 windows anew without it by --rebuild",
                query.name
            ))
            .into());
        }
        Ok((recipe, plan))
    }

    /// The newest file of what `query` makes, if it can be read.
    fn newest(&self, query: &Query) -> anyhow::Result<Option<Commit>> {
        let files = self.tree.parquet_files(&query.name, HourRange::ALL)?;
        Ok(files.last().and_then(|file| Commit::read(&file.path).ok()))
    }
}

/// What would have been made, where nothing is.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(crate) files: Overlay,
    pub(crate) columns: Promised,
}

impl Expected {
    /// Adds the files that `plan` would make.
    pub(crate) fn add_files(&mut self, dataset: &Name, recipe: &Recipe, plan: &Plan) {
        let files = plan.steps.iter().map(|step| (step.window.hour(), recipe.commit(step.window, &step.inputs)));
        self.files.insert(dataset.clone(), files.collect());
    }
}

/// The files that would have been made of each data set.
pub(crate) type Overlay = BTreeMap<Name, BTreeMap<Hour, Commit>>;
