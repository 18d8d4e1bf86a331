//! Syncing and sealing, on a thread of their own: a slow disk must not hold up the reading of what fits in memory.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use layout::{DataDirHandle, OpenSegment, SegmentName, SegmentSync, seal};

use crate::channel::KeeperSender;
use crate::failure::Failure;
use crate::messages::ToKeeper;
use crate::stats::Stats;

/// Work for the thread.
enum Job {
    Sync(Vec<SegmentSync>, Arc<AtomicBool>),
    Seal(Vec<OpenSegment>),
}

/// Hands work to the thread. When the thread is far behind, that waits: so a slow disk holds the sources.
#[derive(Clone)]
pub(crate) struct Sealer {
    jobs: SyncSender<Job>,
}

impl Sealer {
    /// Starts the thread. It ends when all handles are dropped and the work is done. A keeper learns what is sealed.
    pub(crate) fn start(
        data_dir: Arc<DataDirHandle>,
        stats: Arc<Stats>,
        failure: Arc<Failure>,
        keeper: Option<KeeperSender>,
    ) -> (Self, JoinHandle<()>) {
        // One job waits while one is under way: so the segments that are being sealed are at most twice those that are open.
        let (jobs, queue) = sync_channel(1);
        (Self { jobs }, std::thread::spawn(move || run(&queue, &data_dir, &stats, &failure, keeper)))
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

fn run(
    queue: &Receiver<Job>,
    data_dir: &DataDirHandle,
    stats: &Stats,
    failure: &Failure,
    keeper: Option<KeeperSender>,
) {
    let mut sealing = Thread { refused: Vec::new(), data_dir, stats, failure, keeper };
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
    while !sealing.refused.is_empty() && !failure.is_stopping() && failure.get().is_none() {
        std::thread::sleep(RETRY);
        sealing.retry();
    }
    if let open @ 1.. = sealing.refused.len() {
        failure
            .report_at_the_end(format!("not sealed, and open until the next start: {}", cli::count(open, "segment")));
    }
}

/// How long segments wait that the storage refuses to seal.
const RETRY: Duration = Duration::from_secs(1);

/// Seals segments; those that the storage refuses wait, and hold up no others.
struct Thread<'s> {
    refused: Vec<OpenSegment>,
    data_dir: &'s DataDirHandle,
    stats: &'s Stats,
    failure: &'s Failure,
    keeper: Option<KeeperSender>,
}

impl Thread<'_> {
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
            match self.data_dir.keep(segment) {
                Ok(false) => {}
                Ok(true) => report_put_back(segment, self.keeper.as_ref()),
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

    /// What was written since the last sync may not be on the disk. Where there is a keeper, the next worker copies it while
    /// the kernel still has it; where there is none, the program ends.
    fn unsynced(&self, names: &[SegmentName], error: &layout::Error) {
        if let Some(keeper) = &self.keeper {
            for name in names {
                keeper.send(&ToKeeper::Unsynced { name: name.to_string() }, None);
            }
            self.failure.report(format!("{error}; what was written is copied to a new file by the next worker"));
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

/// Reports that a segment which was removed or moved away has a new file, and gives that to the keeper, which knows it by
/// the same name.
pub(crate) fn report_put_back(segment: &OpenSegment, keeper: Option<&KeeperSender>) {
    if let Some(keeper) = keeper {
        keeper.send(&ToKeeper::Moved { name: segment.name().to_string() }, Some(segment.as_fd()));
    }
    log::warn!("{}: was removed or moved away; all that was written to it is there again", segment.path().display());
}
