//! What is lost when the program has to end before it could write what the kernel has received.

use std::fmt;
use std::net::SocketAddr;

/// How much is lost.
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
pub(crate) fn report(stream: &str, peer: SocketAddr, bytes: u64) {
    if bytes > 0 {
        let bytes = cli::count(bytes, "unread byte");
        log::error!("{stream} from {peer}: lost: {bytes}; the time to drain (--drain-timeout) was up");
    }
}
