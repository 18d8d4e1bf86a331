//! The worker: serves connections until no more come or another worker goes on. It may die, also on purpose, at any time.

mod closing;
mod connection;
mod pool;
mod resume;
mod thread;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, bail};
use cli::Outcome;
use layout::DataDirHandle;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use self::pool::Pool;
use self::resume::{Inventory, NO_DESCRIPTOR, receive};
use self::thread::{Incoming, Stop, Stopping};
use crate::args::Config;
use crate::channel::{self, ToKeeper, ToWorker};
use crate::intent_log::IntentLog;
use crate::oom_score;
use crate::sealer::Sealer;
use crate::shared::Shared;
use crate::signals::Signals;
use crate::stats::Reporter;
use crate::tee::Tee;

/// Runs a worker to its end; `oom_score` is how likely the kernel is to kill it when memory runs out.
pub(crate) fn run(config: Config, oom_score: &str) -> anyhow::Result<Outcome> {
    oom_score::set_for_worker(oom_score);
    let _ = rustix::thread::set_name(c"ingest-worker");
    // A thread that panics ends the process: half a worker would hold connections that nobody serves.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work(config))
}

async fn work(config: Config) -> anyhow::Result<Outcome> {
    // They are meant for the keeper, and come here too when a terminal or a service manager signals a whole group.
    let _ignored = Signals::new(|_| true)?;
    // Standard input is the way to and from the keeper, which first gives what every worker needs.
    let channel = io::stdin().as_fd().try_clone_to_owned()?;
    let keeper = channel::watch(channel.try_clone()?).context("no keeper: this is not started by hand")?;
    let Some((ToWorker::DataDir, Some(folder))) = receive(&keeper).await? else {
        bail!("no data directory: this is not started by hand");
    };
    let Some((ToWorker::IntentLog, Some(memory))) = receive(&keeper).await? else {
        bail!("no intent log: this is not started by hand");
    };
    let data_dir = DataDirHandle::inherit(&config.tree, folder);
    let shared = Shared::new(config, data_dir, IntentLog::open(memory)?, Some(channel));
    shared.tell_keeper(&ToKeeper::Up, None);
    let Some(inventory) = Inventory::receive(&keeper, &shared.config.tree).await? else { return Ok(Outcome::Done) };

    let (sealer, sealing) = Sealer::start(&shared);
    let (tee, tee_end) = Tee::start(&shared);
    let connections = inventory.resume(&shared, &sealer);
    // After that, because what the keeper holds has an owner, which is this worker.
    shared.note_versions();
    shared.recover();
    let (stop, stopping) = Stopping::channel();
    let mut pool = Pool::start(&shared, &sealer, &tee, &stopping)?;
    // The threads behind them end when nobody can give them work any more.
    drop((sealer, tee));
    for connection in connections {
        pool.assign(connection);
    }

    let keeper_is_dead = !serve(&keeper, &mut pool, &stop, &shared).await;
    if keeper_is_dead {
        log::error!("the keeper died: taking what the sources have sent, then ending");
        stop.send_replace(Stop::drain(*shared.config.settings.drain_timeout));
    }
    shared.set_stopping();
    let no_thread_died = pool.join() & sealing.join().is_ok();
    tee_end.wait(&shared);
    shared.stats.write_metrics();
    log::info!("{}", shared.stats);
    let lost = &shared.lost;
    match shared.failure.get() {
        Some(what) => bail!("{what}"),
        None if !lost.is_empty() && keeper_is_dead => bail!("{lost}"),
        // The keeper reports what is lost in all.
        None if !lost.is_empty() => Err(cli::Reported.into()),
        None if !no_thread_died => bail!("a bug: a thread died; the next start recovers its segments"),
        None => Ok(Outcome::Done),
    }
}

/// Does what the keeper says until no connection will come any more. False if it never said how to stop: it is dead.
async fn serve(keeper: &AsyncFd<OwnedFd>, pool: &mut Pool, stop: &watch::Sender<Stop>, shared: &Shared) -> bool {
    let mut reporter = Reporter::new();
    let mut told = false;
    loop {
        let message = tokio::select! {
            message = receive(keeper) => message,
            () = reporter.tick(&shared.stats) => continue,
        };
        match message {
            Ok(Some((ToWorker::Connection { slot, stream, peer, new }, Some(socket)))) => {
                pool.assign(Incoming { socket: socket.into(), slot, stream, peer, new });
            }
            Ok(Some((ToWorker::Drain { millis }, _))) => {
                told = true;
                // A reader of standard output would keep slots from connections that still have to be accepted.
                shared.set_stopping();
                stop.send_replace(Stop::drain(Duration::from_millis(millis)));
            }
            Ok(Some((ToWorker::HandOver, _))) => break,
            Ok(Some((ToWorker::Connection { .. }, None))) => {
                log::error!("{NO_DESCRIPTOR}");
                break;
            }
            Ok(Some((ToWorker::Report, _))) => log::info!("{}", shared.stats),
            Ok(Some((message, _))) => log::error!("a bug: the keeper says {message:?}"),
            Ok(None) => return told,
            Err(error) => {
                log::error!("cannot read what the keeper says: {error}");
                return told;
            }
        }
    }
    stop.send_replace(Stop::HandOver);
    true
}
