//! The worker: gets connections from the keeper and serves them, until no more come, or another worker is to go on, or it
//! dies. Where going on makes no sense it dies on purpose, and the next worker resumes its work.

mod closing;
mod connection;
mod keeper_link;
mod pool;
mod resume;
mod serving;
mod stop;
mod thread;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use cli::Outcome;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::keeper_link::{Inventory, KeeperLink, NO_DESCRIPTOR};
use self::pool::Pool;
use self::serving::Incoming;
use self::stop::{Drain, Stop};
use crate::args::Config;
use crate::failure::Failure;
use crate::messages::ToWorker;
use crate::oom_score;
use crate::recovery::recover;
use crate::report::Reporter;
use crate::shared::Shared;

/// Runs a worker to its end; `oom_score` is how likely the kernel is to kill it when memory runs out.
pub(crate) fn run(config: Config, oom_score: &str) -> anyhow::Result<Outcome> {
    oom_score::set_for_worker(oom_score);
    let _ = rustix::thread::set_name(c"ingest-worker");
    abort_on_panic();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work(config))
}

/// A thread that panics ends the process: half a worker would hold connections that nobody serves.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

async fn work(config: Config) -> anyhow::Result<Outcome> {
    let _ignored = ignore_signals()?;
    let mut keeper = KeeperLink::open(&config).await?;
    let Some(Inventory { segments, connections }) = keeper.inventory(&config).await? else { return Ok(Outcome::Done) };
    let (shared, background) =
        Shared::start(config, Arc::clone(&keeper.data_dir), Failure::of_a_worker(), Some(keeper.sender.clone()));
    resume::resume(segments, &keeper.intent_log, &connections, &shared, &keeper.sender);
    // After that, because what the keeper holds has an owner, which is this worker.
    recover(&shared.config, &shared.data_dir);
    let mut pool = Pool::start(&shared, &keeper)?;
    for connection in connections {
        pool.assign(connection);
    }
    let mut reporter = Reporter::new(&shared);
    let (config, stats, failure) = (Arc::clone(&shared.config), Arc::clone(&shared.stats), Arc::clone(&shared.failure));
    // The threads in the background end when nobody can give them work any more.
    drop(shared);
    serve(&mut keeper, &mut pool, &mut reporter).await;
    let keeper_is_dead = drain_without_keeper(&pool, &config);
    failure.set_stopping();
    let joined = pool.join().await;
    let ended = background.finish(std::future::ready(()), &failure).await;
    stats.write_metrics(config.metrics_file.as_deref());
    log::info!("{}", *stats);
    outcome(&failure, keeper_is_dead, joined && ended.sealed)
}

/// The signals are meant for the keeper. They come here too when a terminal or a service manager signals a whole group.
fn ignore_signals() -> io::Result<Vec<Signal>> {
    let signals = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];
    signals.into_iter().map(|number| signal(SignalKind::from_raw(number))).collect()
}

/// Does what the keeper says until no connection will come any more.
async fn serve(keeper: &mut KeeperLink, pool: &mut Pool, reporter: &mut Reporter) {
    loop {
        tokio::select! {
            message = keeper.receive() => match message {
                Ok(Some((ToWorker::Connection { slot, stream, peer, new }, Some(socket)))) => {
                    pool.assign(Incoming { socket: socket.into(), slot, stream, peer, new });
                }
                Ok(Some((ToWorker::Connection { .. }, None))) => {
                    log::error!("{NO_DESCRIPTOR}");
                    return pool.stop(Stop::HandOver);
                }
                Ok(Some((ToWorker::Drain { millis }, _))) => {
                    pool.stop(Stop::Drain(Drain::within(Duration::from_millis(millis))));
                }
                Ok(Some((ToWorker::HandOver, _))) => return pool.stop(Stop::HandOver),
                Ok(Some((ToWorker::Report, _))) => reporter.log(),
                Ok(Some((message, _))) => log::error!("a bug: the keeper says {message:?}"),
                Ok(None) => return,
                Err(error) => return log::error!("cannot read what the keeper says: {error}"),
            },
            () = reporter.tick() => {}
        }
    }
}

/// No connection will come any more: the keeper said so, or it is dead. If it is dead, takes what the sources have sent, and
/// returns true.
fn drain_without_keeper(pool: &Pool, config: &Config) -> bool {
    let dead = pool.stop_if_nobody_did(Stop::Drain(Drain::within(config.drain_timeout)));
    if dead {
        log::error!("the keeper died: taking what the sources have sent, then ending");
    }
    dead
}

fn outcome(failure: &Failure, keeper_is_dead: bool, no_thread_died: bool) -> anyhow::Result<Outcome> {
    let lost = failure.lost();
    match failure.get() {
        Some(what) => bail!("{what}"),
        None if !lost.is_empty() && keeper_is_dead => bail!("{lost}"),
        // The keeper reports what is lost in all.
        None if !lost.is_empty() => Err(cli::Reported.into()),
        None if !no_thread_died => bail!("a bug: a thread died; the next start recovers its segments"),
        None => Ok(Outcome::Done),
    }
}
