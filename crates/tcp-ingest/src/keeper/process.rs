//! A worker as a process: started from a binary, sent messages, waited for.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::net::SendFlags;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::channel::{self, SUCCESSOR, ToKeeper, ToWorker, WORKER, send};
use crate::intent_log::IntentLog;
use crate::oom_score;

/// How long a new worker may take until it says that it runs, and an old one to hand over.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Where the program is installed: a keeper that took the place of another one does not see it by itself.
pub(super) const BINARY: &str = "TCP_INGEST_BINARY";

/// The program as a file that is kept, so that what is started again is what ran, whatever is installed meanwhile.
#[derive(Debug)]
pub(super) struct Binary {
    file: File,
    pub(super) path: PathBuf,
}

impl Binary {
    pub(super) fn installed() -> anyhow::Result<Self> {
        let path = std::env::var_os(BINARY).map_or_else(std::env::current_exe, |path| Ok(path.into()));
        let path = path.context("cannot find out which program this is")?;
        Self::open(&path).with_context(|| format!("{}: cannot be opened", path.display()))
    }

    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).custom_flags(libc::O_PATH).open(path)?;
        Ok(Self { file, path: path.to_owned() })
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        command.arg0(&self.path).args(std::env::args_os().skip(1));
        command
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It was started, and has not said that it runs.
    Starting,
    /// It runs, and knows nothing yet.
    Ready,
    /// It gets what there is to serve.
    Serving,
    /// It was told that no connection will come any more.
    Closed,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) pid: Pid,
    pub(super) channel: AsyncFd<OwnedFd>,
    pub(super) stage: Stage,
    /// When it was started, and for a successor, when it was up.
    pub(super) since: Instant,
}

impl Worker {
    /// Starts one, and gives it the data directory and the intent log: it is up only if it can read that.
    pub(super) fn start(
        binary: &Binary,
        intent_log: &IntentLog,
        data_dir: BorrowedFd<'_>,
        is_successor: bool,
    ) -> io::Result<Self> {
        let (ours, theirs) = channel::pair()?;
        // It keeps the other end open until all is sent, also when the worker dies at once: then it can be waited for.
        let mut command = binary.command();
        command.env(WORKER, oom_score::worker_score()).stdin(Stdio::from(theirs));
        if is_successor {
            command.env(SUCCESSOR, "1");
        }
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        send(&ours, &ToWorker::DataDir, Some(data_dir), SendFlags::DONTWAIT)?;
        send(&ours, &ToWorker::IntentLog, Some(intent_log.as_fd()), SendFlags::DONTWAIT)?;
        Self::adopt(pid, ours, Stage::Starting)
    }

    pub(super) fn adopt(pid: Pid, channel: OwnedFd, stage: Stage) -> io::Result<Self> {
        Ok(Self { pid, channel: channel::watch(channel)?, stage, since: Instant::now() })
    }

    /// What it says next; nothing for ever when it says no more.
    pub(super) async fn receive(&self) -> (ToKeeper, Option<OwnedFd>) {
        loop {
            match self.channel.async_io(Interest::READABLE, channel::receive).await {
                Ok(Some(message)) => return message,
                Ok(None) => return std::future::pending().await,
                Err(error) if is_reset(&error) => {}
                Err(error) => {
                    log::error!("worker {}: {error}", self.pid.as_raw_nonzero());
                    return std::future::pending().await;
                }
            }
        }
    }

    pub(super) fn remaining_messages(&self) -> Vec<(ToKeeper, Option<OwnedFd>)> {
        let next = || loop {
            match channel::receive(self.channel.get_ref()) {
                Err(error) if is_reset(&error) => {}
                received => return received.ok().flatten(),
            }
        };
        std::iter::from_fn(next).collect()
    }

    /// Sends it a message, unless it is too far behind to take it (`WouldBlock`).
    pub(super) fn send(&self, message: &ToWorker, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        send(self.channel.get_ref(), message, descriptor, SendFlags::DONTWAIT)
    }

    /// Waits until it may be able to take a message again.
    pub(super) async fn writable(&self) {
        if let Ok(mut ready) = self.channel.writable().await {
            ready.clear_ready();
        }
    }

    pub(super) fn ended(&self) -> Option<ExitStatus> {
        match waitpid(Some(self.pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => Some(ExitStatus::from_raw(status.as_raw())),
            Ok(None) | Err(rustix::io::Errno::INTR) => None,
            // Somebody else waited for it, so that nobody knows.
            Err(_) => Some(ExitStatus::from_raw(1 << 8)),
        }
    }

    pub(super) fn kill(&self) {
        let _ = kill_process(self.pid, Signal::KILL);
    }
}

/// Whether the other end was closed before it took what we had sent: reported once, before what it had sent.
fn is_reset(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel reports first, and once, that the worker did not take what was sent.
    #[tokio::test]
    async fn what_a_worker_said_is_received_although_it_died_before_it_took_what_was_sent() {
        for waits in [true, false] {
            let (ours, theirs) = channel::pair().unwrap();
            let worker = Worker::adopt(Pid::INIT, ours, Stage::Serving).unwrap();
            worker.send(&ToWorker::Begin, None).unwrap();
            let opened = ToKeeper::Opened { name: "x".into(), segment: 1.into() };
            send(&theirs, &opened, Some(theirs.as_fd()), SendFlags::DONTWAIT).unwrap();
            drop(theirs);
            let messages = if waits { vec![worker.receive().await] } else { worker.remaining_messages() };
            assert!(matches!(&messages[..], [(ToKeeper::Opened { .. }, Some(_))]), "{messages:?}");
        }
    }
}
