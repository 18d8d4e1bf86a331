//! Syncing and sealing, on a thread of their own: a slow disk must not hold up the reading of what fits in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use layout::{OpenSegment, SegmentSync, seal};
use tokio::sync::Notify;

use crate::stats::Stats;

/// What ends the program: set once, by whoever meets it first.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    what: OnceLock<String>,
    told: Notify,
    /// Set when the program is about to end anyway: then nothing is tried for ever.
    pub(crate) stopping: AtomicBool,
}

impl Failure {
    /// Reports what makes going on impossible.
    pub(crate) fn report(&self, what: impl Into<String>) {
        let _ = self.what.set(what.into());
        self.told.notify_one();
    }

    /// What was reported.
    pub(crate) fn get(&self) -> Option<&str> {
        self.what.get().map(String::as_str)
    }

    /// Waits for a report.
    pub(crate) async fn reported(&self) {
        self.told.notified().await;
    }
}

/// Work for the thread.
enum Job {
    Sync(Vec<SegmentSync>, Arc<AtomicBool>),
    Seal(Vec<OpenSegment>),
}

/// The way to the thread. When it is far behind, handing over waits: that is the backpressure.
#[derive(Clone)]
pub(crate) struct Files {
    jobs: SyncSender<Job>,
}

impl Files {
    /// Starts the thread; it ends when all its handles are dropped and the work is done.
    pub(crate) fn start(stats: Arc<Stats>, failure: Arc<Failure>) -> (Self, JoinHandle<()>) {
        let (jobs, queue) = sync_channel(4);
        (Self { jobs }, std::thread::spawn(move || work(&queue, &stats, &failure)))
    }

    /// Has segments synced; `busy` is true until that is done.
    pub(crate) fn sync(&self, syncs: Vec<SegmentSync>, busy: &Arc<AtomicBool>) {
        busy.store(true, Ordering::Relaxed);
        let _ = self.jobs.send(Job::Sync(syncs, Arc::clone(busy)));
    }

    /// Has segments sealed.
    pub(crate) fn seal(&self, segments: Vec<OpenSegment>) {
        if !segments.is_empty() {
            let _ = self.jobs.send(Job::Seal(segments));
        }
    }
}

fn work(queue: &Receiver<Job>, stats: &Stats, failure: &Failure) {
    for job in queue {
        match job {
            Job::Sync(syncs, busy) => {
                for sync in syncs {
                    if let Err(error) = sync.run() {
                        failure.report(unsynced(&error));
                    }
                }
                busy.store(false, Ordering::Relaxed);
            }
            Job::Seal(segments) => {
                stats.open_segments.fetch_sub(segments.len() as u64, Ordering::Relaxed);
                seal_all(segments, stats, failure);
            }
        }
    }
}

/// Seals segments, trying again while the storage refuses.
fn seal_all(mut segments: Vec<OpenSegment>, stats: &Stats, failure: &Failure) {
    let mut told = false;
    loop {
        match seal(segments) {
            Ok(sealed) => {
                stats.sealed_segments.fetch_add(sealed.len() as u64, Ordering::Relaxed);
                return;
            }
            Err(failed) if failed.unsynced => return failure.report(unsynced(&failed.error)),
            Err(failed) if failure.stopping.load(Ordering::Relaxed) => {
                let left = failed.open.len();
                return failure.report(format!("{}; {left} segments stay open until the next start", failed.error));
            }
            Err(failed) => {
                if !std::mem::replace(&mut told, true) {
                    log::error!("{}; trying again every second", failed.error);
                }
                segments = failed.open;
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

fn unsynced(error: &layout::Error) -> String {
    format!(
        "{error}; stopping, because what was written since the last sync may not be on the disk: check the disk, then compare with the sources"
    )
}
