//! What the keeper holds for its workers: connections in numbered slots, and the files of open segments.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::process::{Resource, Rlimit};
use serde_json::Value;

use crate::args::Config;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    pub(super) stream: usize,
    pub(super) peer: SocketAddr,
    /// No worker knows it yet.
    pub(super) new: bool,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) connections: BTreeMap<u32, Connection>,
    /// By name. What a segment is, only workers understand.
    pub(super) segments: BTreeMap<String, (OwnedFd, Value)>,
    /// Slots that are free; the last is taken next.
    free: Vec<u32>,
}

impl Held {
    pub(super) fn new(
        slots: u32,
        connections: BTreeMap<u32, Connection>,
        segments: BTreeMap<String, (OwnedFd, Value)>,
    ) -> Self {
        let free = (0..slots).rev().filter(|slot| !connections.contains_key(slot)).collect();
        Self { connections, segments, free }
    }

    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    pub(super) fn add(&mut self, connection: Connection) -> Option<u32> {
        let slot = self.free.pop()?;
        self.connections.insert(slot, connection);
        Some(slot)
    }

    pub(super) fn release(&mut self, slot: u32) -> Option<Connection> {
        let connection = self.connections.remove(&slot)?;
        self.free.push(slot);
        Some(connection)
    }

    pub(super) fn slots(&self) -> usize {
        self.free.len() + self.connections.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.segments.is_empty()
    }
}

/// Asks for as many descriptors as the system grants; returns how many connections they are enough for, segments first.
pub(super) fn slots(config: &Config) -> u32 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let granted = if raised.is_ok() { limit.maximum } else { limit.current };
    let wanted = config.settings.max_connections;
    // Those that are being sealed (sealer.rs) are open too; the rest is for folders, listeners and the system's own.
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
