//! What the connections of one thread share: its segments, its part of the intent log, and whether the storage works.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::Notify;

use super::stop::{Stop, Stopping};
use crate::args::Config;
use crate::channel::KeeperSender;
use crate::failure::Failure;
use crate::intake::Intake;
use crate::intent_log::{IntentLog, Row};
use crate::shared::Shared;
use crate::stats::Stats;
use crate::tee::Tee;
use crate::writer::Keeper;

/// A connection on its way to a thread.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) socket: TcpStream,
    /// Where the keeper holds it.
    pub(super) slot: u32,
    /// The index of its stream.
    pub(super) stream: usize,
    pub(super) peer: SocketAddr,
    /// No worker had it before.
    pub(super) new: bool,
}

/// What the connections of one thread share.
pub(super) struct Thread {
    pub(super) config: Arc<Config>,
    pub(super) stats: Arc<Stats>,
    pub(super) failure: Arc<Failure>,
    pub(super) tee: Tee,
    pub(super) stop: Stopping,
    pub(super) keeper: KeeperSender,
    pub(super) intent_log: Arc<IntentLog>,
    pub(super) row: Row,
    pub(super) intake: RefCell<Intake>,
    pub(super) storage: Storage,
}

/// Whether writing failed last time, and who is to try next.
#[derive(Default)]
pub(super) struct Storage {
    down: Cell<bool>,
    /// Wakes one connection to try again, or all of them when it works.
    retry: Notify,
}

/// What a thread is made of: all of it may go to another thread.
pub(super) struct Seed {
    pub(super) shared: Shared,
    pub(super) stop: Stopping,
    pub(super) keeper: KeeperSender,
    pub(super) intent_log: Arc<IntentLog>,
    /// Which thread it is, and so which row of the log is its own.
    pub(super) number: usize,
}

impl Thread {
    pub(super) fn new(Seed { shared, stop, keeper, intent_log, number }: Seed) -> Self {
        let row = Row::new(Arc::clone(&intent_log), number);
        let intake = Intake::new(&shared, Some(Keeper { sender: keeper.clone(), row: row.clone() }));
        let Shared { config, stats, failure, tee, .. } = shared;
        let (intake, storage) = (RefCell::new(intake), Storage::default());
        Self { config, stats, failure, tee, stop, keeper, intent_log, row, intake, storage }
    }

    /// The name of a stream.
    pub(super) fn stream_name(&self, stream: usize) -> &str {
        self.config.streams.get(stream).map_or("", |stream| stream.name.as_str())
    }

    /// Writing failed: reports it once, also when several threads meet it.
    pub(super) fn storage_failed(&self, error: &layout::Error) {
        if !self.storage.down.replace(true) && !self.stats.waiting.swap(true, Relaxed) {
            let how = if self.stop.now() == Stop::No {
                "reading waits and the sources are held; nothing is lost as long as the program runs"
            } else {
                "reading waits until the time to drain (--drain-timeout) is up"
            };
            log::error!("{error}; {how}");
        }
    }

    /// Writing worked.
    pub(super) fn storage_works(&self) {
        if self.storage.down.replace(false) {
            if self.stats.waiting.swap(false, Relaxed) {
                log::warn!("writing works again");
            }
            self.storage.retry.notify_waiters();
        }
    }
}

impl Storage {
    /// Whether writing failed last time.
    pub(super) fn is_down(&self) -> bool {
        self.down.get()
    }

    /// Has one connection try.
    pub(super) fn let_one_try(&self) {
        self.retry.notify_one();
    }

    /// Waits until it is this connection's turn to try, or writing works again.
    pub(super) async fn may_try(&self) {
        self.retry.notified().await;
    }
}
