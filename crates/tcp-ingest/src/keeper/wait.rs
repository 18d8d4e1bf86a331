//! What the keeper waits for: for ever, where there is nothing to wait for.

use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::task::Poll;
use std::time::Instant;

use tokio::time::sleep_until;

use super::held;
use super::listeners::Listener;
use super::process::Worker;
use super::{GRACE, PATIENCE};
use crate::channel::ToKeeper;

pub(super) async fn said(worker: Option<&Worker>) -> (ToKeeper, Option<OwnedFd>) {
    match worker {
        Some(worker) => worker.receive().await,
        None => pending().await,
    }
}

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

pub(super) async fn listens(worker: Option<&Worker>) {
    match worker {
        Some(worker) => worker.listens().await,
        None => pending().await,
    }
}

pub(super) async fn overdue(next: Option<&Worker>) {
    match next {
        Some(next) => sleep_until((next.started + PATIENCE).into()).await,
        None => pending().await,
    }
}

pub(super) async fn time_up(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until((deadline + GRACE).into()).await,
        None => pending().await,
    }
}

pub(super) async fn tick(watchdog: &mut Option<tokio::time::Interval>) {
    match watchdog {
        Some(watchdog) => _ = watchdog.tick().await,
        None => pending().await,
    }
}
