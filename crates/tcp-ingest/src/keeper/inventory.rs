//! What a keeper leaves to the one that takes its place: a list in a memory file, and the open descriptors that it names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use anyhow::Context as _;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::held::Connection;
use crate::channel::Channel;

/// Set for a keeper that follows another: the descriptor of the [`Inventory`].
pub(super) const KEEPER: &str = "TCP_INGEST_KEEPER";

/// Set for a program that is only to say whether it could be that keeper.
pub(super) const TRIAL: &str = "TCP_INGEST_TRIAL";

/// What a keeper leaves to the next one, with the numbers of the descriptors. A format: keepers of other versions read it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Inventory {
    #[serde(rename = "note")]
    pub(super) intent_log: RawFd,
    pub(super) data_dir: RawFd,
    pub(super) slots: u32,
    pub(super) listeners: Vec<(usize, RawFd)>,
    pub(super) connections: Vec<(u32, RawFd, usize, SocketAddr)>,
    pub(super) segments: Vec<(String, RawFd, Value)>,
    pub(super) worker: (i32, RawFd),
    pub(super) memory_score: i32,
}

/// What a keeper inherits from the one before.
pub(super) struct Inherited {
    pub(super) intent_log: OwnedFd,
    pub(super) data_dir: OwnedFd,
    pub(super) slots: u32,
    pub(super) listeners: Vec<(usize, TcpListener)>,
    pub(super) connections: BTreeMap<u32, Connection>,
    pub(super) segments: BTreeMap<String, (OwnedFd, Value)>,
    pub(super) worker: (Pid, Channel),
    pub(super) memory_score: i32,
}

/// What the keeper before this one left, if there was one.
pub(super) fn inherited() -> anyhow::Result<Option<Inherited>> {
    let Ok(number) = std::env::var(KEEPER) else { return Ok(None) };
    let number: RawFd = number.parse().with_context(|| format!("{KEEPER} is for the program's own use"))?;
    // SAFETY: the keeper before left this number to us, with this file behind it.
    let mut text = String::new();
    let mut file = File::from(unsafe { take(number)? });
    file.rewind()?;
    file.read_to_string(&mut text)?;
    let inventory: Inventory = serde_json::from_str(&text).context("another version's inventory")?;
    let pid = Pid::from_raw(inventory.worker.0).context("no worker")?;
    // SAFETY: these, too, were left to us.
    unsafe {
        let connection =
            |(slot, fd, stream, peer)| Ok((slot, Connection { socket: take(fd)?, stream, peer, new: false }));
        Ok(Some(Inherited {
            intent_log: take(inventory.intent_log)?,
            data_dir: take(inventory.data_dir)?,
            slots: inventory.slots,
            listeners: inventory
                .listeners
                .into_iter()
                .map(|(stream, fd)| Ok((stream, TcpListener::from(take(fd)?))))
                .collect::<anyhow::Result<_>>()?,
            connections: inventory.connections.into_iter().map(connection).collect::<anyhow::Result<_>>()?,
            segments: inventory
                .segments
                .into_iter()
                .map(|(name, fd, segment)| Ok((name, (take(fd)?, segment))))
                .collect::<anyhow::Result<_>>()?,
            worker: (pid, Channel::new(take(inventory.worker.1)?)),
            memory_score: inventory.memory_score,
        }))
    }
}

/// Takes a descriptor that was left to this process, and keeps it from its children.
///
/// # Safety
/// Nothing else in this process may own it.
unsafe fn take(number: RawFd) -> anyhow::Result<OwnedFd> {
    // SAFETY: the caller's.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&descriptor, FdFlags::CLOEXEC).with_context(|| format!("descriptor {number} was not left open"))?;
    Ok(descriptor)
}

/// Whether this process only has to say that it could be a keeper.
pub(super) fn is_trial() -> bool {
    std::env::var_os(TRIAL).is_some()
}
