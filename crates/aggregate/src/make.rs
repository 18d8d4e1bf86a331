//! Making the hours of a plan: side by side, published in batches.
//!
//! An input may be replaced or removed while it is read. So the records of the inputs are read again after the query has
//! run, and before its result is published: if they are not those that the result is going to name, it is thrown away
//! and the hour made again. A file that is replaced and put back as it was in between has the same rows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use layout::{Commit, DatasetLock, Draft, Fingerprint, Hour, Lineage, Name, Tree};

use crate::plan::{Recipe, Window};
use crate::query::Query;
use crate::session::Session;

/// How many hours are published together at most: to sync files and folders costs more than to make a small hour.
const BATCH: usize = 32;
/// For how long hours wait to be published.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often an hour whose inputs change meanwhile is begun.
const ATTEMPTS: usize = 5;

/// What became of the hours of a plan.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Published.
    pub(crate) hours: usize,
    /// Not made, and why.
    pub(crate) failed: Vec<(Hour, String)>,
    /// Left alone because an input was removed meanwhile.
    pub(crate) removed: usize,
}

/// What it takes to make hours of one data set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maker<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) lock: &'a DatasetLock,
    pub(crate) query: &'a Query,
    pub(crate) recipe: &'a Recipe,
}

impl Maker<'_> {
    /// Makes `windows` on `workers` threads; calls `progress` with the number of hours that are done with.
    pub(crate) fn make(
        self,
        session: &Session<'_>,
        windows: &[Window],
        workers: usize,
        progress: impl Fn(usize) + Sync,
    ) -> anyhow::Result<Made> {
        let sessions = (0..workers).map(|_| session.fork()).collect::<anyhow::Result<Vec<_>>>()?;
        // Neighbours go to the same thread, which syncs their folder once; but no thread is to be left without work.
        let shares: Vec<_> = windows.chunks((windows.len() / (workers * 4)).clamp(1, BATCH)).collect();
        let next = AtomicUsize::new(0);
        let (next, shares, progress) = (&next, &shares, &progress);
        let mut all = Made::default();
        std::thread::scope(|scope| {
            let work = |session: Session<'_>| {
                let mut made = Made::default();
                while let Some(share) = shares.get(next.fetch_add(1, Ordering::Relaxed)) {
                    self.make_share(&session, share, &mut made);
                    progress(share.len());
                }
                made
            };
            let threads: Vec<_> = sessions.into_iter().map(|session| scope.spawn(move || work(session))).collect();
            for thread in threads {
                let Ok(made) = thread.join() else { bail!("a thread that made hours of {} died", self.query.name) };
                all.hours += made.hours;
                all.failed.extend(made.failed);
                all.removed += made.removed;
            }
            Ok(())
        })?;
        all.failed.sort();
        Ok(all)
    }

    fn make_share(self, session: &Session<'_>, share: &[Window], made: &mut Made) {
        let mut batch = Vec::new();
        let mut since = Instant::now();
        for window in share {
            match self.make_hour(session, window) {
                Ok(Some(draft)) => batch.push((window.hour, draft)),
                Ok(None) => made.removed += 1,
                Err(error) => made.failed.push((window.hour, engine::explain(&error))),
            }
            if since.elapsed() > PATIENCE {
                publish(&mut batch, made);
                since = Instant::now();
            }
        }
        publish(&mut batch, made);
    }

    /// Makes one hour, unpublished; none if an input was removed meanwhile.
    fn make_hour(self, session: &Session<'_>, window: &Window) -> anyhow::Result<Option<Draft>> {
        let mut inputs = window.inputs.clone();
        for _ in 0..ATTEMPTS {
            let result = self.run(session, window.hour, &inputs);
            let now = self.inputs_now(window)?;
            if now == inputs {
                return result.map(Some);
            }
            if now.len() < window.inputs.len() {
                return Ok(None);
            }
            inputs = now;
        }
        bail!("what it is made of changes again and again: run again later");
    }

    /// Runs the query over one hour; an error names the files that it was about.
    fn run(self, session: &Session<'_>, hour: Hour, inputs: &BTreeMap<Name, Fingerprint>) -> anyhow::Result<Draft> {
        let Recipe { query, tables } = self.recipe;
        let lineage = Lineage::Query { query: query.clone(), inputs: inputs.clone(), tables: tables.clone() };
        let draft = self.tree.draft_parquet(self.lock, &self.query.name, hour)?;
        let commit = Commit::new(lineage).at(&self.query.name, hour);
        let copy = engine::copy_statement(&session.select(), &draft, &commit);
        if let Err(error) = session.run(hour, inputs, &copy) {
            session.check_inputs(hour, inputs)?;
            let files = inputs.keys().map(|dataset| self.tree.parquet(dataset, hour).display().to_string());
            return Err(error.context(format!("made of {}", files.collect::<Vec<_>>().join(", "))));
        }
        Ok(draft)
    }

    /// The inputs of `window` as they are now.
    fn inputs_now(self, window: &Window) -> layout::Result<BTreeMap<Name, Fingerprint>> {
        let mut inputs = BTreeMap::new();
        for dataset in window.inputs.keys() {
            if let Some(commit) = self.tree.commit(dataset, window.hour)? {
                inputs.insert(dataset.clone(), commit.fingerprint);
            }
        }
        Ok(inputs)
    }
}

fn publish(batch: &mut Vec<(Hour, Draft)>, made: &mut Made) {
    let (hours, drafts): (Vec<_>, Vec<_>) = std::mem::take(batch).into_iter().unzip();
    match layout::publish(drafts) {
        Ok(()) => made.hours += hours.len(),
        Err(error) => made.failed.extend(hours.into_iter().map(|hour| (hour, error.to_string()))),
    }
}
