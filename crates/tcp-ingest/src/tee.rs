//! Writing accepted lines to standard output too, on a thread of its own: a reader that stalls holds the sources up, as a
//! full disk does, but it cannot keep the program from ending.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::batch::Batch;
use crate::failure::Failure;

/// Ends when all is written; false if standard output refused some of it. A reader that went away wanted no more.
pub(crate) type TeeEnd = oneshot::Receiver<bool>;

/// The way to standard output. A reader that goes away is not our failure: the lines are in raw/.
#[derive(Clone)]
pub(crate) struct Tee {
    lines: Option<SyncSender<Vec<u8>>>,
    /// Set when nobody reads any more.
    abandoned: Arc<AtomicBool>,
    failure: Arc<Failure>,
}

impl Tee {
    /// Starts the thread, if lines are `wanted` on standard output at all. It ends when all handles are dropped and all is
    /// written.
    pub(crate) fn start(wanted: bool, failure: Arc<Failure>) -> (Self, Option<TeeEnd>) {
        let abandoned = Arc::new(AtomicBool::new(false));
        if !wanted {
            return (Self { lines: None, abandoned, failure }, None);
        }
        let (lines, queue) = sync_channel(4);
        let (end, written) = oneshot::channel();
        let seen = Arc::clone(&abandoned);
        std::thread::spawn(move || {
            let _ = end.send(write(&queue, &seen));
        });
        (Self { lines: Some(lines), abandoned, failure }, Some(written))
    }

    /// Writes the accepted lines of a batch; waits for the reader, unless the program is to stop.
    pub(crate) fn write(&self, block: &[u8], batch: &Batch) {
        let mut lines = self.lines(block, batch);
        while let Some(back) = self.offer(lines) {
            lines = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The accepted lines of a batch, if they are wanted.
    pub(crate) fn lines(&self, block: &[u8], batch: &Batch) -> Vec<u8> {
        if self.lines.is_none() || self.abandoned.load(Relaxed) {
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
            Err(TrySendError::Full(_)) if self.failure.is_stopping() => {
                give_up(&self.abandoned, "nobody reads it");
                None
            }
            Err(TrySendError::Full(back)) => Some(back),
            _ => None,
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
