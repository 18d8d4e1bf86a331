//! What is lost when the program has to end before it could write what the kernel has received.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// The exit status of a worker that ends where it stands and has lost nothing: another one resumes.
pub(crate) const TO_BE_CONTINUED: i32 = 70;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Losses {
    connections: AtomicU64,
    bytes: AtomicU64,
}

impl Losses {
    /// Counts the bytes that one connection loses.
    pub(crate) fn add(&self, bytes: u64) {
        self.connections.fetch_add(u64::from(bytes > 0), Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Names the loss of one connection, and counts it.
    pub(crate) fn report(&self, stream: &str, peer: SocketAddr, bytes: u64, why: &str) {
        if bytes > 0 {
            log::error!("{stream} from {peer}: lost: {}; {why}", cli::count(bytes, "unread byte"));
        }
        self.add(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.load(Relaxed) == 0
    }
}

impl Clone for Losses {
    fn clone(&self) -> Self {
        let copy = |count: &AtomicU64| count.load(Relaxed).into();
        Self { connections: copy(&self.connections), bytes: copy(&self.bytes) }
    }
}

/// All of it, as the error that the program ends with.
impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = cli::count(self.connections.load(Relaxed), "connection");
        let bytes = cli::count(self.bytes.load(Relaxed), "unread byte");
        write!(f, "lost in all: {bytes} of {connections}, each named above; have the sources send again")
    }
}

/// Why bytes are lost when a program that was told to stop has no time left.
pub(crate) const TIME_UP: &str = "the time to drain (--drain-timeout) was up";
