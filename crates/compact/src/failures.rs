//! Failures as they are told: each hour's by its name, and what one cause does to many hours only once.

use std::sync::{Mutex, PoisonError};

use layout::{Hour, Name};

/// What can go wrong for many hours in the same way: how the message that tells it is known, and what to do. Errors come
/// from the system, from layout and from DuckDB, and only their text has all of it.
struct Cause {
    /// One of these is in the message.
    known_by: &'static [&'static str],
    remedy: &'static str,
}

impl Cause {
    fn is_of(&self, text: &str) -> bool {
        self.known_by.iter().any(|known| text.contains(known))
    }
}

const CAUSES: [Cause; 3] = [
    Cause { known_by: &["No space left on device", "Disk quota exceeded"], remedy: "make room" },
    Cause {
        known_by: &["Read-only file system", "Permission denied", "Operation not permitted"],
        remedy: "give compact access to it",
    },
    Cause { known_by: &["Out of Memory Error"], remedy: "raise --memory-limit or lower --threads" },
];

/// What to do about an error with this text, if its cause is known.
pub(crate) fn remedy(text: &str) -> Option<&'static str> {
    CAUSES.iter().find(|cause| cause.is_of(text)).map(|cause| cause.remedy)
}

/// An error of more than one hour, with what to do about it, if its cause is known.
pub(crate) fn with_remedy(error: anyhow::Error) -> anyhow::Error {
    let text = engine::explain(&error);
    match remedy(&text) {
        Some(remedy) => anyhow::anyhow!("{text}: {remedy}, then run compact again"),
        None => error,
    }
}

/// What has failed in a run.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// How often each cause was met.
    met: Mutex<[u64; CAUSES.len()]>,
}

impl Failures {
    /// Tells of an hour that failed. With `-v` each is told; otherwise only the first of those with the same cause.
    pub(crate) fn tell(&self, stream: &Name, hour: Hour, error: &anyhow::Error) {
        let text = engine::explain(error);
        let Some((index, cause)) = CAUSES.iter().enumerate().find(|(_, cause)| cause.is_of(&text)) else {
            return log::error!("{stream} {hour}: {text}; its segments are kept");
        };
        // DuckDB has advice of its own, for its own users.
        let text = text.split(" Possible solutions:").next().unwrap_or(&text);
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let before = met.get_mut(index).map_or(0, |met| std::mem::replace(met, *met + 1));
        let level = if before == 0 { log::Level::Error } else { log::Level::Info };
        log::log!(level, "{stream} {hour}: {text}; its segments are kept: {}, then run compact again", cause.remedy);
    }

    /// Tells how many more there were of those that were not told each.
    pub(crate) fn sum_up(&self) {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        for (cause, met) in CAUSES.iter().zip(*met).filter(|(_, met)| *met > 1) {
            let more = cli::count(met - 1, "more hour");
            log::error!("{more} failed in the same way, with their segments kept (-v names each): {}", cause.remedy);
        }
    }
}
