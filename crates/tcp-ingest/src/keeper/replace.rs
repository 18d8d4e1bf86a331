//! Replacing the keeper while all that it holds stays open: `execve` keeps the process, and its descriptors.
//!
//! What each descriptor is goes along in a memory file ([`inventory`](super::inventory)). The new program is tried first: it
//! has to say that it understands the file before this one gives way.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::time::sleep;

use super::held::{self, Held};
use super::inventory::{Inherited, Inventory, KEEPER, TRIAL};
use super::listeners::Listener;
use super::process::{BINARY, Binary, Stage, Worker};
use super::signals::{Request, Signals};
use super::state::{Goal, Keeper, Readiness};
use crate::args::Config;
use crate::intent_log::IntentLog;
use crate::oom_score;

impl Keeper {
    /// A keeper that takes the place of another one.
    pub(super) fn restore(config: Config, inherited: Inherited) -> anyhow::Result<Self> {
        let intent_log = IntentLog::open(inherited.intent_log)?;
        held::slots(&config);
        oom_score::lower_for_keeper(Some(inherited.memory_score));
        let held = Held::restore(inherited.slots, inherited.connections, inherited.segments);
        let listeners = inherited.listeners.into_iter().map(|(stream, socket)| Listener::new(stream, socket));
        let listeners = listeners.collect::<io::Result<_>>()?;
        let mut keeper = Self::with(config, intent_log, inherited.data_dir, held, listeners)?;
        let (pid, channel) = inherited.worker;
        keeper.worker = Some(Worker::adopt(pid, channel, Stage::Serving)?);
        keeper.readiness = Readiness::Ready;
        Ok(keeper)
    }

    /// Whether no worker starts or ends, and the one there is knows all that it has to.
    pub(super) fn can_be_replaced(&self) -> bool {
        self.worker_serves() && self.pending.is_empty() && self.successor.is_none()
    }

    /// Has another keeper, from the binary on disk, take this one's place. Returns only if that failed, or must wait for
    /// what a signal asked for in the same moment.
    pub(super) async fn replace(&mut self, signals: &mut Signals) -> Option<Request> {
        // Signals from here on wait for the new keeper, and those before are for this one. Workers that ended, the new one
        // looks for by itself.
        let _blocked = block_signals();
        let prepared = prepare(self).await;
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
                self.goal = Goal::Serve;
                let error = prepared.map_or_else(|error| error, Ready::go);
                log::error!("the keeper cannot be replaced: {error:#}; it goes on");
                None
            }
        };
        if let Err(error) = set_left_open(self, false) {
            log::error!("a bug: what is held cannot be kept from workers: {error}");
        }
        request
    }
}

/// A new keeper, ready to go.
struct Ready {
    command: std::process::Command,
    /// The inventory, and what `command` runs, which it finds by their descriptors.
    _open: (File, Binary),
}

impl Ready {
    /// Puts it in the place of this one. Returns only if that fails.
    fn go(mut self) -> anyhow::Error {
        anyhow::Error::from(self.command.exec()).context("cannot be started")
    }
}

/// Whether the programs that are started from here on find what `keeper` holds open.
fn set_left_open(keeper: &Keeper, open: bool) -> rustix::io::Result<()> {
    let held = &keeper.held;
    let listeners = keeper.listeners.iter().map(AsFd::as_fd);
    let connections = held.connections.values().map(|connection| connection.socket.as_fd());
    let segments = held.segments.values().map(|(file, _)| file.as_fd());
    let worker = keeper.worker.iter().map(AsFd::as_fd);
    let own = [keeper.intent_log.as_fd(), keeper.data_dir.as_fd()];
    let mut all = own.into_iter().chain(listeners).chain(connections).chain(segments).chain(worker);
    let flags = if open { FdFlags::empty() } else { FdFlags::CLOEXEC };
    all.try_for_each(|descriptor| fcntl_setfd(descriptor, flags))
}

/// Writes down what `keeper` holds, and has the binary on disk try whether it understands that. From then on all of it is
/// [left open](set_left_open) to whatever is started.
async fn prepare(keeper: &Keeper) -> anyhow::Result<Ready> {
    let memory = rustix::fs::memfd_create("tcp-ingest inventory", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(memory);
    file.write_all(&serde_json::to_vec(&take_inventory(keeper)?)?)?;
    let path = &keeper.binary.path;
    let binary = Binary::open(path).with_context(|| format!("{}: cannot be opened", path.display()))?;
    let command = || {
        let mut command = binary.command();
        command.arg0(path).env(KEEPER, file.as_raw_fd().to_string()).env(BINARY, path);
        command
    };
    let (mut trial, command) = (command(), command());
    fcntl_setfd(&file, FdFlags::empty())?;
    set_left_open(keeper, true)?;
    if !is_understood(trial.env(TRIAL, "1")).await? {
        bail!("{}: does not understand what this version leaves; restart the service instead", path.display());
    }
    Ok(Ready { command, _open: (file, binary) })
}

fn take_inventory(keeper: &Keeper) -> anyhow::Result<Inventory> {
    let worker = keeper.worker.as_ref().context("no worker")?;
    let held = &keeper.held;
    let number = |descriptor: &OwnedFd| descriptor.as_raw_fd();
    Ok(Inventory {
        intent_log: keeper.intent_log.as_fd().as_raw_fd(),
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
        memory_score: oom_score::original(),
    })
}

/// Whether the new program understands all of it. It gets little time, because this keeper serves nobody meanwhile.
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
        sleep(Duration::from_millis(5)).await;
    }
}

/// Signals that come while this is there are kept for later, also by a program that is executed.
struct Blocked;

/// Keeps signals for later.
fn block_signals() -> Blocked {
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
