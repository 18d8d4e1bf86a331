//! Syncing and sealing, on a thread of their own: a slow disk must not hold up the reading of what fits in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use layout::{OpenSegment, SegmentFile, SegmentName, seal};

use crate::channel::ToKeeper;
use crate::shared::Shared;

enum Job {
    Sync(Vec<Arc<SegmentFile>>, Arc<AtomicBool>),
    Seal(Vec<OpenSegment>),
}

/// Hands work to the thread. When the thread is far behind, that waits: so a slow disk holds the sources.
#[derive(Clone)]
pub(crate) struct Sealer(SyncSender<Job>);

impl Sealer {
    /// Starts the thread. It ends when all handles are dropped and the work is done.
    pub(crate) fn start(shared: &Arc<Shared>) -> (Self, JoinHandle<()>) {
        // One job waits while one is under way: so the segments that are being sealed are at most twice those that are open.
        let (jobs, queue) = sync_channel(1);
        let thread = Thread { refused: Vec::new(), shared: Arc::clone(shared) };
        (Self(jobs), std::thread::spawn(move || thread.run(&queue)))
    }

    /// Has segments synced; `busy` is true until that is done.
    pub(crate) fn sync(&self, files: Vec<Arc<SegmentFile>>, busy: &Arc<AtomicBool>) {
        busy.store(true, Relaxed);
        let _ = self.0.send(Job::Sync(files, Arc::clone(busy)));
    }

    pub(crate) fn seal(&self, segments: Vec<OpenSegment>) {
        if !segments.is_empty() {
            let _ = self.0.send(Job::Seal(segments));
        }
    }
}

/// How long segments wait that the storage refuses to seal.
const RETRY: Duration = Duration::from_secs(1);

/// Seals segments; those that the storage refuses wait, and hold up no others.
struct Thread {
    refused: Vec<OpenSegment>,
    shared: Arc<Shared>,
}

impl Thread {
    fn run(mut self, queue: &Receiver<Job>) {
        loop {
            match queue.recv_timeout(RETRY) {
                Ok(Job::Sync(files, busy)) => {
                    for file in files {
                        if let Err(error) = file.sync() {
                            self.unsynced(&[file.name().clone()], &error);
                        }
                    }
                    busy.store(false, Relaxed);
                }
                Ok(Job::Seal(segments)) => {
                    self.shared.stats.open_segments.fetch_sub(segments.len() as u64, Relaxed);
                    self.seal(segments);
                }
                Err(RecvTimeoutError::Timeout) => self.retry(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // A pipe that has ended waits for room on the disk; a service that is to stop does not.
        self.retry();
        while !self.refused.is_empty() && !self.shared.is_stopping() && self.shared.failure.get().is_none() {
            std::thread::sleep(RETRY);
            self.retry();
        }
        if let open @ 1.. = self.refused.len() {
            let open = cli::count(open, "segment");
            let _ = self.shared.failure.set(format!("not sealed, and open until the next start: {open}"));
        }
    }

    /// Seals what it can; the rest is refused. Reports that once, and not if writing waits too, so that the reason is known.
    fn seal(&mut self, segments: Vec<OpenSegment>) {
        let is_known = !self.refused.is_empty() || self.shared.stats.waiting.load(Relaxed);
        match self.attempt(segments) {
            Err(error) if is_known => log::debug!("{error}; still not sealed"),
            Err(error) => log::error!("{error}; trying again every second"),
            Ok(()) => {}
        }
    }

    fn attempt(&mut self, mut segments: Vec<OpenSegment>) -> layout::Result<()> {
        if let Err(error) = segments.iter_mut().try_for_each(|segment| self.shared.keep(segment)) {
            self.refused.extend(segments);
            return Err(error);
        }
        let mut names: Vec<_> = segments.iter().map(|segment| segment.name().clone()).collect();
        let (sealed, refused) = match seal(segments) {
            Ok(sealed) => (sealed.len(), Ok(())),
            Err(failed) if failed.unsynced => {
                self.unsynced(&names, &failed.error);
                return Ok(());
            }
            Err(failed) => {
                names.retain(|name| failed.open.iter().all(|open| open.name() != name));
                self.refused.extend(failed.open);
                (names.len(), Err(failed.error))
            }
        };
        self.shared.stats.sealed_segments.fetch_add(sealed as u64, Relaxed);
        for name in names {
            self.shared.tell_keeper(&ToKeeper::Sealed { name: name.to_string() }, None);
        }
        refused
    }

    /// What was written since the last sync may not be on the disk; the next worker copies it while the kernel still has it.
    fn unsynced(&self, names: &[SegmentName], error: &layout::Error) {
        for name in names {
            self.shared.tell_keeper(&ToKeeper::Unsynced { name: name.to_string() }, None);
        }
        self.shared.fail(if self.shared.keeper.is_some() {
            format!("{error}; what was written is copied to a new file by the next worker")
        } else {
            format!(
                "{error}; stopping, because what was written since the last sync may not be on the disk: check the disk, then compare with the sources"
            )
        });
    }

    fn retry(&mut self) {
        // One by one, so that one that is refused for good keeps no other back.
        let refused = std::mem::take(&mut self.refused);
        let any = !refused.is_empty();
        for segment in refused {
            if let Err(error) = self.attempt(vec![segment]) {
                log::debug!("{error}; still not sealed");
            }
        }
        if any && self.refused.is_empty() {
            log::warn!("all segments are sealed again");
        }
    }
}
