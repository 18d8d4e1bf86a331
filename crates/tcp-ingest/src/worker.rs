//! The worker: gets connections from the keeper and serves them, until no more come, another worker is to go on, or it
//! dies. Where going on makes no sense it dies on purpose: its successor takes up what it leaves.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context as _, bail};
use cli::Outcome;
use layout::DataDirHandle;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::args::Config;
use crate::channel::{Channel, ToKeeper, ToWorker, Wait};
use crate::files::{Failure, Files, TO_BE_CONTINUED};
use crate::keeper;
use crate::note::Note;
use crate::pass_on::PassOn;
use crate::program::{Beside, Shared, recover};
use crate::report::Reporter;
use crate::stats::Stats;
use crate::stop::{Drain, Stop, Stopping};
use crate::take_up::{self, Left};
use crate::thread::{self, Incoming, Serving};

/// What came without its descriptor, for which there was no room.
const NO_DESCRIPTOR: &str =
    "too many open files to take what the keeper holds: another worker is to try; raise the limit (ulimit -n)";

/// Runs a worker to its end; `score` is what the kernel is to think of its memory.
pub(crate) fn run(config: Config, score: &str) -> anyhow::Result<Outcome> {
    keeper::offer_worker(score);
    let _ = rustix::thread::set_name(c"ingest-worker");
    // A thread that panics takes the others with it: half a worker would hold connections that nobody serves.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work(config))
}

async fn work(config: Config) -> anyhow::Result<Outcome> {
    // They are meant for the keeper, and come here too when a terminal or a service manager tells a whole group.
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let users = [SignalKind::user_defined1(), SignalKind::user_defined2()];
    let _ignored = kinds.into_iter().chain(users).map(signal).collect::<io::Result<Vec<_>>>()?;
    let channel = Channel::new(io::stdin().as_fd().try_clone_to_owned()?);
    let incoming = Channel::new(channel.as_fd().try_clone_to_owned()?).watch();
    let mut incoming = incoming.context("no keeper: this is not started by hand")?;
    let to_keeper = ToKeeperSender(Arc::new(channel));

    let Some((ToWorker::DataDir, Some(folder))) = incoming.async_io(Interest::READABLE, Channel::receive).await? else {
        bail!("no data directory: this is not started by hand");
    };
    let anchor = Arc::new(DataDirHandle::inherit(&config.args.common.tree(), folder));
    let Some((ToWorker::Note, Some(memory))) = incoming.async_io(Interest::READABLE, Channel::receive).await? else {
        bail!("no note: this is not started by hand");
    };
    let note = Arc::new(Note::open(memory)?);
    to_keeper.send(&ToKeeper::Up, None);
    let Some((left, connections)) = first(&mut incoming, &config).await? else { return Ok(Outcome::Done) };

    let stats = Arc::new(Stats::new(&config.streams));
    let failure = Arc::new(Failure::fatal());
    let keeper = Some(to_keeper.clone());
    let (files, sealing) = Files::start(Arc::clone(&anchor), Arc::clone(&stats), Arc::clone(&failure), keeper);
    let (pass_on, passing) = PassOn::start(config.args.stdout, Arc::clone(&failure));
    let shared = Shared { config: Arc::new(config), anchor, stats, failure, files, pass_on };
    take_up::take_up(left, &note, &connections, &shared, &to_keeper);
    // Only now: what the keeper holds is ours to judge, and no orphan.
    recover(&shared.config, &shared.anchor);

    let (stop, stopping) = Stopping::channel();
    let threads = note.rows().min(shared.config.workers);
    let mut dispatch = Dispatch { threads: Vec::new(), next: 0, stats: Arc::clone(&shared.stats) };
    let mut handles = Vec::new();
    for number in 0..threads {
        let (sender, incoming) = mpsc::unbounded_channel();
        dispatch.threads.push(sender);
        let serving = Serving {
            shared: shared.clone(),
            stop: stopping.clone(),
            note: Arc::clone(&note),
            number,
            keeper: to_keeper.clone(),
        };
        let builder = std::thread::Builder::new().name(format!("serve {number}"));
        handles.push(builder.spawn(move || thread::run(serving, incoming)).context("cannot start a thread")?);
    }
    let mut reporter = Reporter::new(&shared);
    let (config, stats, failure) = (Arc::clone(&shared.config), Arc::clone(&shared.stats), Arc::clone(&shared.failure));
    drop(shared);
    for connection in connections {
        dispatch.hand_over(connection);
    }
    loop {
        tokio::select! {
            message = incoming.async_io(Interest::READABLE, Channel::receive) => match message {
                Ok(Some((ToWorker::Connection { slot, stream, peer, new }, Some(socket)))) => {
                    dispatch.hand_over(Incoming { socket: socket.into(), slot, stream, peer, new });
                }
                Ok(Some((ToWorker::Connection { .. }, None))) => {
                    // The kernel has dropped it. The keeper holds it, and whoever comes after us gets it.
                    log::error!("{NO_DESCRIPTOR}");
                    let _ = stop.send(Stop::HandOver);
                    break;
                }
                Ok(Some((ToWorker::Drain { millis }, _))) => {
                    let _ = stop.send(Stop::Drain(Drain::within(Duration::from_millis(millis))));
                }
                Ok(Some((ToWorker::HandOver, _))) => {
                    let _ = stop.send(Stop::HandOver);
                    break;
                }
                Ok(Some((ToWorker::Report, _))) => reporter.log(),
                Ok(Some((message, _))) => log::error!("a bug: the keeper says {message:?}"),
                Ok(None) => break,
                Err(error) => {
                    log::error!("the keeper cannot be heard: {error}");
                    break;
                }
            },
            () = reporter.tick() => {}
        }
    }
    // No more will come: the keeper said so, or it is dead.
    let orphaned = stop.send_if_modified(|stop| {
        let orphaned = *stop == Stop::No;
        if orphaned {
            log::error!("the keeper died: taking what the connections hold, then ending");
            *stop = Stop::Drain(Drain::within(config.drain_timeout));
        }
        orphaned
    });
    failure.stopping.store(true, Relaxed);
    drop(dispatch);
    let joined = tokio::task::spawn_blocking(|| handles.into_iter().all(|thread| thread.join().is_ok())).await;
    let finished = Beside { sealing, passing }.finish(std::future::ready(()), &failure).await;
    stats.write_metrics(config.args.metrics_file.as_deref());
    log::info!("{}", *stats);
    if let Some(what) = failure.get() {
        bail!("{what}");
    }
    match failure.lost() {
        lost if lost.is_empty() => {}
        lost if orphaned => bail!("{lost}"),
        // The keeper adds it up.
        _ => return Err(cli::Reported.into()),
    }
    if !(joined.unwrap_or(false) && finished.sealed) {
        bail!("a bug: a thread died; the next start recovers its segments");
    }
    Ok(Outcome::Done)
}

/// What the keeper holds when the worker begins; none if it never began.
async fn first(keeper: &mut AsyncFd<Channel>, config: &Config) -> anyhow::Result<Option<(Left, Vec<Incoming>)>> {
    let (mut left, mut connections) = (HashMap::new(), Vec::new());
    while let Some(message) = keeper.async_io(Interest::READABLE, Channel::receive).await? {
        match message {
            (ToWorker::Segment { segment }, Some(file)) => {
                take_up::add(&mut left, &config.args.common.tree(), segment, file)?;
            }
            (ToWorker::Connection { slot, stream, peer, new }, Some(socket)) => {
                connections.push(Incoming { socket: socket.into(), slot, stream, peer, new });
            }
            (ToWorker::Segment { .. } | ToWorker::Connection { .. }, None) => bail!("{NO_DESCRIPTOR}"),
            (ToWorker::Begin, _) => return Ok(Some((left, connections))),
            (message, _) => log::error!("a bug: the keeper says {message:?}"),
        }
    }
    Ok(None)
}

/// Spreads connections over the threads, in turn.
struct Dispatch {
    threads: Vec<mpsc::UnboundedSender<Incoming>>,
    next: usize,
    stats: Arc<Stats>,
}

impl Dispatch {
    fn hand_over(&mut self, connection: Incoming) {
        self.stats.accepted_connections.fetch_add(u64::from(connection.new), Relaxed);
        self.next = (self.next + 1) % self.threads.len().max(1);
        if let Some(thread) = self.threads.get(self.next) {
            let _ = thread.send(connection);
        }
    }
}

/// Says things to the keeper. When that is dead nobody hears, and it is seen elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct ToKeeperSender(Arc<Channel>);

impl ToKeeperSender {
    /// Says something, and waits while the keeper is behind. Where a living keeper cannot take it the process ends: a
    /// segment that it does not hold would have no owner when this worker dies.
    pub(crate) fn send(&self, message: &ToKeeper, descriptor: Option<std::os::fd::BorrowedFd<'_>>) {
        match self.0.send(message, descriptor, Wait::Yes) {
            Err(error) if ![io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&error.kind()) => {
                log::error!("the keeper cannot be told: {error}");
                std::process::exit(TO_BE_CONTINUED);
            }
            _ => {}
        }
    }
}
