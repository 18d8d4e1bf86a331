//! The threads that serve connections.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};

use super::keeper_link::KeeperLink;
use super::serving::{Incoming, Seed};
use super::stop::{Stop, Stopping};
use super::thread;
use crate::shared::Shared;
use crate::stats::Stats;

/// The threads, and the way to them.
pub(super) struct Pool {
    threads: Vec<mpsc::UnboundedSender<Incoming>>,
    handles: Vec<JoinHandle<()>>,
    /// The thread that got the last connection.
    last: usize,
    stop: watch::Sender<Stop>,
    stats: Arc<Stats>,
}

impl Pool {
    /// Starts as many threads as are configured and the intent log has rows for.
    pub(super) fn start(shared: &Shared, keeper: &KeeperLink) -> anyhow::Result<Self> {
        let (stop, stopping) = Stopping::channel();
        let stats = Arc::clone(&shared.stats);
        let mut pool = Self { threads: Vec::new(), handles: Vec::new(), last: 0, stop, stats };
        for number in 0..keeper.intent_log.rows().min(shared.config.workers) {
            let (sender, incoming) = mpsc::unbounded_channel();
            let seed = Seed {
                shared: shared.clone(),
                stop: stopping.clone(),
                keeper: keeper.sender.clone(),
                intent_log: Arc::clone(&keeper.intent_log),
                number,
            };
            let builder = std::thread::Builder::new().name(format!("serve {number}"));
            let handle = builder.spawn(move || thread::run(seed, incoming)).context("cannot start a thread")?;
            pool.threads.push(sender);
            pool.handles.push(handle);
        }
        Ok(pool)
    }

    /// Has the next thread serve a connection.
    pub(super) fn assign(&mut self, connection: Incoming) {
        self.stats.accepted_connections.fetch_add(u64::from(connection.new), Relaxed);
        self.last = (self.last + 1) % self.threads.len().max(1);
        if let Some(thread) = self.threads.get(self.last) {
            let _ = thread.send(connection);
        }
    }

    /// Has all threads stop like this.
    pub(super) fn stop(&self, how: Stop) {
        let _ = self.stop.send(how);
    }

    /// Has all threads stop like this, unless they were told before how to stop; returns whether they were not.
    pub(super) fn stop_if_nobody_did(&self, how: Stop) -> bool {
        self.stop.send_if_modified(|stop| {
            let first = *stop == Stop::No;
            if first {
                *stop = how;
            }
            first
        })
    }

    /// Waits until all threads have ended; false if one of them died.
    pub(super) async fn join(self) -> bool {
        drop(self.threads);
        let join = || self.handles.into_iter().all(|thread| thread.join().is_ok());
        tokio::task::spawn_blocking(join).await.unwrap_or(false)
    }
}
