//! An end to waiting. The extensions wait for a server that has fallen silent as long as the kernel does, which can be
//! for ever.
//!
//! A thread watches the statement that runs. When its time is up, DuckDB is asked to stop it; one that waits for an answer
//! of the network does not hear that, and then the process ends with status 75. That is as if it were killed: a
//! transaction that was not committed leaves no trace, and the next run asks the load log about one that may have been.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use duckdb::InterruptHandle;

/// How long a statement that was asked to stop may take to do so.
const GRACE: Duration = Duration::from_secs(3);

/// Watches the statements of one session.
#[derive(Debug)]
pub(crate) struct Watchdog {
    limit: Duration,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    watch: Mutex<Watch>,
    changed: Condvar,
    /// Whether the statement that runs was asked to stop.
    stopped: AtomicBool,
}

/// What the thread is to do.
#[derive(Debug, Default, Clone, Copy)]
enum Watch {
    /// No statement runs.
    #[default]
    Idle,
    /// The statement that runs may take until then.
    Until(Instant),
    /// The session is over.
    Ended,
}

impl Watchdog {
    /// Watches a session with the warehouse at `location`, which the message names when it does not answer.
    pub(crate) fn new(limit: Duration, location: String, interrupt: Arc<InterruptHandle>) -> Self {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        std::thread::spawn(move || watch(&watched, limit, &location, &interrupt));
        Self { limit, shared }
    }

    /// Runs a statement; says whether it was stopped because its time was up.
    pub(crate) fn guard<T>(&self, statement: impl FnOnce() -> T) -> (T, bool) {
        self.shared.stopped.store(false, Ordering::Relaxed);
        self.shared.set(Watch::Until(Instant::now() + self.limit));
        let result = statement();
        self.shared.set(Watch::Idle);
        (result, self.shared.stopped.load(Ordering::Relaxed))
    }

    /// The time that a statement may take.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.set(Watch::Ended);
    }
}

impl Shared {
    fn set(&self, watch: Watch) {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = watch;
        self.changed.notify_all();
    }
}

fn watch(shared: &Shared, limit: Duration, location: &str, interrupt: &InterruptHandle) {
    let mut watch = shared.watch.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let now = Instant::now();
        let wait = match *watch {
            Watch::Ended => return,
            Watch::Idle => None,
            Watch::Until(end) if now < end => Some(end - now),
            Watch::Until(end) if !shared.stopped.swap(true, Ordering::Relaxed) => {
                interrupt.interrupt();
                Some((end + GRACE).saturating_duration_since(now))
            }
            Watch::Until(end) if now < end + GRACE => Some(end + GRACE - now),
            Watch::Until(_) => {
                let limit = humantime::format_duration(limit);
                cli::give_up(&format!(
                    "{location}: no answer for {limit} (--timeout): given up; nothing is half loaded, try again later"
                ));
            }
        };
        watch = match wait {
            None => shared.changed.wait(watch).unwrap_or_else(PoisonError::into_inner),
            Some(time) => shared.changed.wait_timeout(watch, time).unwrap_or_else(PoisonError::into_inner).0,
        };
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
