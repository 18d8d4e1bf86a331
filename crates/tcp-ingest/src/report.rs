//! The statistics as time goes by, and the signals of a process that has no keeper.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, interval};

use crate::args::Config;
use crate::program::Shared;
use crate::stats::Stats;

const LOG_EVERY: Duration = Duration::from_secs(60);
const METRICS_EVERY: Duration = Duration::from_secs(5);

/// Logs the statistics and writes the metrics file, each at its time.
pub(crate) struct Reporter {
    log: Interval,
    metrics: Interval,
    config: Arc<Config>,
    stats: Arc<Stats>,
}

impl Reporter {
    pub(crate) fn new(shared: &Shared) -> Self {
        let mut log = interval(LOG_EVERY);
        log.reset();
        let (config, stats) = (Arc::clone(&shared.config), Arc::clone(&shared.stats));
        Self { log, metrics: interval(METRICS_EVERY), config, stats }
    }

    /// Waits until something is to be reported, and reports it. May be dropped and called again.
    pub(crate) async fn tick(&mut self) {
        tokio::select! {
            _ = self.log.tick() => self.log(),
            _ = self.metrics.tick() => self.stats.write_metrics(self.config.args.metrics_file.as_deref()),
        }
    }

    /// Logs the statistics now.
    pub(crate) fn log(&self) {
        log::info!("{}", self.stats);
    }
}

/// Waits for the signals that mean something to us. From its making on, they no longer kill.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user: Signal,
    reporter: Reporter,
}

impl Signals {
    pub(crate) fn new(shared: &Shared) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user: signal(SignalKind::user_defined1())?,
            reporter: Reporter::new(shared),
        })
    }

    /// Reports statistics until a signal asks to stop. May be dropped and called again.
    pub(crate) async fn until_stopped(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.user.recv() => self.reporter.log(),
                () = self.reporter.tick() => {}
            }
        }
    }
}
