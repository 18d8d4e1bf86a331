//! One thread that serves connections. It has its own segments, so that nothing is shared on the way of a byte.

use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{MissedTickBehavior, interval};

use super::closing;
use super::connection::{Connection, Ending};
use super::serving::{Incoming, Seed, Thread};
use crate::messages::ToKeeper;

/// How often the storage is tried while it refuses.
const RETRY: Duration = Duration::from_millis(200);

/// Serves the connections that come by `incoming` until that is closed and they have ended; then seals.
pub(super) fn run(seed: Seed, incoming: mpsc::UnboundedReceiver<Incoming>) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, serve(Thread::new(seed), incoming)),
        Err(error) => seed.shared.failure.report(format!("cannot start a thread: {error}")),
    }
}

async fn serve(thread: Thread, mut incoming: mpsc::UnboundedReceiver<Incoming>) {
    let thread = Rc::new(thread);
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
    thread.intake.borrow_mut().writer.seal_all();
}

/// Serves a connection to its end, or until another worker goes on with it.
async fn serve_connection(thread: Rc<Thread>, incoming: Incoming) {
    let (slot, peer) = (incoming.slot, incoming.peer);
    thread.stats.connections.fetch_add(1, Relaxed);
    let ended = run_and_finish(Rc::clone(&thread), incoming).await;
    thread.stats.connections.fetch_sub(1, Relaxed);
    match ended {
        Ok(ending) => log::debug!("tcp {peer}: over ({ending:?})"),
        // Many sources end like this.
        Err(ref error) if error.kind() == io::ErrorKind::ConnectionReset => log::debug!("tcp {peer}: {error}"),
        Err(ref error) => log::warn!("tcp {peer}: {error}"),
    }
    let lost = match ended {
        Ok(Ending::HandOver) => return,
        Ok(Ending::Lost(bytes)) => bytes,
        _ => 0,
    };
    thread.keeper.send(&ToKeeper::Over { slot, lost }, None);
}

async fn run_and_finish(thread: Rc<Thread>, incoming: Incoming) -> io::Result<Ending> {
    let mut connection = Connection::new(thread, incoming)?;
    let ending = connection.run().await?;
    closing::finish(connection, ending).await
}

/// Syncs and seals as time goes by, and lets one connection at a time find out whether the storage works again.
async fn tick(thread: Rc<Thread>) {
    let mut sync = interval(thread.config.sync_every.max(Duration::from_millis(10)));
    let mut retry = interval(RETRY);
    for interval in [&mut sync, &mut retry] {
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            _ = sync.tick() => {
                check_place(&thread);
                let writer = &mut thread.intake.borrow_mut().writer;
                writer.seal_old();
                writer.sync();
            }
            _ = retry.tick() => if thread.storage.is_down() {
                if thread.intake.borrow().writer.is_misplaced() {
                    check_place(&thread);
                }
                thread.storage.let_one_try();
            },
        }
    }
}

/// Checks whether the tree is where it was.
fn check_place(thread: &Thread) {
    let checked = thread.intake.borrow_mut().writer.check_place();
    match checked {
        Ok(false) => {}
        Ok(true) => thread.storage_works(),
        Err(error) => thread.storage_failed(&error),
    }
}
