//! Writing accepted lines to standard output too, on a thread of its own, so that a stalled reader cannot keep us running.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

use cli::Outcome;

use crate::batch::Batch;
use crate::shared::Shared;

/// How long a reader that stalls is waited for at the end, once the program is told to stop.
const LAST_CALL: Duration = Duration::from_millis(200);

/// The way to standard output. A reader that goes away is not our failure: the lines are in raw/.
#[derive(Clone)]
pub(crate) struct Tee {
    lines: Option<SyncSender<Vec<u8>>>,
    abandoned: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

/// Gets, when the thread has ended, whether standard output took all of it.
pub(crate) struct TeeEnd(Receiver<bool>);

impl Tee {
    /// Starts the thread, if it is wanted at all. It ends when all handles are dropped and all is written.
    pub(crate) fn start(shared: &Arc<Shared>) -> (Self, TeeEnd) {
        let mut tee = Self { lines: None, abandoned: Arc::default(), shared: Arc::clone(shared) };
        let (ended, end) = channel();
        if shared.config.settings.stdout {
            let (lines, queue) = sync_channel(4);
            let abandoned = Arc::clone(&tee.abandoned);
            std::thread::spawn(move || ended.send(write(&queue, &abandoned)));
            tee.lines = Some(lines);
        } else {
            let _ = ended.send(true);
        }
        (tee, TeeEnd(end))
    }

    /// Writes the accepted lines of a batch. While the reader is waited for, does `meanwhile` what is due.
    pub(crate) fn write(&self, block: &[u8], batch: &Batch, mut meanwhile: impl FnMut()) {
        let Some(sender) = self.lines.as_ref().filter(|_| batch.lines > 0 && !self.abandoned.load(Relaxed)) else {
            return;
        };
        let bytes = batch.bytes(block);
        let pieces = batch.runs.iter().flat_map(|run| &run.pieces);
        let mut lines = pieces.flat_map(|piece| bytes.get(piece.clone()).unwrap_or_default()).copied().collect();
        while let Err(TrySendError::Full(back)) = sender.try_send(lines) {
            if self.shared.is_stopping() {
                return give_up(&self.abandoned, "nobody reads it");
            }
            lines = back;
            meanwhile();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl TeeEnd {
    /// Waits for the thread: partial when stdout refused some of it, interrupted when a stalled reader is not waited for.
    pub(crate) fn wait(self, shared: &Shared) -> Outcome {
        loop {
            let stopping = shared.is_stopping();
            match self.0.recv_timeout(LAST_CALL) {
                Ok(true) => return Outcome::Done,
                Ok(false) | Err(RecvTimeoutError::Disconnected) => return Outcome::Partial,
                Err(RecvTimeoutError::Timeout) if !stopping => {}
                Err(RecvTimeoutError::Timeout) => {
                    log::warn!("stdout: nobody reads it; the last lines are in raw/, but not on stdout");
                    return Outcome::Interrupted;
                }
            }
        }
    }
}

fn write(queue: &Receiver<Vec<u8>>, abandoned: &AtomicBool) -> bool {
    let (mut out, mut taken) = (io::stdout().lock(), true);
    for lines in queue {
        if abandoned.load(Relaxed) {
            continue;
        }
        if let Err(error) = out.write_all(&lines).and_then(|()| out.flush()) {
            taken &= error.kind() == io::ErrorKind::BrokenPipe;
            give_up(abandoned, &error.to_string());
        }
    }
    taken
}

fn give_up(abandoned: &AtomicBool, why: &str) {
    if !abandoned.swap(true, Relaxed) {
        log::warn!("stdout: {why}; lines still go to raw/, but no longer to stdout");
    }
}
