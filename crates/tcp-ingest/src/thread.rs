//! One thread that serves connections. It has its own segments, so that nothing is shared on the way of a byte.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use models::Decoder;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinSet, LocalSet};

use crate::batch::{Batch, Bounds, Judge};
use crate::connection;
use crate::note::{Note, Row};
use crate::program::Shared;
use crate::stop::{Stop, Stopping};
use crate::worker::ToKeeperSender;
use crate::writer::{Keeper, Writer, max_hours};

/// A connection on its way to a thread.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) socket: TcpStream,
    /// Where the keeper holds it.
    pub(crate) slot: u32,
    pub(crate) stream: usize,
    pub(crate) peer: SocketAddr,
    /// No worker had it before.
    pub(crate) new: bool,
}

/// What a thread needs to serve connections.
pub(crate) struct Serving {
    pub(crate) shared: Shared,
    pub(crate) stop: Stopping,
    pub(crate) keeper: ToKeeperSender,
    pub(crate) note: Arc<Note>,
    /// Which thread it is.
    pub(crate) number: usize,
}

/// What the connections of one thread share.
pub(crate) struct Thread {
    pub(crate) serving: Serving,
    pub(crate) row: Row,
    pub(crate) intake: RefCell<Intake>,
    /// Whether writing failed last time.
    storage_down: Cell<bool>,
    /// Wakes one connection to try again, or all when it works.
    storage_retry: Notify,
}

/// How much is taken at once. The kernel does some work each time that bytes are taken (it offers the sender a window,
/// and the sender goes on in our time): 1 MiB costs a quarter less processor time than 256 KiB, and still fits into a
/// processor's own cache.
const BLOCK: usize = 1 << 20;

/// The buffers and files that a turn of one connection uses.
pub(crate) struct Intake {
    pub(crate) buffer: Vec<u8>,
    pub(crate) batch: Batch,
    pub(crate) judges: Vec<Judge>,
    pub(crate) writer: Writer,
}

impl Intake {
    pub(crate) fn new(shared: &Shared, keeper: Option<Keeper>) -> Self {
        let config = &shared.config;
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let bounds = Bounds {
            earliest: config.args.earliest.start_micros(),
            ahead: micros(config.max_ahead),
            hours: keeper.as_ref().map_or(usize::MAX, |keeper| keeper.row.writes() - 1).min(max_hours(config)),
        };
        let line = usize::try_from(config.args.max_line.0).unwrap_or(usize::MAX);
        Self {
            buffer: vec![0; BLOCK.max(2 * line)],
            batch: Batch::default(),
            judges: config.streams.iter().map(|stream| Judge::new(Decoder::new(stream.model), bounds)).collect(),
            writer: Writer::new(shared, keeper),
        }
    }
}

impl Thread {
    /// Notes that writing failed; says so once.
    pub(crate) fn storage_failed(&self, error: &layout::Error) {
        // Of several threads that meet the same, one says it.
        if !self.storage_down.replace(true) && !self.serving.shared.stats.waiting.swap(true, Relaxed) {
            let how = if self.serving.stop.now() == Stop::No {
                "reading waits and the sources are held; nothing is lost as long as the program runs"
            } else {
                "reading waits until the time to drain (--drain-timeout) is up"
            };
            log::error!("{error}; {how}");
        }
    }

    /// Notes that writing worked.
    pub(crate) fn storage_works(&self) {
        if self.storage_down.replace(false) {
            if self.serving.shared.stats.waiting.swap(false, Relaxed) {
                log::warn!("writing works again");
            }
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
pub(crate) fn run(serving: Serving, incoming: mpsc::UnboundedReceiver<Incoming>) {
    let failure = Arc::clone(&serving.shared.failure);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure.report(format!("cannot start a thread: {error}")),
    };
    LocalSet::new().block_on(&runtime, serve(serving, incoming));
}

async fn serve(serving: Serving, mut incoming: mpsc::UnboundedReceiver<Incoming>) {
    let row = Row::new(Arc::clone(&serving.note), serving.number);
    let keeper = Keeper { sender: serving.keeper.clone(), row: row.clone() };
    let intake = RefCell::new(Intake::new(&serving.shared, Some(keeper)));
    let thread = Rc::new(Thread { serving, row, intake, storage_down: Cell::new(false), storage_retry: Notify::new() });
    let ticker = tokio::task::spawn_local(tick(Rc::clone(&thread)));
    let mut connections = JoinSet::new();
    let mut open = true;
    while open || !connections.is_empty() {
        tokio::select! {
            connection = incoming.recv(), if open => match connection {
                Some(connection) => _ = connections.spawn_local(connection::serve(Rc::clone(&thread), connection)),
                None => open = false,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    ticker.abort();
    thread.intake.borrow_mut().writer.seal_all();
}

/// Syncs and seals as time goes by, and lets one connection at a time find out whether the storage works again.
async fn tick(thread: Rc<Thread>) {
    let mut sync = tokio::time::interval(thread.serving.shared.config.sync_every.max(Duration::from_millis(10)));
    let mut retry = tokio::time::interval(Duration::from_millis(200));
    for interval in [&mut sync, &mut retry] {
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            _ = sync.tick() => {
                look(&thread);
                let writer = &mut thread.intake.borrow_mut().writer;
                writer.seal_old();
                writer.sync();
            }
            _ = retry.tick() => if thread.storage_is_down() {
                if thread.intake.borrow().writer.is_astray() {
                    look(&thread);
                }
                thread.storage_retry.notify_one();
            },
        }
    }
}

/// Looks whether the tree is where it was.
fn look(thread: &Thread) {
    let looked = thread.intake.borrow_mut().writer.look();
    match looked {
        Ok(false) => {}
        Ok(true) => thread.storage_works(),
        Err(error) => thread.storage_failed(&error),
    }
}
