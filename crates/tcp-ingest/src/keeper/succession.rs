//! Who comes next: another worker after one that died or is to be replaced, another keeper after this one.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::process::{Binary, Worker};
use super::signals::{Asked, Signals};
use super::{Keeper, PATIENCE, Untold, replace};
use crate::channel::{ToKeeper, ToWorker};

impl Keeper {
    /// Starts a worker. What it is told first is queued when it is up.
    pub(super) fn start(&mut self) {
        self.untold.clear();
        self.closed = false;
        match Worker::start(&self.binary, &self.note, self.data_dir.as_fd()) {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => {
                log::error!("cannot start a worker: {error}; trying again");
                self.back_off();
            }
        }
    }

    /// Puts off the next start: not at all at first, then for longer and longer.
    pub(super) fn back_off(&mut self) {
        let wait = Duration::from_millis(if self.failures == 0 { 0 } else { 25 << self.failures.min(8) });
        self.start_at = Instant::now() + wait.min(PATIENCE);
        self.failures += 1;
    }

    /// Takes note of what the one that is to follow says.
    pub(super) fn hear_next(&mut self, message: &ToKeeper) {
        if let (ToKeeper::Up, Some((next, _))) = (message, &mut self.next) {
            next.up = true;
            next.started = Instant::now();
            match &self.worker {
                Some(_) => self.untold.push_back(Untold::Message(ToWorker::HandOver)),
                None => self.promote(),
            }
        }
    }

    /// Starts a worker from the binary on disk, to follow the one that runs.
    pub(super) fn upgrade(&mut self) {
        if self.deadline.is_some() || self.next.is_some() {
            return;
        }
        let path = &self.binary.path;
        match Binary::open(path)
            .and_then(|binary| Ok((Worker::start(&binary, &self.note, self.data_dir.as_fd())?, binary)))
        {
            Ok(next) => self.next = Some(next),
            Err(error) => log::error!("{}: cannot be started: {error}; the old worker goes on", path.display()),
        }
    }

    /// Puts the new worker in the place of the old one, which has ended.
    pub(super) fn promote(&mut self) {
        if let Some((next, binary)) = self.next.take() {
            log::info!("the worker was replaced by a new one from {}", binary.path.display());
            (self.worker, self.binary) = (Some(next), binary);
            self.closed = false;
            self.begin();
        }
    }

    /// A new worker does not come up, or the old one does not hand over.
    pub(super) fn hurry(&mut self) {
        let Some((next, _)) = &mut self.next else { return };
        if let Some(worker) = self.worker.as_ref().filter(|_| next.up) {
            log::warn!("the old worker does not hand over; it is killed");
            worker.kill();
        } else {
            log::error!("the new worker does not come up; it is killed");
            next.kill();
        }
        next.started = Instant::now();
    }

    /// Whether no worker starts or ends, and the one there is knows all that it has to.
    pub(super) fn can_be_replaced(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.begun) && self.untold.is_empty() && self.next.is_none()
    }

    /// Has another keeper, from the binary on disk, take this one's place. Returns only if that failed, or must wait for
    /// what was asked in the same moment.
    pub(super) async fn replace(&mut self, signals: &mut Signals) -> Option<Asked> {
        // Signals from here on wait for the new keeper; those before are for this one. It looks at its workers itself.
        let _blocked = replace::block_signals();
        let prepared = replace::prepare(self).await;
        let before = async {
            loop {
                match signals.next().await {
                    Asked::Look => {}
                    asked => return asked,
                }
            }
        };
        let asked = tokio::select! {
            biased;
            asked = before => Some(asked),
            () = sleep(Duration::from_millis(1)) => {
                self.to_be_replaced = false;
                let error = prepared.map_or_else(|error| error, replace::Ready::go);
                log::error!("the keeper cannot be replaced: {error:#}; it goes on");
                None
            }
        };
        if let Err(error) = replace::pass_on(self, false) {
            log::error!("a bug: what is held cannot be kept from workers: {error}");
        }
        asked
    }
}
