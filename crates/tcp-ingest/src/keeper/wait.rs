//! What the keeper waits for. Where there is nothing to wait for, that never ends.

use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::held;
use super::listeners::Listener;
use super::process::{PATIENCE, Worker};
use crate::messages::ToKeeper;

/// How much longer than its time a worker that drains is waited for.
const GRACE: Duration = Duration::from_secs(5);

/// The next message of a worker.
pub(super) async fn next_message(worker: Option<&Worker>) -> (ToKeeper, Option<OwnedFd>) {
    match worker {
        Some(worker) => worker.receive().await,
        None => pending().await,
    }
}

/// A connection was made.
pub(super) async fn accepted(listeners: &[Listener]) -> io::Result<held::Connection> {
    poll_fn(|context| {
        for listener in listeners {
            if let Poll::Ready(connection) = listener.poll_accept(context) {
                return Poll::Ready(connection);
            }
        }
        Poll::Pending
    })
    .await
}

/// A worker may be able to take a message again.
pub(super) async fn writable(worker: Option<&Worker>) {
    match worker {
        Some(worker) => worker.writable().await,
        None => pending().await,
    }
}

/// A successor should have come up, or taken over.
pub(super) async fn overdue(successor: Option<&Worker>) {
    match successor {
        Some(successor) => sleep_until((successor.since + PATIENCE).into()).await,
        None => pending().await,
    }
}

/// The time to drain, and more, is up.
pub(super) async fn time_up(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until((deadline + GRACE).into()).await,
        None => pending().await,
    }
}

/// The service manager wants to know that this process lives.
pub(super) async fn tick(watchdog: &mut Option<tokio::time::Interval>) {
    match watchdog {
        Some(watchdog) => _ = watchdog.tick().await,
        None => pending().await,
    }
}
