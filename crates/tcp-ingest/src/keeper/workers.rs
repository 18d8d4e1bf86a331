//! Starting workers, one after another or in another one's place; what they are sent, and what is done with what they say.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use cli::Outcome;
use rustix::net::{Shutdown, shutdown};
use sd_notify::NotifyState;

use super::process::{Binary, PATIENCE, Stage, Worker};
use super::state::{Admission, Keeper, Pending, notify};
use crate::channel::{ToKeeper, ToWorker, is_dead};
use crate::losses::TO_BE_CONTINUED;
use crate::socket;

/// A worker that lived shorter than this died at once: the next one waits, longer each time.
const AT_ONCE: Duration = Duration::from_millis(200);

impl Keeper {
    /// Starts a worker. What it has to know is queued when it is up.
    pub(super) fn start_worker(&mut self) {
        self.pending.clear();
        match Worker::start(&self.binary, &self.intent_log, self.data_dir.as_fd(), false) {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => {
                log::error!("cannot start a worker: {error}; trying again");
                self.back_off();
            }
        }
    }

    /// Puts off the next start: not at all at first, then for longer and longer.
    fn back_off(&mut self) {
        let wait = Duration::from_millis(if self.failures == 0 { 0 } else { 25 << self.failures.min(8) });
        self.start_at = Instant::now() + wait.min(PATIENCE);
        self.failures += 1;
    }

    /// Starts a worker from the binary on disk, to follow the one that runs.
    pub(super) fn upgrade(&mut self) {
        if self.deadline.is_some() || self.successor.is_some() {
            return;
        }
        let path = &self.binary.path;
        let started = Binary::open(path)
            .and_then(|binary| Ok((Worker::start(&binary, &self.intent_log, self.data_dir.as_fd(), true)?, binary)));
        match started {
            Ok(successor) => self.successor = Some(successor),
            Err(error) => log::error!("{}: cannot be started: {error}; the old worker goes on", path.display()),
        }
    }

    /// Handles what the successor says: only that it is up. Then the old worker has to hand over.
    pub(super) fn handle_successor(&mut self, message: &ToKeeper) {
        if let (ToKeeper::Up, Some((worker, _))) = (message, &mut self.successor) {
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
        if let Some((worker, binary)) = self.successor.take() {
            log::info!("the worker was replaced by a new one from {}", binary.path.display());
            (self.worker, self.binary) = (Some(worker), binary);
            self.begin();
        }
    }

    /// The successor does not come up, or the worker does not hand over to it: kills whichever it is.
    pub(super) fn kill_what_is_overdue(&mut self) {
        let Some((successor, _)) = &mut self.successor else { return };
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
        if let Some(status) = self.successor.as_ref().and_then(|(worker, _)| worker.ended()) {
            self.successor = None;
            log::error!(
                "the new worker ended ({status}) before it could take over; the old one goes on: mend the new program or stream file"
            );
        }
        let Some(status) = self.worker.as_ref().and_then(Worker::ended) else { return Ok(None) };
        let Some(worker) = self.worker.take() else { return Ok(None) };
        let failed = status.code().is_some_and(|code| ![0, TO_BE_CONTINUED].contains(&code));
        self.draining_failed |= failed && self.deadline.is_some();
        self.handle_remaining_messages(&worker);
        if !self.is_ready && status.code().is_some() {
            // It has said what is wrong.
            return Err(cli::Reported.into());
        }
        if let Some(outcome) = self.outcome(status)? {
            return Ok(Some(outcome));
        }
        if self.successor_waits() {
            self.promote();
            return Ok(None);
        }
        if worker.since.elapsed() >= AT_ONCE {
            self.failures = 0;
        }
        if status.code().is_some() {
            self.intent_log.clear_turns();
        }
        log::error!(
            "the worker ended ({status}); the next one resumes where it was ({} held)",
            cli::count(self.held.connections.len(), "connection")
        );
        self.back_off();
        Ok(None)
    }

    pub(super) fn send_later(&mut self, message: ToWorker) {
        self.pending.push_back(Pending::Message(message));
    }

    /// Queues all that there is, for a worker that knows nothing.
    pub(super) fn begin(&mut self) {
        self.pending.clear();
        self.pending.extend(self.held.segments.keys().cloned().map(Pending::Segment));
        self.pending.extend(self.held.connections.keys().copied().map(Pending::Connection));
        self.send_later(ToWorker::Begin);
        if self.deadline.is_some() {
            self.send_drain();
        } else if self.successor_waits() {
            self.send_later(ToWorker::HandOver);
        }
        if let Some(worker) = &mut self.worker {
            worker.stage = Stage::Serving;
        }
    }

    /// Sends what is pending, as much of it as the worker can take now.
    pub(super) fn deliver(&mut self) {
        let Some(worker) = self.worker.as_ref().filter(|worker| worker.stage >= Stage::Serving) else { return };
        while let Some(pending) = self.pending.front() {
            let sent = match pending {
                Pending::Connection(slot) => self.held.connections.get_mut(slot).map_or(Ok(()), |held| {
                    let (slot, stream, peer, new) = (*slot, held.stream, held.peer, held.new);
                    worker
                        .send(&ToWorker::Connection { slot, stream, peer, new }, Some(held.socket.as_fd()))
                        .inspect(|()| held.new = false)
                }),
                Pending::Segment(name) => self.held.segments.get(name).map_or(Ok(()), |(file, segment)| {
                    worker.send(&ToWorker::Segment { segment: segment.clone() }, Some(file.as_fd()))
                }),
                Pending::Message(message) => worker.send(message, None),
                Pending::End => shutdown(worker.channel.get_ref(), Shutdown::Write).map_err(io::Error::from),
            };
            match sent {
                Ok(()) => _ = self.pending.pop_front(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It is dead, and the next one gets everything.
                Err(error) if is_dead(&error) => return self.pending.clear(),
                Err(error) => {
                    log::error!("cannot hand a descriptor to the worker: {error}; starting another one");
                    worker.kill();
                    return self.pending.clear();
                }
            }
        }
    }

    pub(super) fn handle_message(&mut self, (message, descriptor): (ToKeeper, Option<OwnedFd>)) {
        match (message, descriptor) {
            (ToKeeper::Up, _) => {
                self.begin();
                if std::mem::replace(&mut self.is_ready, true) {
                    log::info!("a new worker took over");
                } else {
                    log::info!("ready; signals are for the keeper, process {}", std::process::id());
                    notify(NotifyState::Ready);
                }
            }
            (ToKeeper::Opened { name, segment }, Some(file)) => {
                self.held.segments.insert(name, (file, segment));
            }
            (ToKeeper::Moved { name }, Some(file)) => {
                if let Some(held) = self.held.segments.get_mut(&name) {
                    held.0 = file;
                }
            }
            (ToKeeper::Opened { name, .. } | ToKeeper::Moved { name }, None) => {
                log::error!("a bug: segment {name} came without its file");
            }
            (ToKeeper::Sealed { name }, _) => _ = self.held.segments.remove(&name),
            // The next worker finds it in what it gets of the segment.
            (ToKeeper::Unsynced { name }, _) => {
                if let Some((_, segment)) = self.held.segments.get_mut(&name) {
                    segment["unsynced"] = true.into();
                }
            }
            (ToKeeper::Over { slot, lost }, _) => self.end(slot, lost),
        }
    }

    pub(super) fn handle_remaining_messages(&mut self, worker: &Worker) {
        for message in worker.remaining_messages() {
            if !matches!(message.0, ToKeeper::Up) {
                self.handle_message(message);
            }
        }
    }

    /// Closes a connection that the worker is done with; `lost` bytes of it are lost, which the worker has named.
    fn end(&mut self, slot: u32, lost: u64) {
        let Some(connection) = self.held.release(slot) else { return };
        self.lost.add(lost);
        if lost == 0 {
            // The worker has taken all that was acknowledged, unless it met an error.
            let unread = socket::queued(&connection.socket).unwrap_or_default();
            let stream = self.config.stream_name(connection.stream);
            self.lost.report(stream, connection.peer, unread, "the worker could not read it");
        }
        socket::end(&connection.socket);
        // Reported again only after a tenth of the slots was free, not each time the last one is taken.
        if self.admission == Admission::Full && self.held.connections.len() < self.held.slots() / 10 * 9 {
            self.admission = Admission::Open;
        }
    }
}
