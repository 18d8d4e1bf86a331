//! What the connections of one thread share: whether to stop, its segments, and whether the storage works.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::shared::Shared;
use crate::tee::Tee;
use crate::writer::Intake;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    No,
    /// When what the sources have sent is taken.
    Drain {
        /// When a source that still sends is cut off.
        last_call: Instant,
        /// When reading ends. What the kernel has received by then and nobody has read is lost.
        deadline: Instant,
    },
    /// At once: another worker goes on.
    HandOver,
}

impl Stop {
    /// A drain. A tenth of its time, a second at most, is for writing what the kernel has received until the last call.
    pub(super) fn drain(time: Duration) -> Self {
        let deadline = Instant::now() + time;
        let kept = (time / 10).min(Duration::from_secs(1));
        Self::Drain { last_call: deadline.checked_sub(kept).unwrap_or(deadline), deadline }
    }
}

/// The decision. Only values leave this: if a guard of the channel's lock lived on while the same thread reads it again, a
/// sender that waits in between for that guard would be waited for, too.
#[derive(Debug, Clone)]
pub(super) struct Stopping(watch::Receiver<Stop>);

impl Stopping {
    /// Both ends; nothing is to stop until the sender says so.
    pub(super) fn channel() -> (watch::Sender<Stop>, Self) {
        let (sender, receiver) = watch::channel(Stop::No);
        (sender, Self(receiver))
    }

    pub(super) fn now(&self) -> Stop {
        *self.0.borrow()
    }

    /// Waits until there is a decision how to stop.
    pub(super) async fn begun(&self) -> Stop {
        let mut receiver = self.0.clone();
        let begun = receiver.wait_for(|stop| *stop != Stop::No).await.map(|stop| *stop);
        // Without a sender there will be none.
        if let Ok(stop) = begun { stop } else { pending().await }
    }
}

#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) socket: TcpStream,
    pub(super) slot: u32,
    pub(super) stream: usize,
    pub(super) peer: SocketAddr,
    pub(super) new: bool,
}

pub(super) struct Thread {
    pub(super) shared: Arc<Shared>,
    pub(super) tee: Tee,
    pub(super) stop: Stopping,
    /// Which row of the intent log is its own.
    pub(super) row: usize,
    pub(super) intake: RefCell<Intake>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_decision_can_be_read_again_while_another_one_is_about_to_be_sent() {
        let (sender, stopping) = Stopping::channel();
        sender.send(Stop::HandOver).unwrap();
        tokio::select! {
            biased;
            stop = stopping.begun() => {
                let sending = std::thread::spawn(move || sender.send_if_modified(|stop| *stop == Stop::No));
                std::thread::sleep(Duration::from_millis(20));
                assert_eq!(stopping.now(), stop);
                assert!(!sending.join().unwrap());
            }
        }
    }
}
