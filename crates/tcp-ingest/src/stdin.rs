//! Standard input as a source: replays, backfills, pipes. There is no keeper, because a pipe dies with its reader.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::Utc;
use cli::Outcome;
use layout::{Area, DataDirHandle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::args::Config;
use crate::background::{Ended, TeeOutcome};
use crate::failure::Failure;
use crate::framing::Framing;
use crate::intake::Intake;
use crate::recovery::recover;
use crate::report::Reporter;
use crate::shared::Shared;

const SOURCE: &str = "stdin";

/// What was read when the program is told to stop has been handed over within this time.
const READER_PAUSE: Duration = Duration::from_millis(100);

/// Reads standard input to its end, or until a signal. Partial when lines were rejected.
pub(crate) fn run(config: Config) -> anyhow::Result<Outcome> {
    config.streams.iter().try_for_each(|stream| config.tree.check_writable(Area::Raw, &stream.name))?;
    let data_dir = Arc::new(DataDirHandle::new(&config.tree)?);
    recover(&config, &data_dir);
    let (shared, background) = Shared::start(config, data_dir, Failure::default(), None);
    let (config, stats, failure) = (Arc::clone(&shared.config), Arc::clone(&shared.stats), Arc::clone(&shared.failure));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (outcome, Ended { sealed, tee }) = runtime.block_on(async {
        let mut signals = Signals::new(&shared)?;
        let outcome = read_to_the_end(shared, &mut signals).await;
        // Once told to stop, nobody is waited for.
        if !matches!(outcome, Ok(Outcome::Done | Outcome::Partial)) {
            failure.set_stopping();
        }
        let ended = background.finish(signals.until_stopped(), &failure).await;
        anyhow::Ok((outcome, ended))
    })?;
    stats.write_metrics(config.metrics_file.as_deref());
    log::debug!("{}", *stats);
    if let Some(what) = failure.get() {
        if let Some(error) = outcome.err().map(|error| format!("{error:#}")).filter(|error| error != what) {
            log::error!("{error}");
        }
        bail!("{what}");
    }
    if !sealed {
        bail!("a bug: the thread that seals segments died; the next start recovers them");
    }
    match (tee, outcome?) {
        (TeeOutcome::Abandoned, _) => Ok(Outcome::Interrupted),
        (TeeOutcome::Refused, Outcome::Done) => Ok(Outcome::Partial),
        (_, outcome) => Ok(outcome),
    }
}

async fn read_to_the_end(shared: Shared, signals: &mut Signals) -> anyhow::Result<Outcome> {
    let stopping = Arc::new(AtomicBool::new(false));
    let mut pipe = Pipe {
        blocks: read(Arc::clone(&stopping)),
        intake: Intake::new(&shared, None),
        framing: Framing::new(shared.config.max_line),
        block: Vec::new(),
        signals,
        stopping: Arc::clone(&stopping),
        shared,
    };
    loop {
        let block = tokio::select! {
            block = pipe.blocks.recv() => block,
            () = pipe.signals.until_stopped() => { stopping.store(true, Relaxed); continue }
            () = tokio::time::sleep(pipe.shared.config.sync_every), if !stopping.load(Relaxed) => {
                pipe.intake.writer.maintain();
                pipe.check_failure()?;
                continue;
            }
            // The reader may wait for more for ever.
            () = tokio::time::sleep(READER_PAUSE), if stopping.load(Relaxed) => None,
        };
        match block {
            Some(block) => pipe.block.extend(block.context("cannot read standard input")?),
            None => break,
        }
        pipe.lines().await?;
    }
    pipe.last().await?;
    pipe.intake.writer.seal_all();
    if stopping.load(Relaxed) {
        log::warn!("interrupted: what was read is written, the rest is not");
        return Ok(Outcome::Interrupted);
    }
    report_rejected(&pipe.shared)
}

fn report_rejected(shared: &Shared) -> anyhow::Result<Outcome> {
    let rejected = shared.stats.rejected();
    if rejected == 0 {
        return Ok(Outcome::Done);
    }
    let were = if rejected == 1 { "was" } else { "were" };
    let (what, why) = (cli::count(rejected, "line"), shared.stats.rejections());
    let stream = shared.config.streams.first().context("no stream")?;
    let folder = shared.config.tree.folder(Area::Quarantine, &stream.name);
    log::warn!("{what} {were} rejected ({why}): see {}", folder.display());
    Ok(Outcome::Partial)
}

/// Reads blocks on a thread of its own, no further ahead than one.
fn read(stopping: Arc<AtomicBool>) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, blocks) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while !stopping.load(Relaxed) {
            let mut block = vec![0; 256 * 1024];
            let read = match input.read(&mut block) {
                Ok(0) => break,
                Ok(count) => {
                    block.truncate(count);
                    Ok(block)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            if sender.blocking_send(read).is_err() {
                break;
            }
        }
    });
    blocks
}

struct Pipe<'r> {
    blocks: mpsc::Receiver<io::Result<Vec<u8>>>,
    shared: Shared,
    intake: Intake,
    framing: Framing,
    /// What is read and not written.
    block: Vec<u8>,
    signals: &'r mut Signals,
    /// Set when a signal has come.
    stopping: Arc<AtomicBool>,
}

impl Pipe<'_> {
    /// Writes the complete lines.
    async fn lines(&mut self) -> anyhow::Result<()> {
        loop {
            let now = Utc::now();
            let Intake { batch, validators, .. } = &mut self.intake;
            let validator = validators.first_mut().context("no stream")?;
            let all = validator.validate(batch, &mut self.framing, &self.block, SOURCE, now);
            self.write().await?;
            if all {
                return Ok(());
            }
        }
    }

    /// Writes a last line without a terminator. A pipe has a definite end, so what the model accepts is complete.
    async fn last(&mut self) -> anyhow::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let validator = self.intake.validators.first().context("no stream")?;
        if validator.accepts(&self.block) {
            self.block.push(b'\n');
            return self.lines().await;
        }
        self.intake.batch.reject_unfinished(&self.block, "the input ended inside this line", SOURCE, Utc::now());
        self.write().await
    }

    /// The program is to end while the storage refuses: says how much was read that is not written.
    async fn give_up(&mut self) -> anyhow::Result<()> {
        let mut lost = self.block.len();
        self.stopping.store(true, Relaxed);
        while let Ok(Some(block)) = tokio::time::timeout(READER_PAUSE, self.blocks.recv()).await {
            lost += block.map_or(0, |block| block.len());
        }
        bail!(
            "interrupted while the storage refused: lost, because read and not written: the last {}",
            cli::count(lost, "byte")
        )
    }

    fn check_failure(&self) -> anyhow::Result<()> {
        self.shared.failure.get().map_or(Ok(()), |what| bail!("{what}"))
    }

    /// Writes the batch, waiting as long as the storage refuses, and drops from the block what it took.
    async fn write(&mut self) -> anyhow::Result<()> {
        let mut reported = false;
        while let Err(error) = self.intake.writer.write(0, &self.block, &self.intake.batch, Utc::now(), None) {
            if matches!(error, layout::Error::NotRolledBack { .. }) {
                return Err(error.into());
            }
            self.check_failure()?;
            if !std::mem::replace(&mut reported, true) {
                log::error!("{error}; reading waits, and nothing is lost as long as the program runs");
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
                () = self.signals.until_stopped() => return self.give_up().await,
            }
        }
        self.check_failure()?;
        if reported {
            log::warn!("writing works again");
        }
        let mut lines = self.shared.tee.lines(&self.block, &self.intake.batch);
        while let Some(back) = self.shared.tee.offer(lines) {
            lines = back;
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(1)) => self.intake.writer.maintain(),
                () = self.signals.until_stopped() => {
                    self.stopping.store(true, Relaxed);
                    self.shared.failure.set_stopping();
                }
            }
        }
        self.block.drain(..self.intake.batch.taken);
        self.intake.writer.commit();
        self.intake.writer.maintain();
        Ok(())
    }
}

/// Waits for the signals that mean something to us. Once it is made, they no longer kill.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user: Signal,
    reporter: Reporter,
}

impl Signals {
    fn new(shared: &Shared) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user: signal(SignalKind::user_defined1())?,
            reporter: Reporter::new(shared),
        })
    }

    /// Reports statistics until a signal asks to stop. May be dropped and called again.
    async fn until_stopped(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.user.recv() => self.reporter.log(),
                () = self.reporter.tick() => {}
            }
        }
    }
}
