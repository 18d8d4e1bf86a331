//! The threads that run beside those that read: one seals segments, one writes to standard output. Both are waited for at
//! the end.

use std::thread::JoinHandle;
use std::time::Duration;

use crate::failure::Failure;
use crate::tee::TeeEnd;

/// The threads, to be waited for.
pub(crate) struct BackgroundTasks {
    pub(crate) sealing: JoinHandle<()>,
    pub(crate) tee_end: Option<TeeEnd>,
}

/// How the threads ended.
pub(crate) struct Ended {
    /// The thread that seals did not panic.
    pub(crate) sealed: bool,
    pub(crate) tee: TeeOutcome,
}

/// What became of the lines for standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TeeOutcome {
    /// All were written, or the reader went away and wanted no more.
    Written,
    /// Standard output refused some.
    Refused,
    /// The reader stalled, and was not waited for.
    Abandoned,
}

impl BackgroundTasks {
    /// Waits until all is sealed and written. Once `stop` is ready the program is told to stop: then nothing is tried for
    /// ever, and a reader of stdout that stalls is not waited for.
    pub(crate) async fn finish(self, stop: impl Future<Output = ()>, failure: &Failure) -> Ended {
        let mut stop = std::pin::pin!(stop);
        let mut sealing = tokio::task::spawn_blocking(|| self.sealing.join().is_ok());
        let sealed = tokio::select! {
            sealed = &mut sealing => sealed,
            () = stopped(stop.as_mut(), failure) => sealing.await,
        };
        let tee = match self.tee_end {
            None => TeeOutcome::Written,
            Some(end) => tokio::select! {
                written = end => if written.unwrap_or(false) { TeeOutcome::Written } else { TeeOutcome::Refused },
                () = reader_had_its_time(stop.as_mut(), failure) => {
                    log::warn!("stdout: nobody reads it; the last lines are in raw/, but not on stdout");
                    TeeOutcome::Abandoned
                }
            },
        };
        Ended { sealed: sealed.unwrap_or(false), tee }
    }
}

async fn reader_had_its_time(stop: impl Future<Output = ()>, failure: &Failure) {
    stopped(stop, failure).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
}

async fn stopped(stop: impl Future<Output = ()>, failure: &Failure) {
    if !failure.is_stopping() {
        stop.await;
        failure.set_stopping();
    }
}
