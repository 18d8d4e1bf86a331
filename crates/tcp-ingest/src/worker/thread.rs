//! What the connections of one thread share: its segments, its part of the intent log, and whether the storage works.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::Notify;

use super::stop::{Stop, Stopping};
use crate::shared::Shared;
use crate::tee::Tee;
use crate::writer::Intake;

/// A connection on its way to a thread.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) socket: TcpStream,
    /// Where the keeper holds it.
    pub(super) slot: u32,
    pub(super) stream: usize,
    pub(super) peer: SocketAddr,
    /// No worker had it before.
    pub(super) new: bool,
}

pub(super) struct Thread {
    pub(super) shared: Arc<Shared>,
    pub(super) tee: Tee,
    pub(super) stop: Stopping,
    /// Which row of the intent log is its own.
    pub(super) row: usize,
    pub(super) intake: RefCell<Intake>,
    /// Writing failed last time.
    pub(super) storage_is_down: Cell<bool>,
    /// Wakes one connection to try to write again, or all of them when it works.
    pub(super) retry: Notify,
}

impl Thread {
    /// Writing failed: reports it once, also when several threads meet it.
    pub(super) fn storage_failed(&self, error: &layout::Error) {
        let is_known = self.storage_is_down.replace(true) || self.shared.stats.waiting.swap(true, Relaxed);
        match self.stop.now() {
            _ if is_known => log::debug!("{error}; still waiting"),
            Stop::No => log::error!(
                "{error}; reading waits and the sources are held; nothing is lost as long as the program runs"
            ),
            _ => log::error!("{error}; reading waits until the time to drain (--drain-timeout) is up"),
        }
    }

    pub(super) fn storage_works(&self) {
        if self.storage_is_down.replace(false) {
            if self.shared.stats.waiting.swap(false, Relaxed) {
                log::warn!("writing works again");
            }
            self.retry.notify_waiters();
        }
    }
}
