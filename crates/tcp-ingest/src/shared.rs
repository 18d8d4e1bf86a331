//! What all threads of a process share. Nothing of it is touched for each message.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use layout::{Area, DataDirHandle, OpenSegment};
use rustix::net::SendFlags;

use crate::args::Config;
use crate::channel::{ToKeeper, is_dead, send};
use crate::intent_log::IntentLog;
use crate::losses::{Losses, TO_BE_CONTINUED};
use crate::stats::Stats;

/// How long to wait before trying again what the storage refuses.
pub(crate) const RETRY: Duration = Duration::from_millis(200);

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) data_dir: DataDirHandle,
    pub(crate) intent_log: IntentLog,
    pub(crate) stats: Stats,
    /// The way to the keeper. A process that has one is a worker, whose work another one can resume.
    pub(crate) keeper: Option<OwnedFd>,
    /// Why the program ends, by whichever thread met a reason first.
    pub(crate) failure: OnceLock<String>,
    /// The program is about to end anyway: then nothing is tried for ever.
    stopping: AtomicBool,
    pub(crate) lost: Losses,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        data_dir: DataDirHandle,
        intent_log: IntentLog,
        keeper: Option<OwnedFd>,
    ) -> Arc<Self> {
        let (stats, failure, stopping) = (Stats::new(&config), OnceLock::new(), AtomicBool::new(false));
        Arc::new(Self { config, data_dir, intent_log, stats, keeper, failure, stopping, lost: Losses::default() })
    }

    /// Tells the keeper, if there is one, and waits while it is behind. Its death shows when reading from it. When a living
    /// one cannot take it the process ends: a segment that the keeper does not hold would have no owner when this worker dies.
    pub(crate) fn tell_keeper(&self, message: &ToKeeper, descriptor: Option<BorrowedFd<'_>>) {
        let Some(keeper) = &self.keeper else { return };
        if let Err(error) = send(keeper, message, descriptor, SendFlags::empty())
            && !is_dead(&error)
        {
            log::error!("cannot send to the keeper: {error}");
            std::process::exit(TO_BE_CONTINUED);
        }
    }

    /// Ends a worker where it stands, because another one resumes its work; a program without a keeper, in good order.
    pub(crate) fn fail(&self, what: impl Into<String>) {
        let what = what.into();
        if self.keeper.is_some() {
            log::error!("{what}");
            std::process::exit(TO_BE_CONTINUED);
        }
        let _ = self.failure.set(what);
    }

    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Checks the data directory, puts `segment` back if it was removed or moved away, and gives its new file to the keeper.
    pub(crate) fn keep(&self, segment: &mut OpenSegment) -> layout::Result<()> {
        if self.data_dir.keep(segment)? {
            self.tell_keeper(&ToKeeper::Moved { name: segment.name().to_string() }, Some(segment.as_fd()));
            let path = segment.path().display();
            log::warn!("{path}: was removed or moved away; all that was written to it is there again");
        }
        Ok(())
    }

    /// Notes which versions of the stream files are in use, for programs that read raw/ without the files.
    pub(crate) fn note_versions(&self) {
        for stream in &self.config.streams {
            let noted = self
                .data_dir
                .check()
                .and_then(|()| self.config.tree.use_stream_version(&stream.name, &stream.model.text));
            if let Err(error) = noted {
                log::warn!("{error}; it is tried again before anything is written");
            }
        }
    }

    /// Seals the segments of our streams that a dead writer, and all who held them for it, have left open.
    pub(crate) fn recover(&self) {
        let tree = &self.config.tree;
        for stream in &self.config.streams {
            for area in [Area::Raw, Area::Quarantine] {
                let recovered = self
                    .data_dir
                    .check()
                    .and_then(|()| layout::recover(tree, area, &stream.name, chrono::Utc::now()))
                    .unwrap_or_else(|error| {
                        log::error!("{error}; what a writer that died has left open stays so until the next start");
                        Vec::new()
                    });
                for recovered in recovered {
                    let sealed = recovered.sealed.map(|segment| tree.relative(&segment.path));
                    log::warn!(
                        "recovered {} of a writer that died; {} bytes of a torn line to quarantine",
                        sealed.as_deref().unwrap_or("an empty segment"),
                        recovered.torn
                    );
                }
            }
        }
    }
}
