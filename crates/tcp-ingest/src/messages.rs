//! What keeper and worker say to each other, and what a worker finds when it starts.
//!
//! A message is JSON, one in each packet, with at most one descriptor beside it: so that versions can differ (an unknown
//! field is passed over, a missing one has a default), and that a trace of the system calls can be read. Nothing is said
//! for each message of a source, only for connections and segments. The serialised names are a format: keepers and workers
//! of other versions know them.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The environment variable that makes a process a worker: what its `oom_score_adj` is to be. Its standard input is its end
/// of the channel.
pub(crate) const WORKER: &str = "TCP_INGEST_WORKER";

/// What the keeper says. The end of the stream means that no connection will come any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToWorker {
    /// The data directory that the keeper began with; its descriptor comes with it.
    DataDir,
    /// The memory of the intent log comes with it.
    #[serde(rename = "note")]
    IntentLog,
    /// A connection that is held in `slot`, for the stream with index `stream`; its socket comes with it.
    Connection { slot: u32, stream: usize, peer: SocketAddr, new: bool },
    /// A segment that a worker which is dead had open; its file comes with it.
    Segment { segment: serde_json::Value },
    /// All that a dead worker has left was said: resume its work.
    Begin,
    /// Take what the sources have sent and close the connections, in so many milliseconds at most.
    Drain { millis: u64 },
    /// Stop as soon as what is begun is done; another worker goes on.
    HandOver,
    /// Log the statistics.
    Report,
}

/// What the worker says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToKeeper {
    /// It runs, and waits for what it is to do.
    Up,
    /// A segment was made; its file comes with it, to be held until it is [`Sealed`](Self::Sealed).
    Opened { name: String, segment: serde_json::Value },
    /// A segment needs to be held no longer.
    Sealed { name: String },
    /// A segment has another file, which comes with it: the one before was removed.
    Moved { name: String },
    /// Syncing a segment failed: what syncs it again proves nothing.
    Unsynced { name: String },
    /// A connection is over; so many bytes of it that the kernel has received are lost.
    Over {
        slot: u32,
        #[serde(default)]
        lost: u64,
    },
}
