//! One worker after the other: after one that died, or in the place of one that is to be replaced.

use std::os::fd::AsFd as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use cli::Outcome;

use super::process::{Binary, PATIENCE, Stage, Worker, describe};
use super::state::{Drained, Goal, Keeper, Readiness, Successor};
use crate::failure::TO_BE_CONTINUED;
use crate::messages::{ToKeeper, ToWorker};

/// A worker that lived shorter than this died at once: the next one waits, longer each time.
const AT_ONCE: Duration = Duration::from_millis(200);

impl Keeper {
    /// Starts a worker. What it has to know is queued when it is up.
    pub(super) fn start_worker(&mut self) {
        self.pending.clear();
        match Worker::start(&self.binary, &self.intent_log, self.data_dir.as_fd()) {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => {
                log::error!("cannot start a worker: {error}; trying again");
                self.back_off();
            }
        }
    }

    /// Puts off the next start: not at all at first, then for longer and longer.
    fn back_off(&mut self) {
        let failures = self.restarts.failures;
        let wait = Duration::from_millis(if failures == 0 { 0 } else { 25 << failures.min(8) });
        self.restarts.start_at = Instant::now() + wait.min(PATIENCE);
        self.restarts.failures += 1;
    }

    /// Starts a worker from the binary on disk, to follow the one that runs.
    pub(super) fn upgrade(&mut self) {
        if self.goal.deadline().is_some() || self.successor.is_some() {
            return;
        }
        let path = &self.binary.path;
        let started = Binary::open(path).and_then(|binary| {
            let worker = Worker::start(&binary, &self.intent_log, self.data_dir.as_fd())?;
            Ok(Successor { worker, binary })
        });
        match started {
            Ok(successor) => self.successor = Some(successor),
            Err(error) => log::error!("{}: cannot be started: {error}; the old worker goes on", path.display()),
        }
    }

    /// Handles what the successor says: only that it is up. Then the old worker has to hand over.
    pub(super) fn handle_successor(&mut self, message: &ToKeeper) {
        if let (ToKeeper::Up, Some(Successor { worker, .. })) = (message, &mut self.successor) {
            worker.stage = Stage::Ready;
            worker.since = Instant::now();
            match &self.worker {
                Some(_) => self.send_later(ToWorker::HandOver),
                None => self.promote(),
            }
        }
    }

    /// Puts the successor in the place of the worker, which has ended.
    fn promote(&mut self) {
        if let Some(Successor { worker, binary }) = self.successor.take() {
            log::info!("the worker was replaced by a new one from {}", binary.path.display());
            (self.worker, self.binary) = (Some(worker), binary);
            self.begin();
        }
    }

    /// The successor does not come up, or the worker does not hand over to it: kills whichever it is.
    pub(super) fn kill_what_is_overdue(&mut self) {
        let Some(Successor { worker: successor, .. }) = &mut self.successor else { return };
        if let Some(worker) = self.worker.as_ref().filter(|_| successor.stage == Stage::Ready) {
            log::warn!("the old worker does not hand over; it is killed");
            worker.kill();
        } else {
            log::error!("the new worker does not come up; it is killed");
            successor.kill();
        }
        successor.since = Instant::now();
    }

    /// Looks which worker has ended, and does what follows from it. Returns how all of it went, if that was the end.
    pub(super) fn reap(&mut self) -> anyhow::Result<Option<Outcome>> {
        self.reap_successor();
        let Some(status) = self.worker.as_ref().and_then(Worker::ended) else { return Ok(None) };
        let Some(worker) = self.worker.take() else { return Ok(None) };
        if let Goal::Stop { worker, .. } = &mut self.goal
            && status.code().is_some_and(|code| ![0, TO_BE_CONTINUED].contains(&code))
        {
            *worker = Drained::Failed;
        }
        self.handle_remaining_messages(&worker);
        if self.readiness == Readiness::Starting && status.code().is_some() {
            // It has said what is wrong.
            return Err(cli::Reported.into());
        }
        if let Some(outcome) = self.outcome(status)? {
            return Ok(Some(outcome));
        }
        if self.successor_waits() {
            self.promote();
        } else {
            self.restart_after(&worker, status);
        }
        Ok(None)
    }

    fn reap_successor(&mut self) {
        if let Some(status) = self.successor.as_ref().and_then(|successor| successor.worker.ended()) {
            self.successor = None;
            let what = describe(status);
            log::error!("the new worker {what} before it could take over; the old one goes on: mend the new program");
        }
    }

    fn restart_after(&mut self, worker: &Worker, status: ExitStatus) {
        if worker.since.elapsed() >= AT_ONCE {
            self.restarts.failures = 0;
        }
        if status.code().is_some() {
            self.intent_log.clear_turns();
        }
        log::error!(
            "the worker {}; the next one resumes where it was ({} held)",
            describe(status),
            cli::count(self.held.connections.len(), "connection")
        );
        self.back_off();
    }
}
