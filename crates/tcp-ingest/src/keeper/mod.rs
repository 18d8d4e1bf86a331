//! The keeper: binds, accepts, holds every descriptor, and sees to it that a worker runs.
//!
//! It never reads from a connection and never touches a file of the tree, so that there is little it could die of. When a
//! [`worker`](crate::worker) dies the connections stay open, the kernel goes on receiving, and the next worker resumes. All
//! that has to outlive a worker is held here, also the data directory as it was at the start, so that no worker takes
//! another folder at that path for it.
//!
//! SIGHUP starts a worker from the binary on disk and, when that is up, has the old one hand over ([`workers`]); SIGUSR2
//! replaces the keeper itself ([`replace`]). SIGTERM and SIGINT: what the kernel has connected is accepted, the worker
//! drains, and all ends ([`stopping`]). When the keeper dies the worker takes what its sources have sent, seals and exits.

mod held;
mod listeners;
mod process;
mod replace;
mod state;
mod stopping;
mod workers;

use std::io;
use std::time::Duration;

use anyhow::Result;
use cli::Outcome;
use sd_notify::NotifyState;
use tokio::time::{Interval, interval, sleep, sleep_until};

use self::held::Connection;
use self::listeners::accepted;
use self::process::{PATIENCE, Worker};
use self::state::{Admission, Keeper, Pending, notify};
use crate::args::Config;
use crate::channel::ToWorker;
use crate::signals::{Request, Signals};

/// How much longer than its time a worker that drains is waited for.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn run(config: Config) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new(|_| true)?;
        let mut keeper = match replace::inventory()? {
            Some(inventory) => {
                let keeper = Keeper::restore(config, inventory)?;
                if std::env::var_os(replace::TRIAL).is_some() {
                    std::process::exit(0);
                }
                log::info!("the keeper was replaced: {} held", cli::count(keeper.held.connections.len(), "connection"));
                keeper
            }
            None => Keeper::new(config)?,
        };
        let _ = rustix::thread::set_name(c"tcp-ingest");
        replace::set_signals_blocked(false);
        keeper.run(&mut signals).await
    })
}

impl Keeper {
    async fn run(&mut self, signals: &mut Signals) -> Result<Outcome> {
        let mut watchdog = sd_notify::watchdog_enabled().map(|every| interval(every / 3));
        loop {
            if let Some(outcome) = self.reap()? {
                return Ok(outcome);
            }
            self.accept_the_rest_if_stopping();
            self.deliver();
            // Only while no worker starts or ends, and the one there is knows all that it has to.
            let nothing_is_under_way = self.worker_serves() && self.pending.is_empty() && self.successor.is_none();
            if self.is_to_be_replaced && nothing_is_under_way {
                if let Some(request) = self.replace(signals).await {
                    self.handle_request(request);
                }
                continue;
            }
            let accepts = self.is_ready && self.held.has_room();
            let (worker, successor) = (self.worker.as_ref(), self.successor.as_ref().map(|(worker, _)| worker));
            let overdue = successor.map(|successor| sleep_until((successor.since + PATIENCE).into()));
            let time_up = self.deadline.map(|deadline| sleep_until((deadline + GRACE).into()));
            tokio::select! {
                request = signals.next() => self.handle_request(request),
                message = if_any(worker.map(Worker::receive)) => self.handle_message(message),
                message = if_any(successor.map(Worker::receive)) => self.handle_successor(&message.0),
                connection = accepted(&self.listeners), if accepts => self.accept(connection).await,
                () = if_any(worker.map(Worker::writable)), if self.worker_serves() && !self.pending.is_empty() => {}
                () = sleep_until(self.start_at.into()), if self.worker.is_none() => self.start_worker(),
                () = if_any(overdue) => self.kill_what_is_overdue(),
                () = if_any(time_up) => return Err(self.give_up()),
                _ = if_any(watchdog.as_mut().map(Interval::tick)) => notify(NotifyState::Watchdog),
            }
        }
    }

    fn handle_request(&mut self, request: Request) {
        match request {
            Request::Stop => self.stop(),
            Request::Upgrade => self.upgrade(),
            Request::Replace => self.is_to_be_replaced = self.deadline.is_none(),
            Request::Report => self.send_later(ToWorker::Report),
            // That is looked for in each turn of the loop.
            Request::Reap => {}
        }
    }

    /// Takes an accepted connection, or waits a little when the system refused one.
    async fn accept(&mut self, connection: io::Result<Connection>) {
        match connection {
            Ok(connection) => {
                if self.admission == Admission::Failing {
                    self.admission = Admission::Open;
                }
                self.add(connection);
                if !self.held.has_room() && std::mem::replace(&mut self.admission, Admission::Full) != Admission::Full {
                    log::warn!("all connections allowed (--max-connections) are in use: more must wait");
                }
            }
            // A peer that was gone before we came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if std::mem::replace(&mut self.admission, Admission::Failing) != Admission::Failing {
                    log::error!("cannot accept connections: {error}; trying again");
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    fn add(&mut self, connection: Connection) {
        let Some(slot) = self.held.add(connection) else { return };
        self.intent_log.clear(slot);
        if self.worker_serves() {
            self.pending.push_back(Pending::Connection(slot));
        }
    }
}

/// What `future` yields; nothing ever, if there is none.
async fn if_any<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
