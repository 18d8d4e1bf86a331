//! The life of the process: recover, start, serve until a signal, drain, seal.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cli::Outcome;
use layout::Area;
use rustix::process::{Resource, Rlimit};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::args::{Args, Config, Source};
use crate::files::{Failure, Files};
use crate::listen::{Dispatch, accept, accept_rest, bind};
use crate::pass_on::{PassOn, Passing};
use crate::report::Reporter;
use crate::stats::Stats;
use crate::stdin;
use crate::worker::{self, Shared};

/// The program.
pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let config = Arc::new(Config::new(args)?);
    let stats = Arc::new(Stats::new(&config.streams));
    let failure = Arc::new(Failure::default());
    recover(&config)?;
    let (files, sealing) = Files::start(Arc::clone(&stats), Arc::clone(&failure));
    let (stop, deadline) = watch::channel(None);
    let (pass_on, passing) = PassOn::start(config.args.stdout, Arc::clone(&failure));
    let shared = Shared { config, stats, failure, files, pass_on, deadline };
    let (config, stats, failure) = (Arc::clone(&shared.config), Arc::clone(&shared.stats), Arc::clone(&shared.failure));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before anybody can learn that we listen and take it for a sign that we can be stopped.
    let mut reporter = {
        let _inside = runtime.enter();
        Reporter::new(&shared)?
    };
    let outcome = match &config.source {
        Source::Stdin => runtime.block_on(stdin::run(shared, &mut reporter)),
        Source::Listen(addresses) => serve(shared, &runtime, &mut reporter, addresses, &stop).map(|()| Outcome::Done),
    };
    // Who was told to stop waits for nobody.
    let whole = matches!((&config.source, &outcome), (Source::Stdin, Ok(Outcome::Done | Outcome::Partial)));
    failure.stopping.store(!whole, Relaxed);
    let Finished { sealed, passed_on } = runtime.block_on(finish(sealing, passing, &mut reporter, &failure));
    if let Some(path) = &config.args.metrics_file
        && let Err(error) = stats.write_metrics(path)
    {
        log::warn!("{error:#}");
    }
    log::log!(if matches!(config.source, Source::Stdin) { log::Level::Debug } else { log::Level::Info }, "{}", *stats);
    if let Some(what) = failure.get() {
        bail!("{what}");
    }
    if !sealed {
        bail!("a bug: the thread that seals segments died; the next start recovers them");
    }
    // A service that is told to stop has done what it should.
    let left = !passed_on && matches!(config.source, Source::Stdin);
    if left { outcome.map(|_| Outcome::Interrupted) } else { outcome }
}

/// What came of the end.
struct Finished {
    /// The thread that seals lived.
    sealed: bool,
    /// A reader of stdout was not left.
    passed_on: bool,
}

/// Waits until all is sealed and passed on. Once the program is told to stop, nothing is tried for ever, and a reader of
/// stdout that stalls is not waited for.
async fn finish(
    sealing: JoinHandle<()>,
    passing: Option<Passing>,
    reporter: &mut Reporter,
    failure: &Failure,
) -> Finished {
    async fn stopped(reporter: &mut Reporter, failure: &Failure) {
        if !failure.stopping.load(Relaxed) {
            reporter.until_stopped().await;
            failure.stopping.store(true, Relaxed);
        }
    }
    let mut sealed = tokio::task::spawn_blocking(|| sealing.join().is_ok());
    let sealed = tokio::select! {
        sealed = &mut sealed => sealed,
        () = stopped(reporter, failure) => sealed.await,
    };
    let mut passed_on = true;
    if let Some(passing) = passing {
        let too_long = async {
            stopped(reporter, failure).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        tokio::select! {
            _ = passing => {}
            () = too_long => {
                log::warn!("stdout: nobody reads it; the last lines are written but not passed on");
                passed_on = false;
            }
        }
    }
    Finished { sealed: sealed.unwrap_or(false), passed_on }
}

/// Seals what a writer that died has left of our streams. Fails where we may not write: a disk that is full is waited
/// for, but rights do not come by waiting.
fn recover(config: &Config) -> anyhow::Result<()> {
    let (tree, now) = (config.args.common.tree(), chrono::Utc::now());
    for stream in &config.streams {
        tree.check_writable(Area::Raw, &stream.name)?;
        for area in [Area::Raw, Area::Quarantine] {
            let recovered = layout::recover(&tree, area, &stream.name, now).unwrap_or_else(|error| {
                log::error!("{error}; what a writer that died has left stays as it is until the next start");
                Vec::new()
            });
            for recovered in recovered {
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

/// Serves until a signal, then drains.
fn serve(
    shared: Shared,
    runtime: &tokio::runtime::Runtime,
    reporter: &mut Reporter,
    addresses: &[(usize, std::net::SocketAddr)],
    stop: &watch::Sender<Option<Instant>>,
) -> anyhow::Result<()> {
    let (config, stats, failure) = (Arc::clone(&shared.config), Arc::clone(&shared.stats), Arc::clone(&shared.failure));
    let places = places(&config);
    let mut listeners = Vec::new();
    {
        let _inside = runtime.enter();
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
    let dispatch = Arc::new(Dispatch::new(workers, places, Arc::clone(&stats)));
    runtime.block_on(async {
        let mut accepting = start_accepting(&listeners, &dispatch);
        tokio::select! {
            () = reporter.until_stopped() => {}
            () = failure.reported() => {}
        }
        accepting.shutdown().await;
        failure.stopping.store(true, Relaxed);
        let deadline = Instant::now() + config.drain_timeout;
        let _ = stop.send(Some(deadline));
        for (stream, listener) in listeners {
            if let Err(error) = accept_rest(listener, stream, &dispatch, deadline) {
                failure.report(format!("connections that were not accepted yet are lost: {error}"));
            }
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

/// Each connection and segment needs a descriptor: asks for as many as the system grants, and returns how many
/// connections that is enough for, segments first.
fn places(config: &Config) -> u32 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let granted = if raised.is_ok() { limit.maximum } else { limit.current };
    let wanted = config.args.max_connections;
    // Beside the open segments there are those that are being sealed (files.rs); the rest is for folders, listeners and the system's own.
    let others = u64::from(config.args.max_open) * 3 + 64;
    let places = granted.map_or(wanted, |granted| u32::try_from(granted.saturating_sub(others)).unwrap_or(u32::MAX));
    if places < wanted {
        let (wanted, places) = (config.args.max_connections, places.max(1));
        log::warn!(
            "the limit of open files (ulimit -n) allows only {places} of {wanted} connections (--max-connections)"
        );
    }
    wanted.min(places.max(1))
}
