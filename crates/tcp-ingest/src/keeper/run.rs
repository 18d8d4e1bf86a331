//! The keeper's loop: waits for whatever comes first, and does what that asks for.

use anyhow::Result;
use cli::Outcome;
use sd_notify::NotifyState;
use tokio::time::{Interval, interval, sleep_until};

use super::signals::{Request, Signals};
use super::state::{Goal, Keeper, notify};
use super::wait::{accepted, next_message, overdue, tick, time_up, writable};
use super::{inventory, replace};
use crate::args::Config;
use crate::messages::ToWorker;

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
        let successor = self.successor.as_ref().map(|successor| &successor.worker);
        tokio::select! {
            request = signals.next() => return self.handle_request(request),
            message = next_message(self.worker.as_ref()) => self.handle_message(message),
            message = next_message(successor) => self.handle_successor(&message.0),
            connection = accepted(&self.listeners), if self.accepts() => self.accept(connection).await,
            () = writable(self.worker.as_ref()), if self.worker_serves() && !self.pending.is_empty() => {}
            () = sleep_until(self.restarts.start_at.into()), if self.worker.is_none() => self.start_worker(),
            () = overdue(successor) => self.kill_what_is_overdue(),
            () = time_up(self.goal.deadline()) => return self.give_up(),
            () = tick(watchdog) => notify(&[NotifyState::Watchdog]),
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
            Request::Reap => return self.reap(),
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
