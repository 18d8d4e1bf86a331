//! What the keeper holds for its workers: connections in numbered slots, and the files of open segments.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::process::{Resource, Rlimit};
use serde_json::Value;

use crate::args::Config;
use crate::socket;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    pub(super) stream: usize,
    pub(super) peer: SocketAddr,
    /// No worker knows it yet.
    pub(super) new: bool,
}

/// Descriptors that outlive a worker.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) connections: BTreeMap<u32, Connection>,
    /// By name. What a segment is, only workers understand.
    pub(super) segments: BTreeMap<String, (OwnedFd, Value)>,
    /// Slots that were in use, and the first that never was.
    free: BTreeSet<u32>,
    unused: u32,
    slots: u32,
}

impl Held {
    /// Nothing yet, with room for so many connections.
    pub(super) fn new(slots: u32) -> Self {
        Self { connections: BTreeMap::new(), segments: BTreeMap::new(), free: BTreeSet::new(), unused: 0, slots }
    }

    /// What another keeper held.
    pub(super) fn restore(
        slots: u32,
        connections: BTreeMap<u32, Connection>,
        segments: BTreeMap<String, (OwnedFd, Value)>,
    ) -> Self {
        let unused = connections.last_key_value().map_or(0, |(slot, _)| slot + 1);
        let free = (0..unused).filter(|slot| !connections.contains_key(slot)).collect();
        Self { connections, segments, free, unused, slots }
    }

    /// Whether there is a slot for one more connection.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty() || self.unused < self.slots
    }

    /// Whether a tenth of the slots is free.
    pub(super) fn has_plenty(&self) -> bool {
        self.connections.len() < self.slots as usize / 10 * 9
    }

    /// Puts a connection in a slot.
    pub(super) fn add(&mut self, connection: Connection) -> u32 {
        let slot = self.free.pop_first().unwrap_or_else(|| {
            self.unused += 1;
            self.unused - 1
        });
        self.connections.insert(slot, connection);
        slot
    }

    /// Closes a connection.
    pub(super) fn release(&mut self, slot: u32) {
        if let Some(connection) = self.connections.remove(&slot) {
            // The worker has taken what was acknowledged and closed it.
            socket::end(&connection.socket);
            self.free.insert(slot);
        }
    }

    /// Marks a segment, for the next worker, as one whose sync failed.
    pub(super) fn mark_unsynced(&mut self, segment: &str) {
        if let Some((_, segment)) = self.segments.get_mut(segment) {
            segment["unsynced"] = true.into();
        }
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> u32 {
        self.slots
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.segments.is_empty()
    }
}

/// Each connection and segment needs a descriptor: asks for as many as the system grants, for the workers too, and returns
/// how many connections that is enough for, segments first.
pub(super) fn slots(config: &Config) -> u32 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let granted = if raised.is_ok() { limit.maximum } else { limit.current };
    let wanted = config.max_connections;
    // Beside the open segments there are those that are being sealed (sealer.rs); the rest is for folders, listeners and
    // the system's own.
    let others = config.max_open as u64 * 3 + 64;
    let slots = granted.map_or(wanted, |granted| u32::try_from(granted.saturating_sub(others)).unwrap_or(u32::MAX));
    if slots < wanted {
        let slots = slots.max(1);
        log::warn!(
            "the limit of open files (ulimit -n) allows only {slots} of {wanted} connections (--max-connections)"
        );
    }
    wanted.min(slots.max(1))
}
