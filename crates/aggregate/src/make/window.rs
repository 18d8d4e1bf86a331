//! Making one window.
//!
//! An input may be replaced or removed while it is read. So the records of the inputs are read again after the query has
//! run, and before its result is published: if they are not those that the result is going to name, it is thrown away
//! and the window made again. A file that is replaced and put back as it was in between has the same rows.

use anyhow::bail;
use engine::{file_literal, identifier};
use layout::{Commit, DatasetLock, Draft, Recipe, Tree};

use crate::failures::MadeOf;
use crate::plan::{Inputs, Step};
use crate::query::Query;
use crate::session::Session;

/// How often a window whose inputs change meanwhile is begun.
const ATTEMPTS: usize = 5;

/// What it takes to make windows of one data set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maker<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) lock: &'a DatasetLock,
    pub(crate) query: &'a Query,
    pub(crate) recipe: &'a Recipe,
}

impl Maker<'_> {
    /// Makes one window, unpublished; none if an input was removed meanwhile.
    pub(super) fn make_window(self, session: &Session<'_>, step: &Step) -> anyhow::Result<Option<Draft>> {
        let mut inputs = step.inputs.clone();
        for _ in 0..ATTEMPTS {
            let result = self.run(session, step, &inputs);
            let now = self.inputs_now(step)?;
            if now == inputs {
                return result.map(Some);
            }
            if count(&now) < count(&step.inputs) {
                return Ok(None);
            }
            inputs = now;
        }
        bail!("what it is made of changes again and again: run again later");
    }

    /// The record of the file of `step`, when it is made of `inputs`.
    pub(super) fn commit(self, step: &Step, inputs: &Inputs) -> Commit {
        self.recipe.commit(step.window, inputs).at(&self.query.name, step.window.hour())
    }

    /// Runs the query over one window; an error names the files that it was about.
    fn run(self, session: &Session<'_>, step: &Step, inputs: &Inputs) -> anyhow::Result<Draft> {
        let hour = step.window.hour();
        let draft = self.tree.draft_parquet(self.lock, &self.query.name, hour)?;
        let copy = engine::copy_statement(&session.select(), &draft, &self.commit(step, inputs));
        if let Err(error) = session.run(&step.window, inputs, &copy) {
            session.check_inputs(inputs)?;
            return Err(error.context(MadeOf(self.files(inputs))));
        }
        self.check_key(session, &draft)?;
        Ok(draft)
    }

    fn files(self, inputs: &Inputs) -> String {
        let hours = inputs.iter().flat_map(|(dataset, files)| files.keys().map(move |hour| (dataset, *hour)));
        let mut files = hours.map(|(dataset, hour)| self.tree.parquet(dataset, hour).display().to_string());
        match (files.next(), files.next_back(), files.count()) {
            (None, ..) => "nothing".to_owned(),
            (Some(first), None, _) => first,
            (Some(first), Some(last), 0) => format!("{first}, {last}"),
            (Some(first), Some(last), between) => format!("{first}, {between} more, {last}"),
        }
    }

    /// Refuses a window in which two rows have the same key: something was counted twice.
    pub(super) fn check_key(self, session: &Session<'_>, draft: &Draft) -> anyhow::Result<()> {
        if self.query.key.is_empty() {
            return Ok(());
        }
        let key = self.query.key.iter().map(|column| identifier(column)).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT CAST(row({key}) AS VARCHAR), count(*) FROM read_parquet({}, hive_partitioning = false)
             GROUP BY {key} HAVING count(*) > 1 ORDER BY {key} LIMIT 1",
            file_literal(draft.path())
        );
        let mut statement = session.connection().prepare(&sql)?;
        let mut rows = statement.query([])?;
        match rows.next()? {
            None => Ok(()),
            Some(row) => {
                let (value, times): (String, i64) = (row.get(0)?, row.get(1)?);
                bail!(
                    "@key: {times} rows have the key ({}) {value}: make the query's rows differ in it",
                    self.query.key.join(", ")
                )
            }
        }
    }

    /// The inputs of `step` as they are now.
    pub(super) fn inputs_now(self, step: &Step) -> layout::Result<Inputs> {
        let mut inputs = Inputs::new();
        for (dataset, files) in &step.inputs {
            for hour in files.keys() {
                if let Some(commit) = self.tree.commit(dataset, *hour)? {
                    inputs.entry(dataset.clone()).or_default().insert(*hour, commit.fingerprint);
                }
            }
        }
        Ok(inputs)
    }
}

/// How many files `inputs` are.
pub(super) fn count(inputs: &Inputs) -> usize {
    inputs.values().map(std::collections::BTreeMap::len).sum()
}
