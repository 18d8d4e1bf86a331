//! Replacing the keeper while all that it holds stays open: `execve` keeps the process, and its descriptors.
//!
//! What each descriptor is goes along in a memory file ([`Inventory`]), which the new program has to understand first.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::sleep;

use super::held::{self, Connection, Held};
use super::listeners::Listener;
use super::process::{BINARY, Binary, Stage, Worker};
use super::state::Keeper;
use crate::args::Config;
use crate::intent_log::IntentLog;
use crate::losses::Losses;
use crate::oom_score;
use crate::signals::{Request, Signals};

/// Set for a keeper that follows another: the descriptor of the [`Inventory`].
const KEEPER: &str = "TCP_INGEST_KEEPER";

/// Set for a program that is only to say whether it could be that keeper.
pub(super) const TRIAL: &str = "TCP_INGEST_TRIAL";

/// What a keeper leaves to the next one, with the numbers of the descriptors. A format: keepers of other versions read it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Inventory {
    #[serde(rename = "note")]
    intent_log: RawFd,
    data_dir: RawFd,
    slots: u32,
    listeners: Vec<(usize, RawFd)>,
    connections: Vec<(u32, RawFd, usize, SocketAddr)>,
    segments: Vec<(String, RawFd, Value)>,
    worker: (i32, RawFd),
    memory_score: i32,
    /// What of the sources' bytes is lost; keepers of earlier versions do not say.
    #[serde(default)]
    lost: Losses,
}

pub(super) fn inventory() -> Result<Option<Inventory>> {
    let Ok(number) = std::env::var(KEEPER) else { return Ok(None) };
    let number: RawFd = number.parse().with_context(|| format!("{KEEPER} is for the program's own use"))?;
    let mut text = String::new();
    let mut file = File::from(take(number)?);
    file.rewind()?;
    file.read_to_string(&mut text)?;
    serde_json::from_str(&text).map(Some).context("another version's inventory")
}

/// Takes a descriptor that the keeper before left to this process, and keeps it from its children.
fn take(number: RawFd) -> Result<OwnedFd> {
    // SAFETY: it is named once, in the environment or the inventory, and nothing else in this process owns it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&descriptor, FdFlags::CLOEXEC).with_context(|| format!("descriptor {number} was not left open"))?;
    Ok(descriptor)
}

impl Keeper {
    pub(super) fn restore(config: Config, inventory: Inventory) -> Result<Self> {
        held::slots(&config);
        oom_score::lower_for_keeper(Some(inventory.memory_score));
        let connections = inventory.connections.into_iter().map(|(slot, fd, stream, peer)| {
            let socket = take(fd)?;
            Ok((slot, Connection { socket, stream, peer, new: false }))
        });
        let segments = inventory.segments.into_iter().map(|(name, fd, segment)| Ok((name, (take(fd)?, segment))));
        let held = Held::new(inventory.slots, connections.collect::<Result<_>>()?, segments.collect::<Result<_>>()?);
        let listeners =
            inventory.listeners.into_iter().map(|(stream, fd)| Ok(Listener::new(stream, take(fd)?.into())?));
        let listeners = listeners.collect::<Result<_>>()?;
        let intent_log = IntentLog::open(take(inventory.intent_log)?)?;
        let mut keeper = Self::with(config, intent_log, take(inventory.data_dir)?, held, listeners)?;
        keeper.lost = inventory.lost;
        let (pid, channel) = inventory.worker;
        let pid = Pid::from_raw(pid).context("no worker")?;
        keeper.worker = Some(Worker::adopt(pid, take(channel)?, Stage::Serving)?);
        keeper.is_ready = true;
        Ok(keeper)
    }

    /// Has another keeper take this one's place. Returns only if that failed, or must wait for what a signal asks for.
    pub(super) async fn replace(&mut self, signals: &mut Signals) -> Option<Request> {
        // Signals from here on wait for the new keeper, which looks for workers that ended; those before are for this one.
        set_signals_blocked(true);
        let prepared = self.prepare().await;
        let before = async {
            loop {
                match signals.next().await {
                    Request::Reap => {}
                    request => return request,
                }
            }
        };
        let request = tokio::select! {
            biased;
            request = before => Some(request),
            () = sleep(Duration::from_millis(1)) => {
                self.is_to_be_replaced = false;
                let error = match prepared {
                    // It finds the inventory, and what it runs, by their descriptors, which stay open until then.
                    Ok((mut command, _inventory, _binary)) => {
                        anyhow::Error::from(command.exec()).context("cannot be started")
                    }
                    Err(error) => error,
                };
                log::error!("the keeper cannot be replaced: {error:#}; it goes on");
                None
            }
        };
        if let Err(error) = self.set_left_open(false) {
            log::error!("a bug: what is held cannot be kept from workers: {error}");
        }
        set_signals_blocked(false);
        request
    }

    /// Writes down and [leaves open](Self::set_left_open) what this keeper holds, and has the new binary try to read that.
    async fn prepare(&self) -> Result<(Command, File, Binary)> {
        let memory = rustix::fs::memfd_create("tcp-ingest inventory", rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut file = File::from(memory);
        file.write_all(&serde_json::to_vec(&self.take_inventory()?)?)?;
        let path = &self.binary.path;
        let binary = Binary::open(path).with_context(|| format!("{}: cannot be opened", path.display()))?;
        let command = || {
            let mut command = binary.command();
            command.arg0(path).env(KEEPER, file.as_raw_fd().to_string()).env(BINARY, path);
            command
        };
        let (mut trial, command) = (command(), command());
        fcntl_setfd(&file, FdFlags::empty())?;
        self.set_left_open(true)?;
        if !is_understood(trial.env(TRIAL, "1")).await? {
            bail!("{}: does not understand what this version leaves; restart the service instead", path.display());
        }
        Ok((command, file, binary))
    }

    fn take_inventory(&self) -> Result<Inventory> {
        let worker = self.worker.as_ref().context("no worker")?;
        let connections = self.held.connections.iter();
        let segments = self.held.segments.iter();
        Ok(Inventory {
            intent_log: self.intent_log.as_fd().as_raw_fd(),
            data_dir: self.data_dir.as_raw_fd(),
            slots: u32::try_from(self.held.slots())?,
            listeners: self.listeners.iter().map(|listener| (listener.stream, listener.socket.as_raw_fd())).collect(),
            connections: connections
                .map(|(slot, held)| (*slot, held.socket.as_raw_fd(), held.stream, held.peer))
                .collect(),
            segments: segments
                .map(|(name, (file, segment))| (name.clone(), file.as_raw_fd(), segment.clone()))
                .collect(),
            worker: (worker.pid.as_raw_nonzero().get(), worker.channel.as_raw_fd()),
            memory_score: oom_score::original(),
            lost: self.lost.clone(),
        })
    }

    /// Whether the programs that are started from here on find what this keeper holds open.
    fn set_left_open(&self, open: bool) -> rustix::io::Result<()> {
        let listeners = self.listeners.iter().map(|listener| listener.socket.as_fd());
        let connections = self.held.connections.values().map(|connection| connection.socket.as_fd());
        let segments = self.held.segments.values().map(|(file, _)| file.as_fd());
        let worker = self.worker.iter().map(|worker| worker.channel.get_ref().as_fd());
        let own = [self.intent_log.as_fd(), self.data_dir.as_fd()];
        let mut all = own.into_iter().chain(listeners).chain(connections).chain(segments).chain(worker);
        let flags = if open { FdFlags::empty() } else { FdFlags::CLOEXEC };
        all.try_for_each(|descriptor| fcntl_setfd(descriptor, flags))
    }
}

/// Whether the new program understands all of it. It gets little time, because this keeper serves nobody meanwhile.
async fn is_understood(trial: &mut Command) -> Result<bool> {
    const TIME: Duration = Duration::from_secs(5);
    let mut child = trial.spawn().context("cannot be started")?;
    let deadline = Instant::now() + TIME;
    while Instant::now() <= deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        sleep(Duration::from_millis(5)).await;
    }
    let _ = child.kill();
    let _ = child.wait();
    Ok(false)
}

/// Holds signals back that would kill a program which has just begun, or lets them through. Outlives `execve`.
pub(super) fn set_signals_blocked(blocked: bool) {
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
