//! What all threads of a process share. Nothing of it is touched for each message.

use std::sync::Arc;

use layout::DataDirHandle;

use crate::args::Config;
use crate::background::BackgroundTasks;
use crate::channel::KeeperSender;
use crate::failure::Failure;
use crate::sealer::Sealer;
use crate::stats::Stats;
use crate::tee::Tee;

/// Handles to what all threads of a process share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) data_dir: Arc<DataDirHandle>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) failure: Arc<Failure>,
    pub(crate) sealer: Sealer,
    pub(crate) tee: Tee,
}

impl Shared {
    /// Makes it, and starts the threads behind it. A worker names its keeper.
    pub(crate) fn start(
        config: Config,
        data_dir: Arc<DataDirHandle>,
        failure: Failure,
        keeper: Option<KeeperSender>,
    ) -> (Self, BackgroundTasks) {
        let (stats, failure) = (Arc::new(Stats::new(&config.streams)), Arc::new(failure));
        let (sealer, sealing) = Sealer::start(Arc::clone(&data_dir), Arc::clone(&stats), Arc::clone(&failure), keeper);
        let (tee, tee_end) = Tee::start(config.tee, Arc::clone(&failure));
        (Self { config: Arc::new(config), data_dir, stats, failure, sealer, tee }, BackgroundTasks { sealing, tee_end })
    }
}
