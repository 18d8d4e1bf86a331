//! What a keeper knows.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::{Context as _, bail};
use layout::{Area, DataDirHandle};
use sd_notify::NotifyState;

use super::held::{self, Held};
use super::listeners::{self, Listener};
use super::process::{Binary, Stage, Worker};
use crate::args::{Config, Source};
use crate::failure::Losses;
use crate::intent_log::IntentLog;
use crate::messages::ToWorker;
use crate::oom_score;
use crate::writer::max_hours;

/// The keeper, with all that it holds.
pub(super) struct Keeper {
    pub(super) config: Config,
    /// What workers are started from.
    pub(super) binary: Binary,
    pub(super) intent_log: IntentLog,
    pub(super) data_dir: OwnedFd,
    pub(super) held: Held,
    pub(super) listeners: Vec<Listener>,
    pub(super) worker: Option<Worker>,
    /// What `worker` does not know yet.
    pub(super) pending: VecDeque<Pending>,
    pub(super) successor: Option<Successor>,
    pub(super) readiness: Readiness,
    pub(super) restarts: Restarts,
    pub(super) goal: Goal,
    pub(super) admission: Admission,
    /// What of the sources' bytes is lost.
    pub(super) lost: Losses,
}

/// What still has to be sent to the worker.
#[derive(Debug)]
pub(super) enum Pending {
    /// The connection in this slot.
    Connection(u32),
    /// The segment with this name.
    Segment(String),
    Message(ToWorker),
    /// No connection will come any more.
    End,
}

/// A worker that is to take the place of the one that runs.
pub(super) struct Successor {
    pub(super) worker: Worker,
    pub(super) binary: Binary,
}

/// Whether any worker has been up. Before, nothing is accepted; what is wrong with the arguments, the first worker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    Starting,
    Ready,
}

/// When the next worker is started.
pub(super) struct Restarts {
    /// How often in a row a worker died at once.
    pub(super) failures: u32,
    pub(super) start_at: Instant,
}

/// What the keeper is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Serve,
    /// Another keeper is to take its place, as soon as nothing is on its way to a worker.
    BeReplaced,
    Stop {
        /// When to be done.
        deadline: Instant,
        worker: Drained,
    },
}

/// How the workers that drained have ended so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    Well,
    /// One could not do all that it had to.
    Failed,
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

impl Goal {
    /// When to be done, if it is to stop.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Stop { deadline, .. } => Some(deadline),
            Self::Serve | Self::BeReplaced => None,
        }
    }
}

impl Keeper {
    /// A keeper that begins.
    pub(super) fn new(config: Config) -> anyhow::Result<Self> {
        let Source::Listen(addresses) = &config.source else { bail!("nothing to listen on") };
        for stream in &config.streams {
            config.tree.check_writable(Area::Raw, &stream.name)?;
        }
        let data_dir = DataDirHandle::new(&config.tree)?.descriptor()?;
        let slots = held::slots(&config);
        let listeners = listeners::open(&config, addresses)?;
        let intent_log = IntentLog::new(config.workers, max_hours(&config) + 1, slots as usize)
            .context("cannot make the memory that keeper and worker share")?;
        oom_score::lower_for_keeper(None);
        Self::with(config, intent_log, data_dir, Held::new(slots), listeners)
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
            readiness: Readiness::Starting,
            restarts: Restarts { failures: 0, start_at: Instant::now() },
            goal: Goal::Serve,
            admission: Admission::Open,
            lost: Losses::default(),
        })
    }

    /// Whether the worker gets what there is to serve.
    pub(super) fn worker_serves(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.stage >= Stage::Serving)
    }

    /// Whether there is a successor that only waits for the worker to hand over.
    pub(super) fn successor_waits(&self) -> bool {
        self.successor.as_ref().is_some_and(|successor| successor.worker.stage == Stage::Ready)
    }
}

/// Tells systemd, if it started us.
pub(super) fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("the service manager cannot be notified: {error}");
    }
}
