//! Making the windows of a plan: side by side, published in batches.
//!
//! An input may be replaced or removed while it is read. So the records of the inputs are read again after the query has
//! run, and before its result is published: if they are not those that the result is going to name, it is thrown away
//! and the window made again. A file that is replaced and put back as it was in between has the same rows.

mod publisher;
mod together;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use cli::Failure;
use engine::{file_literal, identifier};
use layout::{Commit, DatasetLock, Draft, Tree};

use self::publisher::Publisher;
use crate::failures::{MadeOf, failure};
use crate::plan::{Inputs, Recipe, Step};
use crate::query::Query;
use crate::session::Session;

/// How many windows a thread makes at a time, where it makes them one by one.
const BATCH: usize = 32;
/// For how long windows wait to be published.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often an hour whose inputs change meanwhile is begun.
const ATTEMPTS: usize = 5;

/// What became of the windows of a plan.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Published.
    pub(crate) windows: usize,
    /// Not made, and why.
    pub(crate) failed: Vec<Failure>,
    /// Left alone because an input was removed meanwhile.
    pub(crate) removed: usize,
}

impl Made {
    fn add(&mut self, other: Self) {
        self.windows += other.windows;
        self.failed.extend(other.failed);
        self.removed += other.removed;
    }
}

/// What it takes to make windows of one data set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maker<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) lock: &'a DatasetLock,
    pub(crate) query: &'a Query,
    pub(crate) recipe: &'a Recipe,
}

impl Maker<'_> {
    /// Makes `steps` on `workers` threads; calls `progress` with the number of windows that are done with.
    pub(crate) fn make(
        self,
        session: &Session<'_>,
        steps: &[Step],
        workers: usize,
        progress: impl Fn(usize) + Sync,
    ) -> anyhow::Result<Made> {
        let sessions = (0..workers).map(|_| session.fork()).collect::<anyhow::Result<Vec<_>>>()?;
        let shares = if session.can_run_together() {
            together::shares(self.tree, steps, workers)
        } else {
            // Neighbours go to the same thread, which syncs their folder once; but no thread is to be left without work.
            steps.chunks((steps.len() / (workers * 4)).clamp(1, BATCH)).collect()
        };
        let next = AtomicUsize::new(0);
        let (next, shares, progress) = (&next, &shares, &progress);
        let mut all = Made::default();
        std::thread::scope(|scope| {
            let work = move |session: Session<'_>| {
                let (mut made, mut publisher) = (Made::default(), Publisher::new(scope));
                while let Some(share) = shares.get(next.fetch_add(1, Ordering::Relaxed)) {
                    self.make_share(&session, share, &mut made, &mut publisher);
                    progress(share.len());
                }
                made.add(publisher.finish());
                made
            };
            let threads: Vec<_> = sessions.into_iter().map(|session| scope.spawn(move || work(session))).collect();
            for thread in threads {
                let Ok(made) = thread.join() else { bail!("a thread that made windows of {} died", self.query.name) };
                all.add(made);
            }
            Ok(())
        })?;
        Ok(all)
    }

    fn make_share(self, session: &Session<'_>, share: &[Step], made: &mut Made, publisher: &mut Publisher<'_, '_>) {
        let mut batch = Vec::new();
        let mut together = self.make_together(session, share).unwrap_or_default();
        let mut since = Instant::now();
        for (number, step) in share.iter().enumerate() {
            let hour = step.window.hour();
            if let Some(draft) = together.get_mut(number).and_then(Option::take) {
                batch.push((hour, draft));
                continue;
            }
            match self.make_window(session, step) {
                Ok(Some(draft)) => batch.push((hour, draft)),
                Ok(None) => made.removed += 1,
                Err(error) => made.failed.push(failure(hour, &error)),
            }
            if since.elapsed() > PATIENCE {
                publisher.publish(&mut batch);
                since = Instant::now();
            }
        }
        publisher.publish(&mut batch);
    }

    /// Makes one window, unpublished; none if an input was removed meanwhile.
    fn make_window(self, session: &Session<'_>, step: &Step) -> anyhow::Result<Option<Draft>> {
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
    fn commit(self, step: &Step, inputs: &Inputs) -> Commit {
        self.recipe.commit(&step.window, inputs).at(&self.query.name, step.window.hour())
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
    pub(crate) fn check_key(self, session: &Session<'_>, draft: &Draft) -> anyhow::Result<()> {
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
    pub(crate) fn inputs_now(self, step: &Step) -> layout::Result<Inputs> {
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
pub(crate) fn count(inputs: &Inputs) -> usize {
    inputs.values().map(std::collections::BTreeMap::len).sum()
}
