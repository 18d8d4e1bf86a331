//! What the keeper holds for its workers: connections in numbered slots, and the files of open segments.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::process::{Resource, Rlimit};
use serde_json::Value;

use crate::args::Config;

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
    /// Slots that are free; the last is taken next.
    free: Vec<u32>,
}

impl Held {
    /// What is held in the beginning, with so many slots for connections.
    pub(super) fn new(
        slots: u32,
        connections: BTreeMap<u32, Connection>,
        segments: BTreeMap<String, (OwnedFd, Value)>,
    ) -> Self {
        let free = (0..slots).rev().filter(|slot| !connections.contains_key(slot)).collect();
        Self { connections, segments, free }
    }

    /// Whether there is a slot for one more connection.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether a tenth of the slots is free.
    pub(super) fn has_plenty(&self) -> bool {
        self.connections.len() < self.slots() / 10 * 9
    }

    /// Puts a connection in a slot.
    pub(super) fn add(&mut self, connection: Connection) -> Option<u32> {
        let slot = self.free.pop()?;
        self.connections.insert(slot, connection);
        Some(slot)
    }

    /// Takes a connection out of its slot.
    pub(super) fn release(&mut self, slot: u32) -> Option<Connection> {
        let connection = self.connections.remove(&slot)?;
        self.free.push(slot);
        Some(connection)
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.free.len() + self.connections.len()
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
    let wanted = config.settings.max_connections;
    // Beside the open segments there are those that are being sealed (sealer.rs); the rest is for folders, listeners and
    // the system's own.
    let others = u64::from(config.settings.max_open) * 3 + 64;
    let enough_for = |granted: u64| u32::try_from(granted.saturating_sub(others)).unwrap_or(u32::MAX).max(1);
    let slots = granted.map_or(wanted, enough_for);
    if slots < wanted {
        log::warn!(
            "the limit of open files (ulimit -n) allows only {slots} of {wanted} connections (--max-connections)"
        );
    }
    wanted.min(slots)
}
