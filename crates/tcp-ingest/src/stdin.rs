//! Standard input as a source: replays, backfills, pipes.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::Utc;
use cli::Outcome;
use layout::Area;
use tokio::sync::mpsc;

use crate::framing::Framing;
use crate::program::Shared;
use crate::report::Signals;
use crate::thread::Intake;

const SOURCE: &str = "stdin";

/// What was read when the program is told to stop has been handed over within this time.
const READER_PAUSE: Duration = Duration::from_millis(100);

/// Reads standard input to its end, or until a signal. Partial when lines were rejected.
pub(crate) async fn run(shared: Shared, signals: &mut Signals) -> anyhow::Result<Outcome> {
    let max_line = usize::try_from(shared.config.args.max_line.0).unwrap_or(usize::MAX);
    let stopping = Arc::new(AtomicBool::new(false));
    let mut pipe = Pipe {
        blocks: read(Arc::clone(&stopping)),
        intake: Intake::new(&shared, None),
        framing: Framing::new(max_line),
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
                pipe.intake.writer.tend();
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
    match pipe.shared.stats.rejected() {
        0 => Ok(Outcome::Done),
        rejected => {
            let were = if rejected == 1 { "was" } else { "were" };
            let (what, why) = (cli::count(rejected, "line"), pipe.shared.stats.rejections());
            let stream = pipe.shared.config.streams.first().context("no stream")?;
            let folder = pipe.shared.config.args.common.tree().folder(Area::Quarantine, &stream.name);
            log::warn!("{what} {were} rejected ({why}): see {}", folder.display());
            Ok(Outcome::Partial)
        }
    }
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
            let Intake { batch, judges, .. } = &mut self.intake;
            let judge = judges.first_mut().context("no stream")?;
            let all = judge.block(batch, &mut self.framing, &self.block, SOURCE, now);
            self.commit().await?;
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
        let judge = self.intake.judges.first().context("no stream")?;
        if judge.accepts(&self.block) {
            self.block.push(b'\n');
            return self.lines().await;
        }
        self.intake.batch.unfinished(&self.block, "the input ended inside this line", SOURCE, Utc::now());
        self.commit().await
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
    async fn commit(&mut self) -> anyhow::Result<()> {
        let mut told = false;
        while let Err(error) = self.intake.writer.commit(0, &self.block, &self.intake.batch, Utc::now(), None) {
            if matches!(error, layout::Error::NotRolledBack { .. }) {
                return Err(error.into());
            }
            self.check_failure()?;
            if !std::mem::replace(&mut told, true) {
                log::error!("{error}; reading waits, and nothing is lost as long as the program runs");
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
                () = self.signals.until_stopped() => return self.give_up().await,
            }
        }
        self.check_failure()?;
        if told {
            log::warn!("writing works again");
        }
        let mut lines = self.shared.pass_on.lines(&self.block, &self.intake.batch);
        while let Some(back) = self.shared.pass_on.offer(lines) {
            lines = back;
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(1)) => self.intake.writer.tend(),
                () = self.signals.until_stopped() => {
                    self.stopping.store(true, Relaxed);
                    self.shared.failure.stopping.store(true, Relaxed);
                }
            }
        }
        self.block.drain(..self.intake.batch.taken);
        self.intake.writer.settle();
        self.intake.writer.tend();
        Ok(())
    }
}
