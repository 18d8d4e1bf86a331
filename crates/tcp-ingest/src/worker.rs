//! One thread that serves connections. It has its own segments, so that nothing is shared on the way of a byte.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use models::Decoder;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::args::Config;
use crate::batch::{Batch, Bounds, Judge};
use crate::connection;
use crate::files::{Failure, Files};
use crate::pass_on::PassOn;
use crate::stats::Stats;
use crate::writer::{Writer, max_hours};

/// A connection on its way to a worker.
pub(crate) struct Incoming {
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) stream: usize,
    /// Its place among the connections allowed.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// What all threads share; nothing of it is touched for each message.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) failure: Arc<Failure>,
    pub(crate) files: Files,
    pub(crate) pass_on: PassOn,
    /// When to be done at the latest, once the program is stopping.
    pub(crate) deadline: watch::Receiver<Option<Instant>>,
}

/// What the connections of one thread share.
pub(crate) struct Worker {
    pub(crate) shared: Shared,
    pub(crate) intake: RefCell<Intake>,
    /// Whether writing failed last time.
    storage_down: Cell<bool>,
    /// Wakes one connection to try again, or all when it works.
    storage_retry: Notify,
}

/// The buffers and files that a turn of one connection uses.
pub(crate) struct Intake {
    pub(crate) buffer: Vec<u8>,
    pub(crate) batch: Batch,
    pub(crate) judges: Vec<Judge>,
    pub(crate) writer: Writer,
}

impl Intake {
    pub(crate) fn new(shared: &Shared) -> Self {
        let config = &shared.config;
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let bounds = Bounds {
            earliest: config.args.earliest.start_micros(),
            ahead: micros(config.max_ahead),
            hours: max_hours(config),
        };
        let line = usize::try_from(config.args.max_line.0).unwrap_or(usize::MAX);
        Self {
            buffer: vec![0; (256 * 1024).max(2 * line)],
            batch: Batch::default(),
            judges: config.streams.iter().map(|stream| Judge::new(Decoder::new(stream.model), bounds)).collect(),
            writer: Writer::new(Arc::clone(config), Arc::clone(&shared.stats), shared.files.clone()),
        }
    }
}

impl Worker {
    /// Notes that writing failed; says so once.
    pub(crate) fn storage_failed(&self, error: &layout::Error) {
        if !self.storage_down.replace(true) {
            self.shared.stats.waiting.store(true, Relaxed);
            log::error!("{error}; reading waits, the sources are held, nothing is lost: make room or mend the disk");
        }
    }

    /// Notes that writing worked.
    pub(crate) fn storage_works(&self) {
        if self.storage_down.replace(false) {
            self.shared.stats.waiting.store(false, Relaxed);
            log::warn!("writing works again");
            self.storage_retry.notify_waiters();
        }
    }

    /// Whether writing failed last time.
    pub(crate) fn storage_is_down(&self) -> bool {
        self.storage_down.get()
    }

    /// Waits until it is this connection's turn to try, or writing works again.
    pub(crate) async fn storage_retry(&self) {
        self.storage_retry.notified().await;
    }
}

/// Serves the connections that come by `incoming` until it is closed and they have ended; then seals.
pub(crate) fn run(shared: Shared, incoming: mpsc::UnboundedReceiver<Incoming>) {
    let failure = Arc::clone(&shared.failure);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure.report(format!("cannot start a worker: {error}")),
    };
    LocalSet::new().block_on(&runtime, serve(shared, incoming));
}

async fn serve(shared: Shared, mut incoming: mpsc::UnboundedReceiver<Incoming>) {
    let intake = RefCell::new(Intake::new(&shared));
    let worker = Rc::new(Worker { shared, intake, storage_down: Cell::new(false), storage_retry: Notify::new() });
    let ticker = tokio::task::spawn_local(tick(Rc::clone(&worker)));
    let mut connections = JoinSet::new();
    let mut open = true;
    while open || !connections.is_empty() {
        tokio::select! {
            connection = incoming.recv(), if open => match connection {
                Some(connection) => {
                    connections.spawn_local(connection::serve(Rc::clone(&worker), connection));
                }
                None => open = false,
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    worker.shared.failure.report(format!("a bug: {error}"));
                }
            }
        }
    }
    ticker.abort();
    worker.intake.borrow_mut().writer.seal_all();
}

/// Syncs and seals as time goes by, and lets one connection at a time find out whether the storage works again.
async fn tick(worker: Rc<Worker>) {
    let mut sync = tokio::time::interval(worker.shared.config.sync_every.max(Duration::from_millis(10)));
    let mut retry = tokio::time::interval(Duration::from_millis(200));
    for interval in [&mut sync, &mut retry] {
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            _ = sync.tick() => {
                let writer = &mut worker.intake.borrow_mut().writer;
                writer.seal_old();
                writer.sync();
            }
            _ = retry.tick() => if worker.storage_is_down() {
                worker.storage_retry.notify_one();
            },
        }
    }
}
