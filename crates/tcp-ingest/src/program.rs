//! The parts that a process of this program can play, and what they have in common: recovery at the start, the end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::bail;
use cli::Outcome;
use layout::{Area, DataDirHandle};

use crate::args::{Args, Config, Source};
use crate::files::{Failure, Files};
use crate::pass_on::{PassOn, Passing};
use crate::report::Signals;
use crate::stats::Stats;
use crate::{keeper, stdin, worker};

/// The program: reads standard input, or serves connections as keeper or worker.
pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let config = Config::new(args)?;
    match (&config.source, std::env::var(keeper::WORKER)) {
        (Source::Stdin, _) => read_stdin(config),
        (Source::Listen(_), Ok(score)) => worker::run(config, &score),
        (Source::Listen(_), Err(_)) => keeper::run(config),
    }
}

/// What all threads of a process share; nothing of it is touched for each message.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) anchor: Arc<DataDirHandle>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) failure: Arc<Failure>,
    pub(crate) files: Files,
    pub(crate) pass_on: PassOn,
}

/// What runs beside those threads, to be waited for at the end.
pub(crate) struct Beside {
    pub(crate) sealing: JoinHandle<()>,
    pub(crate) passing: Option<Passing>,
}

/// How the end went.
pub(crate) struct Finished {
    /// The thread that seals lived.
    pub(crate) sealed: bool,
    /// A reader of stdout was not left.
    pub(crate) passed_on: bool,
    /// Standard output took all that was passed on, as long as somebody read it.
    pub(crate) taken: bool,
}

impl Beside {
    /// Waits until all is sealed and passed on. Once the program is told to stop, nothing is tried for ever, and a reader
    /// of stdout that stalls is not waited for.
    pub(crate) async fn finish(self, stop: impl Future<Output = ()>, failure: &Failure) -> Finished {
        let mut stop = std::pin::pin!(stop);
        let mut sealing = tokio::task::spawn_blocking(|| self.sealing.join().is_ok());
        let sealed = tokio::select! {
            sealed = &mut sealing => sealed,
            () = stopped(stop.as_mut(), failure) => sealing.await,
        };
        let (mut passed_on, mut taken) = (true, true);
        if let Some(passing) = self.passing {
            let too_long = async {
                stopped(stop.as_mut(), failure).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            };
            tokio::select! {
                passed = passing => taken = passed.unwrap_or(false),
                () = too_long => {
                    log::warn!("stdout: nobody reads it; the last lines are written but not passed on");
                    passed_on = false;
                }
            }
        }
        Finished { sealed: sealed.unwrap_or(false), passed_on, taken }
    }
}

async fn stopped(stop: impl Future<Output = ()>, failure: &Failure) {
    if !failure.stopping.load(Relaxed) {
        stop.await;
        failure.stopping.store(true, Relaxed);
    }
}

/// Reads standard input to its end.
fn read_stdin(config: Config) -> anyhow::Result<Outcome> {
    config.streams.iter().try_for_each(|stream| config.args.common.tree().check_writable(Area::Raw, &stream.name))?;
    let anchor = Arc::new(DataDirHandle::new(&config.args.common.tree())?);
    recover(&config, &anchor);
    let (stats, failure) = (Arc::new(Stats::new(&config.streams)), Arc::new(Failure::default()));
    let (files, sealing) = Files::start(Arc::clone(&anchor), Arc::clone(&stats), Arc::clone(&failure), None);
    let (pass_on, passing) = PassOn::start(config.args.stdout, Arc::clone(&failure));
    let shared = Shared { config: Arc::new(config), anchor, stats, failure, files, pass_on };
    let (config, stats, failure) = (Arc::clone(&shared.config), Arc::clone(&shared.stats), Arc::clone(&shared.failure));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (outcome, Finished { sealed, passed_on, taken }) = runtime.block_on(async {
        let mut signals = Signals::new(&shared)?;
        let outcome = stdin::run(shared, &mut signals).await;
        // Who was told to stop waits for nobody.
        failure.stopping.store(!matches!(outcome, Ok(Outcome::Done | Outcome::Partial)), Relaxed);
        let finished = Beside { sealing, passing }.finish(signals.until_stopped(), &failure).await;
        anyhow::Ok((outcome, finished))
    })?;
    stats.write_metrics(config.args.metrics_file.as_deref());
    log::debug!("{}", *stats);
    if let Some(what) = failure.get() {
        bail!("{what}");
    }
    if !sealed {
        bail!("a bug: the thread that seals segments died; the next start recovers them");
    }
    match outcome? {
        _ if !passed_on => Ok(Outcome::Interrupted),
        Outcome::Done if !taken => Ok(Outcome::Partial),
        outcome => Ok(outcome),
    }
}

/// Seals what a writer that died, with all who held its segments, has left of our streams.
pub(crate) fn recover(config: &Config, anchor: &DataDirHandle) {
    let (tree, now) = (config.args.common.tree(), chrono::Utc::now());
    for stream in &config.streams {
        for area in [Area::Raw, Area::Quarantine] {
            let recovered = anchor.check().and_then(|()| layout::recover(&tree, area, &stream.name, now));
            let recovered = recovered.unwrap_or_else(|error| {
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
}
