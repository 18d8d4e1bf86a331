//! What a keeper knows.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::time::Instant;

use layout::{Area, DataDirHandle};
use sd_notify::NotifyState;

use super::held::{self, Held};
use super::listeners::{self, Listener};
use super::process::{Binary, Stage, Worker};
use crate::args::Config;
use crate::channel::ToWorker;
use crate::intent_log::IntentLog;
use crate::losses::Losses;
use crate::oom_score;

pub(super) struct Keeper {
    pub(super) config: Config,
    pub(super) binary: Binary,
    pub(super) intent_log: IntentLog,
    pub(super) data_dir: OwnedFd,
    pub(super) held: Held,
    pub(super) listeners: Vec<Listener>,
    pub(super) worker: Option<Worker>,
    /// What `worker` does not know yet.
    pub(super) pending: VecDeque<Pending>,
    /// A worker that is to take the place of the one that runs, and what it was started from.
    pub(super) successor: Option<(Worker, Binary)>,
    /// Any worker has been up. Before, nothing is accepted; what is wrong with the arguments, the first worker says.
    pub(super) is_ready: bool,
    /// How often in a row a worker died at once.
    pub(super) failures: u32,
    /// When the next worker is started, if there is none.
    pub(super) start_at: Instant,
    /// Another keeper is to take its place, as soon as nothing is on its way to a worker.
    pub(super) is_to_be_replaced: bool,
    /// When to be done, if it is to stop.
    pub(super) deadline: Option<Instant>,
    /// A worker that drained could not do all that it had to.
    pub(super) draining_failed: bool,
    pub(super) admission: Admission,
    pub(super) lost: Losses,
}

/// Whether connections are accepted, and if not, what was reported of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Open,
    /// All slots are in use.
    Full,
    /// The system refuses.
    Failing,
}

/// What still has to be sent to the worker.
#[derive(Debug)]
pub(super) enum Pending {
    Connection(u32),
    Segment(String),
    Message(ToWorker),
    /// No connection will come any more.
    End,
}

impl Keeper {
    pub(super) fn new(config: Config) -> anyhow::Result<Self> {
        config.streams.iter().try_for_each(|stream| config.tree.check_writable(Area::Raw, &stream.name))?;
        let data_dir = DataDirHandle::new(&config.tree)?.descriptor()?;
        let slots = held::slots(&config);
        let listeners = listeners::open(&config)?;
        let intent_log = IntentLog::new(config.workers, config.max_hours() + 1, slots as usize)?;
        oom_score::lower_for_keeper(None);
        Self::with(config, intent_log, data_dir, Held::new(slots, BTreeMap::new(), BTreeMap::new()), listeners)
    }

    /// A keeper that holds this, and has no worker.
    pub(super) fn with(
        config: Config,
        intent_log: IntentLog,
        data_dir: OwnedFd,
        held: Held,
        listeners: Vec<Listener>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            config,
            binary: Binary::installed()?,
            intent_log,
            data_dir,
            held,
            listeners,
            worker: None,
            pending: VecDeque::new(),
            successor: None,
            is_ready: false,
            failures: 0,
            start_at: Instant::now(),
            is_to_be_replaced: false,
            deadline: None,
            draining_failed: false,
            admission: Admission::Open,
            lost: Losses::default(),
        })
    }

    pub(super) fn worker_serves(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.stage >= Stage::Serving)
    }

    pub(super) fn successor_waits(&self) -> bool {
        self.successor.as_ref().is_some_and(|(worker, _)| worker.stage == Stage::Ready)
    }
}

/// Tells systemd, if it started us.
pub(super) fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::warn!("the service manager cannot be notified: {error}");
    }
}
