//! Syncing and sealing, on a thread of their own: a slow disk must not hold up the reading of what fits in memory.

use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use layout::{DataDirHandle, OpenSegment, SegmentName, SegmentSync, seal};

use crate::channel::ToKeeper;
use crate::losses::Losses;
use crate::stats::Stats;
use crate::worker::ToKeeperSender;

/// The status of a worker that ends where it stands, and has lost nothing.
pub(crate) const TO_BE_CONTINUED: i32 = 70;

/// What ends the program: set once, by whoever meets it first.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    what: OnceLock<String>,
    /// Whether the process is to end at once.
    fatal: bool,
    /// What of the sources' bytes is lost.
    lost: Mutex<Losses>,
    /// Set when the program is about to end anyway: then nothing is tried for ever.
    pub(crate) stopping: AtomicBool,
}

impl Failure {
    /// For a process that has a successor: it ends where it stands.
    pub(crate) fn fatal() -> Self {
        Self { fatal: true, ..Self::default() }
    }

    /// Reports what makes going on impossible.
    pub(crate) fn report(&self, what: impl Into<String>) {
        let what = what.into();
        if self.fatal {
            log::error!("{what}");
            std::process::exit(TO_BE_CONTINUED);
        }
        self.end_with(what);
    }

    /// Reports what went wrong at the end of the program.
    pub(crate) fn end_with(&self, what: String) {
        let _ = self.what.set(what);
    }

    /// Counts bytes of a connection that are lost.
    pub(crate) fn lose(&self, bytes: u64) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).add(bytes);
    }

    /// What is lost.
    pub(crate) fn lost(&self) -> Losses {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was reported.
    pub(crate) fn get(&self) -> Option<&str> {
        self.what.get().map(String::as_str)
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
    /// Starts the thread; it ends when all its handles are dropped and the work is done. A keeper is told what is sealed.
    pub(crate) fn start(
        anchor: Arc<DataDirHandle>,
        stats: Arc<Stats>,
        failure: Arc<Failure>,
        keeper: Option<ToKeeperSender>,
    ) -> (Self, JoinHandle<()>) {
        // One waits while one is under way: so the segments that are being sealed are at most twice those that are open.
        let (jobs, queue) = sync_channel(1);
        (Self { jobs }, std::thread::spawn(move || work(&queue, &anchor, &stats, &failure, keeper)))
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

fn work(
    queue: &Receiver<Job>,
    anchor: &DataDirHandle,
    stats: &Stats,
    failure: &Failure,
    keeper: Option<ToKeeperSender>,
) {
    let mut sealing = Sealing { refused: Vec::new(), anchor, stats, failure, keeper };
    loop {
        match queue.recv_timeout(RETRY) {
            Ok(Job::Sync(syncs, busy)) => {
                for sync in syncs {
                    if let Err(error) = sync.run() {
                        sealing.unsynced(&[sync.name().clone()], &error);
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
        failure.end_with(format!("not sealed, and open until the next start: {}", cli::count(left, "segment")));
    }
}

/// How long segments wait that the storage refuses to seal.
const RETRY: Duration = Duration::from_secs(1);

/// Seals segments; those that the storage refuses wait, and hold up no others.
struct Sealing<'s> {
    refused: Vec<OpenSegment>,
    anchor: &'s DataDirHandle,
    stats: &'s Stats,
    failure: &'s Failure,
    keeper: Option<ToKeeperSender>,
}

impl Sealing<'_> {
    fn seal(&mut self, segments: Vec<OpenSegment>) {
        let first = self.refused.is_empty();
        if let Err(error) = self.attempt(segments)
            && first
            // If writing waits too, the reason is known.
            && !self.stats.waiting.load(Ordering::Relaxed)
        {
            log::error!("{error}; trying again every second");
        }
    }

    /// Seals what it can; the rest is refused.
    fn attempt(&mut self, mut segments: Vec<OpenSegment>) -> Result<(), layout::Error> {
        for segment in &mut segments {
            match self.anchor.keep(segment) {
                Ok(false) => {}
                Ok(true) => put_back(segment, self.keeper.as_ref()),
                Err(error) => {
                    self.refused.extend(segments);
                    return Err(error);
                }
            }
        }
        let mut names: Vec<_> = segments.iter().map(|segment| segment.name().clone()).collect();
        let (sealed, refused) = match seal(segments) {
            Ok(sealed) => (sealed.len(), Ok(())),
            Err(failed) if failed.unsynced => {
                self.unsynced(&names, &failed.error);
                return Ok(());
            }
            Err(failed) => {
                let open: Vec<_> = failed.open.iter().map(|segment| segment.name().clone()).collect();
                names.retain(|name| !open.contains(name));
                self.refused.extend(failed.open);
                (names.len(), Err(failed.error))
            }
        };
        self.stats.sealed_segments.fetch_add(sealed as u64, Ordering::Relaxed);
        for name in names {
            if let Some(keeper) = &self.keeper {
                keeper.send(&ToKeeper::Sealed { name: name.to_string() }, None);
            }
        }
        refused
    }

    /// What was written since the last sync may not be on the disk. A worker's successor copies it while the kernel still
    /// has it; without one, the program ends.
    fn unsynced(&self, names: &[SegmentName], error: &layout::Error) {
        if let Some(keeper) = &self.keeper {
            for name in names {
                keeper.send(&ToKeeper::Unsynced { name: name.to_string() }, None);
            }
            self.failure.report(format!("{error}; what was written is copied to a new file"));
        } else {
            self.failure.report(format!(
                "{error}; stopping, because what was written since the last sync may not be on the disk: check the disk, then compare with the sources"
            ));
        }
    }

    fn retry(&mut self) {
        // One by one, so that one that is refused for good keeps no other back.
        let before = self.refused.len();
        for segment in std::mem::take(&mut self.refused) {
            let _ = self.attempt(vec![segment]);
        }
        if before > 0 && self.refused.is_empty() {
            log::warn!("all segments are sealed again");
        }
    }
}

/// A segment that was removed or moved away has a new file: says so, and gives it to the keeper, for whom the name is the
/// same.
pub(crate) fn put_back(segment: &OpenSegment, keeper: Option<&ToKeeperSender>) {
    if let Some(keeper) = keeper {
        keeper.send(&ToKeeper::Moved { name: segment.name().to_string() }, Some(segment.as_fd()));
    }
    log::warn!("{}: was removed or moved away; all that was written to it is there again", segment.path().display());
}
