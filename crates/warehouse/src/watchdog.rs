//! An end to waiting. The extensions wait for a server that has fallen silent as long as the kernel does, which can be
//! for ever.
//!
//! A thread watches the statement that runs. When its time is up, DuckDB is asked to stop it; one that waits for an answer
//! of the network does not hear that, and then the process ends with status 75. That is as if it were killed: a
//! transaction that was not committed leaves no trace, and the next run asks the load log about one that may have been.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use duckdb::InterruptHandle;

/// How long a statement that was asked to stop may take to do so.
const GRACE: Duration = Duration::from_secs(3);

/// Watches the statements of one session.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// Tells the thread that a statement begins, and that it has ended. A message waits until it is taken: the thread never
    /// stops a later statement than it means.
    news: SyncSender<()>,
    /// Whether the statement that runs was asked to stop.
    stopped: Arc<AtomicBool>,
}

impl Watchdog {
    /// Watches a session in which no statement takes longer than `limit`. The message names the warehouse at `location`
    /// when it does not answer.
    pub(crate) fn new(limit: Duration, location: String, interrupt: Arc<InterruptHandle>) -> Self {
        let (news, heard) = mpsc::sync_channel(0);
        let stopped = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stopped);
        std::thread::spawn(move || watch(&heard, limit, &location, &interrupt, &stops));
        Self { news, stopped }
    }

    /// Runs a statement; says whether it was stopped because its time was up.
    pub(crate) fn guard<T>(&self, statement: impl FnOnce() -> T) -> (T, bool) {
        self.stopped.store(false, Ordering::Relaxed);
        // The thread hears as long as there is a watchdog.
        let _ = self.news.send(());
        let result = statement();
        let _ = self.news.send(());
        (result, self.stopped.load(Ordering::Relaxed))
    }
}

fn watch(news: &Receiver<()>, limit: Duration, location: &str, interrupt: &InterruptHandle, stopped: &AtomicBool) {
    while news.recv().is_ok() {
        if news.recv_timeout(limit) != Err(RecvTimeoutError::Timeout) {
            continue;
        }
        stopped.store(true, Ordering::Relaxed);
        interrupt.interrupt();
        if news.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
            let limit = humantime::format_duration(limit);
            cli::give_up(&format!(
                "{location}: no answer for {limit} (--timeout): given up; nothing is half loaded, try again later"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_takes_too_long_is_stopped_and_the_next_one_runs() {
        let connection = duckdb::Connection::open_in_memory().unwrap();
        let watchdog = Watchdog::new(Duration::from_millis(300), "here".to_owned(), connection.interrupt_handle());
        let long = "SELECT max(a.range * b.range) FROM range(1000000) a, range(1000000) b";
        let (result, stopped) = watchdog.guard(|| connection.execute_batch(long));
        assert!(result.is_err() && stopped);
        let (result, stopped) = watchdog.guard(|| connection.execute_batch("SELECT 1"));
        assert!(result.is_ok() && !stopped);
    }
}
