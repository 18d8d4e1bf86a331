//! The end: the worker drains, and what it could not take in its time is named.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use cli::Outcome;
use sd_notify::NotifyState;

use super::process::describe;
use super::state::{Drained, Goal, Keeper, notify};
use crate::failure::report_loss;
use crate::messages::ToWorker;
use crate::socket;

/// How long to wait for a worker that was killed: one that waits for a disk cannot be killed.
const KILLED: Duration = Duration::from_secs(1);

impl Keeper {
    /// Begins to stop.
    pub(super) fn stop(&mut self) {
        if self.goal.deadline().is_none() {
            notify(&[NotifyState::Stopping]);
            self.goal = Goal::Stop { deadline: Instant::now() + self.config.drain_timeout, worker: Drained::Well };
            if self.worker_serves() {
                self.send_drain();
            }
        }
    }

    /// Has the worker drain in the time that is left.
    pub(super) fn send_drain(&mut self) {
        let time = self.goal.deadline().map_or(Duration::ZERO, |end| end.saturating_duration_since(Instant::now()));
        self.send_later(ToWorker::Drain { millis: u64::try_from(time.as_millis()).unwrap_or(u64::MAX) });
    }

    /// How all of it went, if nothing is left to do for a worker after the one that ended with `status`.
    pub(super) fn outcome(&self, status: ExitStatus) -> Result<Option<Outcome>> {
        let Goal::Stop { worker, .. } = self.goal else { return Ok(None) };
        if !self.held.is_empty() || !self.listeners.is_empty() {
            return Ok(None);
        }
        if !self.lost.is_empty() {
            bail!("{}", self.lost);
        }
        match (worker, status.code()) {
            (Drained::Well, Some(0)) => Ok(Some(Outcome::Done)),
            (_, Some(_)) => Err(cli::Reported.into()),
            (_, None) => bail!("the worker {} at the very end", describe(status)),
        }
    }

    /// The time to drain, and more, is up: names all that is lost, also of connections that nobody has accepted yet.
    pub(super) fn give_up(&mut self) -> Result<Option<Outcome>> {
        if let Some(worker) = self.worker.take() {
            worker.kill();
            worker.wait_until_ended(KILLED);
            self.handle_remaining_messages(&worker);
        }
        let not_accepted =
            self.listeners.iter().flat_map(|listener| std::iter::from_fn(|| listener.accept_now().ok()?));
        for connection in not_accepted.chain(std::mem::take(&mut self.held.connections).into_values()) {
            let stream = self.config.streams.get(connection.stream).map_or("", |stream| stream.name.as_str());
            let bytes = socket::queued(&connection.socket).unwrap_or_default();
            report_loss(stream, connection.peer, bytes);
            self.lost.add(bytes);
        }
        if let segments @ 1.. = self.held.segments.len() {
            log::error!("not sealed, and open until the next start: {}", cli::count(segments, "segment"));
        }
        if !self.lost.is_empty() {
            bail!("{}", self.lost);
        }
        bail!("the worker did not end in time (--drain-timeout); nothing that the kernel has received is lost")
    }
}
