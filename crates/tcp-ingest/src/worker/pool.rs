//! The threads that serve connections. Each has its own segments, so that nothing is shared on the way of a byte.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{MissedTickBehavior, interval};

use super::closing;
use super::connection::{Connection, Ending};
use super::thread::{Incoming, Stop, Stopping, Thread};
use crate::channel::ToKeeper;
use crate::sealer::Sealer;
use crate::shared::{RETRY, Shared};
use crate::tee::Tee;
use crate::writer::Intake;

pub(super) struct Pool {
    threads: Vec<(UnboundedSender<Incoming>, JoinHandle<()>)>,
    last: usize,
}

impl Pool {
    /// Starts as many threads as are configured and the intent log has rows for.
    pub(super) fn start(shared: &Arc<Shared>, sealer: &Sealer, tee: &Tee, stop: &Stopping) -> anyhow::Result<Self> {
        let start = |row| {
            let (sender, incoming) = unbounded_channel();
            let thread = Thread {
                intake: RefCell::new(Intake::new(shared, sealer.clone(), row)),
                shared: Arc::clone(shared),
                tee: tee.clone(),
                stop: stop.clone(),
                row,
                storage_is_down: Cell::new(false),
                retry: Notify::new(),
            };
            let builder = std::thread::Builder::new().name(format!("serve {row}"));
            let handle = builder.spawn(move || run(thread, incoming)).context("cannot start a thread")?;
            Ok((sender, handle))
        };
        let threads = (0..shared.intent_log.rows.min(shared.config.workers)).map(start);
        Ok(Self { threads: threads.collect::<anyhow::Result<_>>()?, last: 0 })
    }

    pub(super) fn assign(&mut self, connection: Incoming) {
        self.last = (self.last + 1) % self.threads.len().max(1);
        if let Some((thread, _)) = self.threads.get(self.last) {
            let _ = thread.send(connection);
        }
    }

    /// Waits until all threads have ended; false if one of them died.
    pub(super) fn join(self) -> bool {
        let (senders, handles): (Vec<_>, Vec<_>) = self.threads.into_iter().unzip();
        drop(senders);
        handles.into_iter().all(|handle| handle.join().is_ok())
    }
}

/// Serves the connections that come by `incoming` until that is closed and they have ended; then seals.
fn run(thread: Thread, incoming: UnboundedReceiver<Incoming>) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, serve(Rc::new(thread), incoming)),
        Err(error) => thread.shared.fail(format!("cannot start a thread: {error}")),
    }
}

async fn serve(thread: Rc<Thread>, mut incoming: UnboundedReceiver<Incoming>) {
    let ticker = tokio::task::spawn_local(tick(Rc::clone(&thread)));
    let mut connections = JoinSet::new();
    let mut open = true;
    while open || !connections.is_empty() {
        tokio::select! {
            connection = incoming.recv(), if open => match connection {
                Some(connection) => _ = connections.spawn_local(serve_connection(Rc::clone(&thread), connection)),
                None => open = false,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    ticker.abort();
    thread.intake.borrow_mut().writer.seal_from(Duration::ZERO);
}

async fn serve_connection(thread: Rc<Thread>, incoming: Incoming) {
    let (slot, peer, stats) = (incoming.slot, incoming.peer, &thread.shared.stats);
    stats.accepted_connections.fetch_add(u64::from(incoming.new), Relaxed);
    stats.connections.fetch_add(1, Relaxed);
    let ended = async {
        let Some(mut connection) = take_up(&thread, incoming).await? else { return Ok(Ending::HandOver) };
        let ending = connection.run().await?;
        closing::finish(connection, ending).await
    };
    let ended = ended.await;
    stats.connections.fetch_sub(1, Relaxed);
    match ended {
        Ok(ending) => log::debug!("tcp {peer}: over ({ending:?})"),
        // Many sources end like this.
        Err(ref error) if error.kind() == io::ErrorKind::ConnectionReset => log::debug!("tcp {peer}: {error}"),
        Err(ref error) => log::warn!("tcp {peer}: {error}"),
    }
    let lost = match ended {
        Ok(Ending::HandOver) => return,
        Ok(Ending::Lost(bytes)) => bytes,
        // What an error has left unread the keeper counts.
        _ => 0,
    };
    thread.shared.tell_keeper(&ToKeeper::Over { slot, lost }, None);
}

/// Takes a connection up; none if another worker is to. Tries as long as there is time: closed, what it sent would be lost.
async fn take_up(thread: &Rc<Thread>, incoming: Incoming) -> io::Result<Option<Connection>> {
    let mut reported = false;
    loop {
        let error = match Connection::new(Rc::clone(thread), &incoming) {
            Ok(connection) => return Ok(Some(connection)),
            Err(error) => error,
        };
        match thread.stop.now() {
            Stop::HandOver => return Ok(None),
            Stop::Drain { deadline, .. } if deadline <= Instant::now() => return Err(error),
            Stop::Drain { .. } | Stop::No => {}
        }
        if !std::mem::replace(&mut reported, true) {
            log::error!("tcp {}: cannot be read: {error}; trying again", incoming.peer);
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Syncs and seals as time goes by, and lets one connection at a time find out whether the storage works again.
async fn tick(thread: Rc<Thread>) {
    let mut sync = interval((*thread.shared.config.settings.sync_every).max(Duration::from_millis(10)));
    let mut retry = interval(RETRY);
    for interval in [&mut sync, &mut retry] {
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            _ = sync.tick() => {
                check_place(&thread);
                thread.intake.borrow_mut().writer.seal_and_sync();
            }
            _ = retry.tick() => if thread.storage_is_down.get() {
                check_place(&thread);
                thread.retry.notify_one();
            },
        }
    }
}

fn check_place(thread: &Thread) {
    let checked = thread.intake.borrow_mut().writer.check_place();
    match checked {
        Ok(false) => {}
        Ok(true) => thread.storage_works(),
        Err(error) => thread.storage_failed(&error),
    }
}
