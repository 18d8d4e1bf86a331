//! The keeper's loop: waits for whatever comes first, and does what that asks for.

use std::time::Duration;

use anyhow::Result;
use cli::Outcome;
use sd_notify::NotifyState;
use tokio::time::{Interval, interval, sleep_until};

use super::process::{PATIENCE, Worker};
use super::signals::{Request, Signals};
use super::state::{Goal, Keeper, notify};
use super::wait::{accepted, if_any};
use super::{inventory, replace};
use crate::args::Config;
use crate::messages::ToWorker;

/// How much longer than its time a worker that drains is waited for.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the keeper to its end.
pub(crate) fn run(config: Config) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let mut keeper = match inventory::inherited()? {
            Some(inherited) => {
                let keeper = Keeper::restore(config, inherited)?;
                if inventory::is_trial() {
                    std::process::exit(0);
                }
                log::info!("the keeper was replaced: {} held", cli::count(keeper.held.connections.len(), "connection"));
                keeper
            }
            None => Keeper::new(config)?,
        };
        let _ = rustix::thread::set_name(c"tcp-ingest");
        replace::unblock_signals();
        keeper.run(&mut signals).await
    })
}

impl Keeper {
    async fn run(&mut self, signals: &mut Signals) -> Result<Outcome> {
        let mut watchdog = sd_notify::watchdog_enabled().map(|every| interval(every / 3));
        // A worker may have died while nobody could receive the signal of that.
        let mut outcome = self.reap()?;
        loop {
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
            self.deliver();
            outcome = if self.goal == Goal::BeReplaced && self.can_be_replaced() {
                self.try_to_be_replaced(signals).await?
            } else {
                self.step(signals, &mut watchdog).await?
            };
        }
    }

    /// Waits for what comes first, and handles it. Returns how all of it went, if that was the end.
    async fn step(&mut self, signals: &mut Signals, watchdog: &mut Option<Interval>) -> Result<Option<Outcome>> {
        let (worker, successor) = (self.worker.as_ref(), self.successor.as_ref().map(|successor| &successor.worker));
        let overdue = successor.map(|successor| sleep_until((successor.since + PATIENCE).into()));
        let time_up = self.goal.deadline().map(|deadline| sleep_until((deadline + GRACE).into()));
        tokio::select! {
            request = signals.next() => return self.handle_request(request),
            message = if_any(worker.map(Worker::receive)) => self.handle_message(message),
            message = if_any(successor.map(Worker::receive)) => self.handle_successor(&message.0),
            connection = accepted(&self.listeners), if self.accepts() => self.accept(connection).await,
            () = if_any(worker.map(Worker::writable)), if self.worker_serves() && !self.pending.is_empty() => {}
            () = sleep_until(self.restarts.start_at.into()), if self.worker.is_none() => self.start_worker(),
            () = if_any(overdue) => self.kill_what_is_overdue(),
            () = if_any(time_up) => return self.give_up(),
            _ = if_any(watchdog.as_mut().map(Interval::tick)) => notify(&[NotifyState::Watchdog]),
        }
        self.accept_the_rest_if_stopping();
        Ok(None)
    }

    /// Does what a signal asks for.
    pub(super) fn handle_request(&mut self, request: Request) -> Result<Option<Outcome>> {
        match request {
            Request::Stop => self.stop(),
            Request::Upgrade => self.upgrade(),
            Request::Replace if self.goal == Goal::Serve => self.goal = Goal::BeReplaced,
            Request::Replace => {}
            Request::Report => self.send_later(ToWorker::Report),
            Request::Reap => {
                if let Some(outcome) = self.reap()? {
                    return Ok(Some(outcome));
                }
            }
        }
        self.accept_the_rest_if_stopping();
        Ok(None)
    }

    /// Has another keeper take its place. If that fails, does what came in the meantime.
    async fn try_to_be_replaced(&mut self, signals: &mut Signals) -> Result<Option<Outcome>> {
        let request = self.replace(signals).await;
        for request in request.into_iter().chain([Request::Reap]) {
            if let Some(outcome) = self.handle_request(request)? {
                return Ok(Some(outcome));
            }
        }
        Ok(None)
    }
}
