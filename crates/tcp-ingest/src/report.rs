//! The statistics as time goes by: in the log, and in the metrics file.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, interval};

use crate::args::Config;
use crate::shared::Shared;
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
            _ = self.metrics.tick() => self.stats.write_metrics(self.config.metrics_file.as_deref()),
        }
    }

    /// Logs the statistics now.
    pub(crate) fn log(&self) {
        log::info!("{}", self.stats);
    }
}
