//! The life of the process: recover, start, serve until a signal, drain, seal.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cli::Outcome;
use layout::Area;
use rustix::process::{Resource, Rlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::args::{Args, Config, Source};
use crate::files::{Failure, Files};
use crate::listen::{Dispatch, accept, accept_rest, bind};
use crate::stats::Stats;
use crate::stdin;
use crate::worker::{self, Shared};

const LOG_EVERY: Duration = Duration::from_secs(60);
const METRICS_EVERY: Duration = Duration::from_secs(5);

/// The program.
pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let config = Arc::new(Config::new(args)?);
    let stats = Arc::new(Stats::new(&config.streams));
    let failure = Arc::new(Failure::default());
    recover(&config)?;
    let (files, sealing) = Files::start(Arc::clone(&stats), Arc::clone(&failure));
    let (stop, deadline) = watch::channel(None);
    let stdout = Arc::new(AtomicBool::new(config.args.stdout));
    let shared = Shared { config, stats, failure, files, stdout, deadline };
    let (config, stats, failure) = (Arc::clone(&shared.config), Arc::clone(&shared.stats), Arc::clone(&shared.failure));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = match &config.source {
        Source::Stdin => runtime.block_on(stdin::run(shared)),
        Source::Listen(addresses) => serve(shared, &runtime, addresses, &stop).map(|()| Outcome::Done),
    };
    failure.stopping.store(true, Relaxed);
    let sealed = sealing.join();
    if let Some(path) = &config.args.metrics_file {
        stats.write_metrics(path)?;
    }
    log::log!(if matches!(config.source, Source::Stdin) { log::Level::Debug } else { log::Level::Info }, "{}", *stats);
    if let Some(what) = failure.get() {
        bail!("{what}");
    }
    if sealed.is_err() {
        bail!("a bug: the thread that seals segments died; the next start recovers them");
    }
    outcome
}

/// Seals what a writer that died has left of our streams.
fn recover(config: &Config) -> anyhow::Result<()> {
    let (tree, now) = (config.args.common.tree(), chrono::Utc::now());
    for stream in &config.streams {
        for area in [Area::Raw, Area::Quarantine] {
            for recovered in layout::recover(&tree, area, &stream.name, now)? {
                let what = recovered.sealed.map_or("an empty segment".into(), |segment| tree.relative(&segment.path));
                log::warn!(
                    "recovered {what} of a writer that died; {} bytes of a torn line to quarantine",
                    recovered.torn
                );
            }
        }
    }
    Ok(())
}

/// The signals that mean something to us.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }
}

/// Serves until a signal, then drains.
fn serve(
    shared: Shared,
    runtime: &tokio::runtime::Runtime,
    addresses: &[(usize, std::net::SocketAddr)],
    stop: &watch::Sender<Option<Instant>>,
) -> anyhow::Result<()> {
    raise_open_files();
    let (config, stats, failure) = (Arc::clone(&shared.config), Arc::clone(&shared.stats), Arc::clone(&shared.failure));
    let mut listeners = Vec::new();
    let mut signals;
    {
        let _inside = runtime.enter();
        // Before anybody can learn that we listen and take it for a sign that we can be stopped.
        signals = Signals::new()?;
        for (stream, address) in addresses {
            listeners.push((*stream, Arc::new(bind(&config, *stream, *address)?)));
        }
    }
    let mut workers = Vec::new();
    let mut threads = Vec::new();
    for number in 0..config.workers {
        let (sender, incoming) = mpsc::unbounded_channel();
        workers.push(sender);
        let shared = shared.clone();
        let thread = std::thread::Builder::new().name(format!("worker {number}"));
        threads.push(thread.spawn(move || worker::run(shared, incoming)).context("cannot start a thread")?);
    }
    drop(shared);
    let dispatch = Arc::new(Dispatch::new(workers, &config, Arc::clone(&stats)));
    runtime.block_on(async {
        let mut accepting = start_accepting(&listeners, &dispatch);
        until_stopped(&mut signals, &config, &stats, &failure).await;
        accepting.shutdown().await;
        failure.stopping.store(true, Relaxed);
        let _ = stop.send(Some(Instant::now() + config.drain_timeout));
        for (stream, listener) in listeners {
            accept_rest(listener, stream, &dispatch);
        }
    });
    drop(dispatch);
    for thread in threads {
        if thread.join().is_err() {
            failure.report("a bug: a worker died; the next start recovers its segments");
        }
    }
    Ok(())
}

fn start_accepting(listeners: &[(usize, Arc<TcpListener>)], dispatch: &Arc<Dispatch>) -> JoinSet<()> {
    let mut accepting = JoinSet::new();
    for (stream, listener) in listeners {
        let (stream, listener, dispatch) = (*stream, Arc::clone(listener), Arc::clone(dispatch));
        accepting.spawn(async move { accept(&listener, stream, &dispatch).await });
    }
    accepting
}

/// Reports statistics until a signal or a failure ends it.
async fn until_stopped(signals: &mut Signals, config: &Config, stats: &Stats, failure: &Failure) {
    let (mut log, mut metrics) = (tokio::time::interval(LOG_EVERY), tokio::time::interval(METRICS_EVERY));
    log.tick().await;
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
            () = failure.reported() => return,
            _ = signals.user.recv() => log::info!("{stats}"),
            _ = log.tick() => log::info!("{stats}"),
            _ = metrics.tick() => if let Some(path) = &config.args.metrics_file
                && let Err(error) = stats.write_metrics(path)
            {
                log::warn!("{error:#}");
            },
        }
    }
}

/// Each connection and segment needs a descriptor: asks for as many as the system grants.
fn raise_open_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        log::warn!("cannot raise the limit of open files: {error}");
    }
}
