//! What ends the program, and what is lost by that.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The exit status of a worker that ends where it stands and has lost nothing: another one resumes.
pub(crate) const TO_BE_CONTINUED: i32 = 70;

/// Why the program ends: set once, by whichever thread meets a reason first.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    what: OnceLock<String>,
    policy: Policy,
    /// The program is about to end anyway: then nothing is tried for ever.
    stopping: AtomicBool,
    lost: Mutex<Losses>,
}

/// What a failure does to the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Policy {
    /// It is remembered, and the program ends in good order.
    #[default]
    EndInOrder,
    /// The process ends where it stands, because another one resumes its work.
    EndAtOnce,
}

impl Failure {
    /// For a process whose work another one resumes: a failure ends it where it stands.
    pub(crate) fn of_a_worker() -> Self {
        Self { policy: Policy::EndAtOnce, ..Self::default() }
    }

    /// Reports what makes going on impossible.
    pub(crate) fn report(&self, what: impl Into<String>) {
        let what = what.into();
        if self.policy == Policy::EndAtOnce {
            log::error!("{what}");
            std::process::exit(TO_BE_CONTINUED);
        }
        self.report_at_the_end(what);
    }

    /// Reports what went wrong when the program was about to end.
    pub(crate) fn report_at_the_end(&self, what: String) {
        let _ = self.what.set(what);
    }

    /// What was reported.
    pub(crate) fn get(&self) -> Option<&str> {
        self.what.get().map(String::as_str)
    }

    /// The program is about to end.
    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// Whether the program is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Counts bytes of a connection that are lost.
    pub(crate) fn add_loss(&self, bytes: u64) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).add(bytes);
    }

    /// What is lost.
    pub(crate) fn lost(&self) -> Losses {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much is lost when the program has to end before it could write what the kernel has received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    connections: u64,
    bytes: u64,
}

impl Losses {
    /// Counts the bytes that one connection loses.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.connections += u64::from(bytes > 0);
        self.bytes += bytes;
    }

    /// Whether nothing is lost.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

/// All of it, as the error that the program ends with.
impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = cli::count(self.connections, "connection");
        let bytes = cli::count(self.bytes, "unread byte");
        write!(f, "lost in all: {bytes} of {connections}, each named above; have the sources send again")
    }
}

/// Names the loss of one connection.
pub(crate) fn report_loss(stream: &str, peer: SocketAddr, bytes: u64) {
    if bytes > 0 {
        let bytes = cli::count(bytes, "unread byte");
        log::error!("{stream} from {peer}: lost: {bytes}; the time to drain (--drain-timeout) was up");
    }
}
