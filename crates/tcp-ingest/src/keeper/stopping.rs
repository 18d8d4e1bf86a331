//! The end: what the kernel has connected is accepted, the worker drains, and what it could not take in its time is named.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use cli::Outcome;
use sd_notify::NotifyState;

use super::process::Stage;
use super::state::{Keeper, Pending, notify};
use crate::channel::ToWorker;
use crate::losses::TIME_UP;
use crate::socket;

/// How long to wait for a worker that was killed: one that waits for a disk cannot be killed.
const KILLED: Duration = Duration::from_secs(1);

impl Keeper {
    pub(super) fn stop(&mut self) {
        if self.deadline.is_none() {
            notify(NotifyState::Stopping);
            self.deadline = Some(Instant::now() + *self.config.settings.drain_timeout);
            self.is_to_be_replaced = false;
            if self.worker_serves() {
                self.send_drain();
            }
        }
    }

    pub(super) fn send_drain(&mut self) {
        let time = self.deadline.map_or(Duration::ZERO, |end| end.saturating_duration_since(Instant::now()));
        self.send_later(ToWorker::Drain { millis: u64::try_from(time.as_millis()).unwrap_or(u64::MAX) });
    }

    /// When it is to stop: accepts what the kernel has connected, as far as there are slots, then closes the listeners.
    pub(super) fn accept_the_rest_if_stopping(&mut self) {
        if self.deadline.is_none() {
            return;
        }
        while let Some(listener) = self.listeners.last().filter(|_| self.held.has_room()) {
            match listener.accept_now() {
                Ok(Some(connection)) => self.add(connection),
                Ok(None) => _ = self.listeners.pop(),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => return,
            }
        }
        if self.listeners.is_empty()
            && let Some(worker) = self.worker.as_mut().filter(|worker| worker.stage == Stage::Serving)
        {
            worker.stage = Stage::Closed;
            self.pending.push_back(Pending::End);
        }
    }

    /// How all of it went, if nothing is left to do for a worker after the one that ended with `status`.
    pub(super) fn outcome(&self, status: ExitStatus) -> Result<Option<Outcome>> {
        if self.deadline.is_none() || !self.held.is_empty() || !self.listeners.is_empty() {
            return Ok(None);
        }
        if !self.lost.is_empty() {
            bail!("{}", self.lost);
        }
        match status.code() {
            Some(0) if !self.draining_failed => Ok(Some(Outcome::Done)),
            Some(_) => Err(cli::Reported.into()),
            None => bail!("the worker ended at the very end ({status})"),
        }
    }

    /// The time to drain, and more, is up: names all that is lost, also of connections that nobody has accepted yet.
    pub(super) fn give_up(&mut self) -> anyhow::Error {
        if let Some(worker) = self.worker.take() {
            worker.kill();
            let start = Instant::now();
            while worker.ended().is_none() && start.elapsed() < KILLED {
                std::thread::sleep(Duration::from_millis(5));
            }
            self.handle_remaining_messages(&worker);
        }
        let not_accepted =
            self.listeners.iter().flat_map(|listener| std::iter::from_fn(|| listener.accept_now().ok()?));
        for connection in not_accepted.chain(std::mem::take(&mut self.held.connections).into_values()) {
            let bytes = socket::queued(&connection.socket).unwrap_or_default();
            self.lost.report(self.config.stream_name(connection.stream), connection.peer, bytes, TIME_UP);
        }
        if let segments @ 1.. = self.held.segments.len() {
            log::error!("not sealed, and open until the next start: {}", cli::count(segments, "segment"));
        }
        if self.lost.is_empty() {
            anyhow!("the worker did not end in time (--drain-timeout); nothing that the kernel has received is lost")
        } else {
            anyhow!("{}", self.lost)
        }
    }
}
