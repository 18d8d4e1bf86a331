//! Replacing the keeper while all that it holds stays open: `execve` keeps the process, and its descriptors.
//!
//! What each descriptor is goes along in a memory file. The new program is tried first: it has to say that it understands
//! the file before this one gives way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Keeper;
use super::held::Connection;
use super::memory;
use super::process::Binary;
use crate::channel::Channel;

/// Set for a keeper that follows another: the descriptor of the [`Inventory`].
const KEEPER: &str = "TCP_INGEST_KEEPER";

/// Set for a program that is only to say whether it could be that keeper.
const TRIAL: &str = "TCP_INGEST_TRIAL";

/// Where the program is installed: a keeper that was replaced does not see it by itself.
pub(super) const BINARY: &str = "TCP_INGEST_BINARY";

/// What a keeper leaves to the next one, with the numbers of the descriptors.
#[derive(Debug, Serialize, Deserialize)]
struct Inventory {
    note: RawFd,
    data_dir: RawFd,
    slots: u32,
    listeners: Vec<(usize, RawFd)>,
    connections: Vec<(u32, RawFd, usize, SocketAddr)>,
    segments: Vec<(String, RawFd, Value)>,
    worker: (i32, RawFd),
    memory_score: i32,
}

/// What a keeper leaves to the next one.
pub(super) struct State {
    pub(super) note: OwnedFd,
    pub(super) data_dir: OwnedFd,
    pub(super) slots: u32,
    pub(super) listeners: Vec<(usize, TcpListener)>,
    pub(super) connections: BTreeMap<u32, Connection>,
    pub(super) segments: BTreeMap<String, (OwnedFd, Value)>,
    pub(super) worker: (Pid, Channel),
    pub(super) memory_score: i32,
}

/// What the keeper before this one left, if there was one.
pub(super) fn inherited() -> anyhow::Result<Option<State>> {
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
        Ok(Some(State {
            note: take(inventory.note)?,
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

/// A new keeper, ready to go.
pub(super) struct Ready {
    command: std::process::Command,
    /// The inventory, and what `command` runs, which it finds by their descriptors.
    _open: (File, Binary),
}

impl Ready {
    /// Puts it in the place of this one. Returns only if that fails.
    pub(super) fn go(mut self) -> anyhow::Error {
        anyhow::Error::from(self.command.exec()).context("cannot be started")
    }
}

/// Has the programs that are started from here on find what `keeper` holds open, or closed.
pub(super) fn pass_on(keeper: &Keeper, open: bool) -> rustix::io::Result<()> {
    let held = &keeper.held;
    let listeners = keeper.listeners.iter().map(AsFd::as_fd);
    let connections = held.connections.values().map(|connection| connection.socket.as_fd());
    let segments = held.segments.values().map(|(file, _)| file.as_fd());
    let worker = keeper.worker.iter().map(AsFd::as_fd);
    let own = [keeper.note.as_fd(), keeper.data_dir.as_fd()];
    let mut all = own.into_iter().chain(listeners).chain(connections).chain(segments).chain(worker);
    let flags = if open { FdFlags::empty() } else { FdFlags::CLOEXEC };
    all.try_for_each(|descriptor| fcntl_setfd(descriptor, flags))
}

/// Writes down what `keeper` holds, and has the binary on disk try whether it understands that. From then on all of it is
/// [passed on](pass_on) to whatever is started.
pub(super) async fn prepare(keeper: &Keeper) -> anyhow::Result<Ready> {
    let worker = keeper.worker.as_ref().context("no worker")?;
    let held = &keeper.held;
    let number = |descriptor: &OwnedFd| descriptor.as_raw_fd();
    let inventory = Inventory {
        note: keeper.note.as_fd().as_raw_fd(),
        data_dir: number(&keeper.data_dir),
        slots: held.slots(),
        listeners: keeper.listeners.iter().map(|listener| (listener.stream, listener.as_fd().as_raw_fd())).collect(),
        connections: held
            .connections
            .iter()
            .map(|(slot, connection)| (*slot, number(&connection.socket), connection.stream, connection.peer))
            .collect(),
        segments: held
            .segments
            .iter()
            .map(|(name, (file, segment))| (name.clone(), number(file), segment.clone()))
            .collect(),
        worker: (worker.pid.as_raw_nonzero().get(), worker.as_fd().as_raw_fd()),
        memory_score: memory::original(),
    };
    let memory = rustix::fs::memfd_create("tcp-ingest inventory", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(memory);
    file.write_all(&serde_json::to_vec(&inventory)?)?;
    let path = &keeper.binary.path;
    let binary = Binary::open(path).with_context(|| format!("{}: cannot be opened", path.display()))?;
    let command = || {
        let mut command = binary.command();
        command.arg0(path).env(KEEPER, file.as_raw_fd().to_string()).env(BINARY, path);
        command
    };
    let (mut trial, command) = (command(), command());
    fcntl_setfd(&file, FdFlags::empty())?;
    pass_on(keeper, true)?;
    if !is_understood(trial.env(TRIAL, "1")).await? {
        bail!("{}: does not understand what this version leaves; restart the service instead", path.display());
    }
    Ok(Ready { command, _open: (file, binary) })
}

/// Whether the new program can take all of it up. It has so much time: nobody is served by this keeper meanwhile.
async fn is_understood(trial: &mut std::process::Command) -> anyhow::Result<bool> {
    const TIME: Duration = Duration::from_secs(5);
    let mut child = trial.spawn().context("cannot be started")?;
    let deadline = Instant::now() + TIME;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether this process only has to say that it could be a keeper.
pub(super) fn is_trial() -> bool {
    std::env::var_os(TRIAL).is_some()
}

/// Signals that come while this is there are kept for later, also by a program that is executed.
pub(super) struct Blocked;

/// Keeps signals for later.
pub(super) fn block_signals() -> Blocked {
    set_signals_blocked(true);
    Blocked
}

impl Drop for Blocked {
    fn drop(&mut self) {
        set_signals_blocked(false);
    }
}

/// Lets signals through again that were held back while nobody could have taken them.
pub(super) fn unblock_signals() {
    set_signals_blocked(false);
}

/// Holds back what would kill a program that has just begun, or lets it through. Outlives `execve`.
fn set_signals_blocked(blocked: bool) {
    let how = if blocked { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: the set lives through the calls, which write to it or read from it only.
    unsafe {
        let mut signals = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut signals);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGCHLD] {
            libc::sigaddset(&raw mut signals, signal);
        }
        libc::pthread_sigmask(how, &raw const signals, std::ptr::null_mut());
    }
}
