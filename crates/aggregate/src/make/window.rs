//! Making one window.
//!
//! An input may be replaced or removed while it is read. So the records of the inputs are read again after the query has
//! run, and before its result is published: if they are not those that the result is going to name, it is thrown away
//! and the window made again. A file that is replaced and put back as it was in between has the same rows.

use anyhow::bail;
use engine::{identifier, read_parquet};
use layout::{Commit, DatasetLock, Draft, Recipe, Tree};

use crate::plan::{Inputs, Step, count, paths};
use crate::session::Session;
use crate::sql::repeated;

/// How often a window whose inputs change meanwhile is begun.
const ATTEMPTS: usize = 5;

/// What a thread makes windows of one data set with.
#[derive(Debug)]
pub(super) struct Maker<'a> {
    pub(super) session: Session<'a>,
    pub(super) lock: &'a DatasetLock,
    pub(super) recipe: &'a Recipe,
}

impl Maker<'_> {
    /// Makes one window, unpublished; none if an input was removed meanwhile.
    pub(super) fn make_window(&self, step: &Step) -> anyhow::Result<Option<Draft>> {
        let mut inputs = step.inputs.clone();
        for _ in 0..ATTEMPTS {
            let result = self.run(step, &inputs);
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

    /// An empty draft of the file of `step`.
    pub(super) fn draft(&self, step: &Step) -> layout::Result<Draft> {
        self.session.tree.draft_parquet(self.lock, &self.session.query.name, step.window.hour())
    }

    /// The commit record of the file of `step`, when it is made of `inputs`.
    pub(super) fn commit(&self, step: &Step, inputs: &Inputs) -> Commit {
        self.recipe.commit(step.window, inputs).at(&self.session.query.name, step.window.hour())
    }

    /// Runs the query over one window; an error names the files that it was about.
    fn run(&self, step: &Step, inputs: &Inputs) -> anyhow::Result<Draft> {
        let session = &self.session;
        let draft = self.draft(step)?;
        let copy = engine::copy_statement(&session.select(), &draft, &self.commit(step, inputs));
        if let Err(error) = session.run(&step.window, inputs, &copy) {
            session.check_inputs(inputs)?;
            return Err(error.context(made_of(session.tree, inputs)));
        }
        self.check_key(&draft)?;
        Ok(draft)
    }

    /// Refuses a window in which two rows have the same key: something was counted twice.
    pub(super) fn check_key(&self, draft: &Draft) -> anyhow::Result<()> {
        let columns = &self.session.query.header.key;
        if columns.is_empty() {
            return Ok(());
        }
        let key = columns.iter().map(|column| identifier(column)).collect::<Vec<_>>().join(", ");
        let rows = read_parquet([draft.path()]);
        if let Some((value, times)) = repeated(&self.session.connection, &rows, &key, &format!("row({key})"))? {
            let key = columns.join(", ");
            bail!("@key: {times} rows have the key ({key}) {value}: make the query's rows differ in it");
        }
        Ok(())
    }

    /// The inputs of `step` as they are now.
    pub(super) fn inputs_now(&self, step: &Step) -> layout::Result<Inputs> {
        let mut inputs = Inputs::new();
        for (dataset, files) in &step.inputs {
            for hour in files.keys() {
                if let Some(commit) = self.session.tree.commit(dataset, *hour)? {
                    inputs.entry(dataset.clone()).or_default().insert(*hour, commit.fingerprint);
                }
            }
        }
        Ok(inputs)
    }
}

/// What a window is made of, in words.
pub(super) fn made_of(tree: &Tree, inputs: &Inputs) -> String {
    let mut files = paths(tree, inputs).map(|path| path.display().to_string());
    match (files.next(), files.next_back(), files.count()) {
        (None, ..) => "made of nothing".to_owned(),
        (Some(first), None, _) => format!("made of {first}"),
        (Some(first), Some(last), 0) => format!("made of {first}, {last}"),
        (Some(first), Some(last), between) => format!("made of {first}, {between} more, {last}"),
    }
}
