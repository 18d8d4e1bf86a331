//! Syncing and sealing, on a thread of their own: a slow disk must not hold up the reading of what fits in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
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
        // One waits while one is under way: so the segments that are being sealed are at most twice those that are open.
        let (jobs, queue) = sync_channel(1);
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
    let mut sealing = Sealing { refused: Vec::new(), stats, failure };
    loop {
        match queue.recv_timeout(RETRY) {
            Ok(Job::Sync(syncs, busy)) => {
                for sync in syncs {
                    if let Err(error) = sync.run() {
                        failure.report(unsynced(&error));
                    }
                }
                busy.store(false, Ordering::Relaxed);
            }
            Ok(Job::Seal(segments)) => {
                stats.open_segments.fetch_sub(segments.len() as u64, Ordering::Relaxed);
                sealing.seal(segments);
            }
            Err(RecvTimeoutError::Timeout) => sealing.retry(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // A pipe that has ended waits for room on the disk; a service that is to stop does not.
    sealing.retry();
    while !sealing.refused.is_empty() && !failure.stopping.load(Ordering::Relaxed) && failure.get().is_none() {
        std::thread::sleep(RETRY);
        sealing.retry();
    }
    if let left @ 1.. = sealing.refused.len() {
        failure.report(format!("not sealed, and open until the next start: {}", cli::count(left, "segment")));
    }
}

/// How long segments wait that the storage refuses to seal.
const RETRY: Duration = Duration::from_secs(1);

/// Seals segments; those that the storage refuses wait, and hold up no others.
struct Sealing<'s> {
    refused: Vec<OpenSegment>,
    stats: &'s Stats,
    failure: &'s Failure,
}

impl Sealing<'_> {
    fn seal(&mut self, segments: Vec<OpenSegment>) {
        let count = segments.len();
        let sealed = match seal(segments) {
            Ok(sealed) => sealed.len(),
            Err(failed) if failed.unsynced => return self.failure.report(unsynced(&failed.error)),
            Err(failed) => {
                if self.refused.is_empty() {
                    log::error!("{}; trying again every second", failed.error);
                }
                let done = count - failed.open.len();
                self.refused.extend(failed.open);
                done
            }
        };
        self.stats.sealed_segments.fetch_add(sealed as u64, Ordering::Relaxed);
    }

    fn retry(&mut self) {
        // One by one, so that one that is refused for good keeps no other back.
        let before = self.refused.len();
        for segment in std::mem::take(&mut self.refused) {
            match seal(vec![segment]) {
                Ok(sealed) => _ = self.stats.sealed_segments.fetch_add(sealed.len() as u64, Ordering::Relaxed),
                Err(failed) if failed.unsynced => self.failure.report(unsynced(&failed.error)),
                Err(failed) => self.refused.extend(failed.open),
            }
        }
        if before > 0 && self.refused.is_empty() {
            log::warn!("all segments are sealed again");
        }
    }
}

fn unsynced(error: &layout::Error) -> String {
    format!(
        "{error}; stopping, because what was written since the last sync may not be on the disk: check the disk, then compare with the sources"
    )
}
