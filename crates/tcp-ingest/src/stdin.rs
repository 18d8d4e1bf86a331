//! Standard input as a source: replays, backfills, pipes. There is no keeper, because a pipe dies with its reader.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::Utc;
use cli::Outcome;
use layout::{Area, DataDirHandle};

use crate::args::Config;
use crate::framing::Framing;
use crate::intent_log::IntentLog;
use crate::sealer::Sealer;
use crate::shared::{RETRY, Shared};
use crate::signals::{Request, Signals};
use crate::stats::Reporter;
use crate::tee::Tee;
use crate::validator::Source;
use crate::writer::{Intake, Origin};

const SOURCE: &str = "stdin";

/// What was read when the program is told to stop has been handed over within this time.
const READER_PAUSE: Duration = Duration::from_millis(100);

/// Reads standard input to its end, or until a signal. Partial when lines were rejected.
pub(crate) fn run(config: Config) -> anyhow::Result<Outcome> {
    config.streams.iter().try_for_each(|stream| config.tree.check_writable(Area::Raw, &stream.name))?;
    let data_dir = DataDirHandle::new(&config.tree)?;
    // For one thread and one source. Nobody reads it, but so there is one way to write.
    let intent_log = IntentLog::new(1, config.max_hours() + 1, 1)?;
    let shared = Shared::new(config, data_dir, intent_log, None);
    shared.note_versions();
    shared.recover();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new(|request| matches!(request, Request::Stop | Request::Report))?;
        let mut reporter = Reporter::new();
        let thread = Arc::clone(&shared);
        let mut work = tokio::task::spawn_blocking(move || work(&thread));
        loop {
            tokio::select! {
                outcome = &mut work => return outcome?,
                request = signals.next() => match request {
                    Request::Stop => shared.set_stopping(),
                    _ => log::info!("{}", shared.stats),
                },
                () = reporter.tick(&shared.stats) => {}
            }
        }
    })
}

fn work(shared: &Arc<Shared>) -> anyhow::Result<Outcome> {
    let (sealer, sealing) = Sealer::start(shared);
    let (tee, tee_end) = Tee::start(shared);
    let outcome = read_to_the_end(shared, sealer, tee);
    if outcome.is_err() {
        // Then nobody is waited for.
        shared.set_stopping();
    }
    let all_sealed = sealing.join().is_ok();
    let tee = tee_end.wait(shared);
    shared.stats.write_metrics();
    log::debug!("{}", shared.stats);
    if let Some(what) = shared.failure.get() {
        if let Some(error) = outcome.err().map(|error| format!("{error:#}")).filter(|error| error != what) {
            log::error!("{error}");
        }
        bail!("{what}");
    }
    if !all_sealed {
        bail!("a bug: the thread that seals segments died; the next start recovers them");
    }
    match (tee, outcome?) {
        (Outcome::Interrupted, _) => Ok(Outcome::Interrupted),
        (tee, Outcome::Done) => Ok(tee),
        (_, outcome) => Ok(outcome),
    }
}

fn read_to_the_end(shared: &Arc<Shared>, sealer: Sealer, tee: Tee) -> anyhow::Result<Outcome> {
    let mut pipe = Pipe {
        blocks: read(Arc::clone(shared)),
        intake: Intake::new(shared, sealer, 0),
        framing: Framing::new(shared.config.frame(0), shared.config.settings.max_line),
        block: Vec::new(),
        tee,
        shared,
    };
    let pause = READER_PAUSE.min(*shared.config.settings.sync_every);
    loop {
        let stopping = shared.is_stopping();
        match pipe.blocks.recv_timeout(if stopping { READER_PAUSE } else { pause }) {
            Ok(block) => {
                pipe.block.extend(block.context("cannot read standard input")?);
                pipe.lines()?;
            }
            Err(RecvTimeoutError::Timeout) if !stopping => {
                pipe.intake.writer.maintain();
                pipe.check_failure()?;
            }
            // The input has ended, or the reader may wait for more for ever.
            Err(_) => break,
        }
    }
    pipe.last()?;
    pipe.intake.writer.seal_from(Duration::ZERO);
    if shared.is_stopping() {
        log::warn!("interrupted: what was read is written, the rest is not");
        return Ok(Outcome::Interrupted);
    }
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
fn read(shared: Arc<Shared>) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, blocks) = sync_channel(1);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while !shared.is_stopping() {
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
            if sender.send(read).is_err() {
                break;
            }
        }
    });
    blocks
}

struct Pipe<'s> {
    blocks: Receiver<io::Result<Vec<u8>>>,
    shared: &'s Shared,
    intake: Intake,
    framing: Framing,
    /// What is read and not written.
    block: Vec<u8>,
    tee: Tee,
}

impl Pipe<'_> {
    fn lines(&mut self) -> anyhow::Result<()> {
        loop {
            let Intake { batch, validators, .. } = &mut self.intake;
            let validator = validators.first_mut().context("no stream")?;
            let source = Source { words: SOURCE, peer: None, listener: "" };
            let all = validator.validate(batch, &mut self.framing, &self.block, source, Utc::now());
            self.write()?;
            if all {
                return Ok(());
            }
        }
    }

    /// Writes a last line without a terminator. A pipe has a definite end, so what the model accepts is complete.
    fn last(&mut self) -> anyhow::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let validator = self.intake.validators.first().context("no stream")?;
        if validator.accepts(&self.block) {
            self.block.push(b'\n');
            return self.lines();
        }
        self.intake.batch.reject_unfinished(&self.block, "the input ended inside this line", SOURCE, Utc::now());
        self.write()
    }

    /// The program is to end while the storage refuses: says how much was read that is not written.
    fn give_up(&self) -> anyhow::Result<()> {
        let mut lost = self.block.len();
        while let Ok(block) = self.blocks.recv_timeout(READER_PAUSE) {
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
    fn write(&mut self) -> anyhow::Result<()> {
        let mut reported = false;
        // Whether it is inside a line that is too long only a successor would have to know, and a pipe has none.
        let origin = Origin { stream: 0, slot: 0, inside_too_long: false };
        while let Err(error) = self.intake.writer.write(&self.block, &self.intake.batch, Utc::now(), origin) {
            if error.is_not_rolled_back {
                return Err(error.into());
            }
            self.check_failure()?;
            if self.shared.is_stopping() {
                return self.give_up();
            }
            if !std::mem::replace(&mut reported, true) {
                log::error!("{error}; reading waits, and nothing is lost as long as the program runs");
            }
            std::thread::sleep(RETRY);
        }
        self.check_failure()?;
        if reported {
            log::warn!("writing works again");
        }
        let Intake { batch, writer, .. } = &mut self.intake;
        writer.commit();
        self.tee.write(&self.block, batch, || writer.maintain());
        self.block.drain(..batch.taken);
        writer.maintain();
        Ok(())
    }
}
