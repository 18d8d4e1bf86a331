//! Signals, and the statistics that are reported while something else goes on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, interval};

use crate::worker::Shared;

const LOG_EVERY: Duration = Duration::from_secs(60);
const METRICS_EVERY: Duration = Duration::from_secs(5);

/// Waits for the signals that mean something to us. From its making on, they no longer kill.
pub(crate) struct Reporter {
    terminate: Signal,
    interrupt: Signal,
    user: Signal,
    log: Interval,
    metrics: Interval,
    config: Arc<crate::args::Config>,
    stats: Arc<crate::stats::Stats>,
}

impl Reporter {
    pub(crate) fn new(shared: &Shared) -> io::Result<Self> {
        let mut log = interval(LOG_EVERY);
        log.reset();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user: signal(SignalKind::user_defined1())?,
            log,
            metrics: interval(METRICS_EVERY),
            config: Arc::clone(&shared.config),
            stats: Arc::clone(&shared.stats),
        })
    }

    /// Reports statistics until a signal asks to stop. May be dropped and called again.
    pub(crate) async fn until_stopped(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.user.recv() => log::info!("{}", self.stats),
                _ = self.log.tick() => log::info!("{}", self.stats),
                _ = self.metrics.tick() => self.write_metrics(),
            }
        }
    }

    fn write_metrics(&self) {
        if let Some(path) = &self.config.args.metrics_file
            && let Err(error) = self.stats.write_metrics(path)
        {
            log::warn!("{error:#}");
        }
    }
}
