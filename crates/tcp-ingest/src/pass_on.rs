//! Passing accepted lines on to standard output, on a thread of its own: a reader that stalls holds the sources up, as a
//! full disk does, but it cannot keep the program from ending.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::batch::Batch;
use crate::files::Failure;

/// Ends when all is passed on; false if standard output refused some of it. A reader that went away wanted no more.
pub(crate) type Passing = oneshot::Receiver<bool>;

/// The way to standard output. A reader that goes away is not our failure: the lines are in raw/.
#[derive(Clone)]
pub(crate) struct PassOn {
    lines: Option<SyncSender<Vec<u8>>>,
    /// Set when nobody reads any more.
    over: Arc<AtomicBool>,
    failure: Arc<Failure>,
}

impl PassOn {
    /// Starts the thread, if lines are passed on at all; it ends when all handles are dropped and all is passed on.
    pub(crate) fn start(wanted: bool, failure: Arc<Failure>) -> (Self, Option<Passing>) {
        let over = Arc::new(AtomicBool::new(false));
        if !wanted {
            return (Self { lines: None, over, failure }, None);
        }
        let (lines, queue) = sync_channel(4);
        let (end, passing) = oneshot::channel();
        let told = Arc::clone(&over);
        std::thread::spawn(move || {
            let _ = end.send(write(&queue, &told));
        });
        (Self { lines: Some(lines), over, failure }, Some(passing))
    }

    /// Passes on the accepted lines of a batch that is written; waits for the reader, unless the program is to stop.
    pub(crate) fn batch(&self, block: &[u8], batch: &Batch) {
        let mut lines = self.lines(block, batch);
        while let Some(back) = self.offer(lines) {
            lines = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The accepted lines of a batch, if they are passed on.
    pub(crate) fn lines(&self, block: &[u8], batch: &Batch) -> Vec<u8> {
        if self.lines.is_none() || self.over.load(Relaxed) {
            return Vec::new();
        }
        let bytes = batch.bytes(block);
        let pieces = batch.runs.iter().flat_map(|run| &run.pieces);
        pieces.flat_map(|piece| bytes.get(piece.clone()).unwrap_or_default()).copied().collect()
    }

    /// Hands lines over, or gives them back when the reader has to be waited for.
    pub(crate) fn offer(&self, lines: Vec<u8>) -> Option<Vec<u8>> {
        let sender = self.lines.as_ref().filter(|_| !lines.is_empty())?;
        match sender.try_send(lines) {
            Err(TrySendError::Full(_)) if self.failure.stopping.load(Relaxed) => {
                give_up(&self.over, "nobody reads it");
                None
            }
            Err(TrySendError::Full(back)) => Some(back),
            _ => None,
        }
    }
}

fn write(queue: &Receiver<Vec<u8>>, over: &AtomicBool) -> bool {
    let (mut out, mut taken) = (io::stdout().lock(), true);
    for lines in queue {
        if over.load(Relaxed) {
            continue;
        }
        if let Err(error) = out.write_all(&lines).and_then(|()| out.flush()) {
            taken &= error.kind() == io::ErrorKind::BrokenPipe;
            give_up(over, &error.to_string());
        }
    }
    taken
}

fn give_up(over: &AtomicBool, why: &str) {
    if !over.swap(true, Relaxed) {
        log::warn!("stdout: {why}; lines are no longer passed on, only written");
    }
}
