//! What the keeper sends to its worker, and what it does with what the worker says.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use sd_notify::NotifyState;

use super::process::{Stage, Worker};
use super::state::{Admission, Keeper, Pending, Readiness, notify};
use crate::messages::{ToKeeper, ToWorker};

impl Keeper {
    /// Queues a message.
    pub(super) fn send_later(&mut self, message: ToWorker) {
        self.pending.push_back(Pending::Message(message));
    }

    /// Queues all that there is, for a worker that knows nothing.
    pub(super) fn begin(&mut self) {
        self.pending.clear();
        self.pending.extend(self.held.segments.keys().cloned().map(Pending::Segment));
        self.pending.extend(self.held.connections.keys().copied().map(Pending::Connection));
        self.send_later(ToWorker::Begin);
        if self.goal.deadline().is_some() {
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
                Pending::End => {
                    worker.close();
                    Ok(())
                }
            };
            match sent {
                Ok(()) => _ = self.pending.pop_front(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&error.kind()) => {
                    // It is dead, and the next one gets everything.
                    return self.pending.clear();
                }
                Err(error) => {
                    log::error!("cannot hand a descriptor to the worker: {error}; starting another one");
                    worker.kill();
                    return self.pending.clear();
                }
            }
        }
    }

    /// Does what a message of the worker asks for.
    pub(super) fn handle_message(&mut self, (message, descriptor): (ToKeeper, Option<OwnedFd>)) {
        match (message, descriptor) {
            (ToKeeper::Up, _) => self.worker_is_up(),
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
            (ToKeeper::Unsynced { name }, _) => self.held.mark_unsynced(&name),
            (ToKeeper::Over { slot, lost }, _) => {
                self.held.release(slot);
                self.lost.add(lost);
                // Reported again only when that is over, not each time the last slot is taken.
                if self.admission == Admission::Full && self.held.has_plenty() {
                    self.admission = Admission::Open;
                }
            }
        }
    }

    /// Handles what a worker that has ended had said before.
    pub(super) fn handle_remaining_messages(&mut self, worker: &Worker) {
        for message in worker.remaining_messages() {
            if !matches!(message.0, ToKeeper::Up) {
                self.handle_message(message);
            }
        }
    }

    fn worker_is_up(&mut self) {
        self.begin();
        match std::mem::replace(&mut self.readiness, Readiness::Ready) {
            Readiness::Ready => log::info!("a new worker took over"),
            Readiness::Starting => {
                log::info!("ready; signals are for the keeper, process {}", std::process::id());
                notify(&[NotifyState::Ready]);
            }
        }
    }
}
