//! Failures as they are told: each hour's by its name, with what to do, and what one cause does to many hours only once.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use layout::{Hour, Name};

/// The text of an error without the advice that DuckDB has for its own users, and what to do, if the cause is known.
pub(crate) fn explain(error: &anyhow::Error) -> (String, Option<&'static str>) {
    let text = engine::explain(error);
    let (text, remedy) = cli::known_cause(&text);
    (text.to_owned(), remedy)
}

/// An error of an hour that comes with what to do about it.
#[derive(Debug)]
pub(crate) struct Advised {
    pub(crate) what: String,
    /// As an order, before "then run compact again".
    pub(crate) remedy: String,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Advised {}

/// What has failed in a run.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// How often each cause was met, by its remedy.
    met: Mutex<BTreeMap<&'static str, u64>>,
}

impl Failures {
    /// Tells of an hour that failed. With `-v` each is told; otherwise only the first of those with the same cause.
    pub(crate) fn tell(&self, stream: &Name, hour: Hour, error: &anyhow::Error) {
        let (text, remedy) = explain(error);
        let before = remedy.map_or(0, |remedy| {
            let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
            let met = met.entry(remedy).or_default();
            *met += 1;
            *met - 1
        });
        let level = if before == 0 { log::Level::Error } else { log::Level::Info };
        let advised = error.downcast_ref().map(|Advised { remedy, .. }| remedy.as_str());
        let remedy = advised.or(remedy).unwrap_or("put it right");
        log::log!(level, "{stream} {hour}: {text}; its segments are kept: {remedy}, then run compact again");
    }

    /// Tells how many more there were of those that were not told each.
    pub(crate) fn sum_up(&self) {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        for (remedy, met) in met.iter().filter(|(_, met)| **met > 1) {
            let more = cli::count(met - 1, "more hour");
            log::error!("{more} failed in the same way, with their segments kept (-v names each): {remedy}");
        }
    }
}
