//! A worker as a process: started from a binary, told things, waited for.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::channel::{Channel, ToKeeper, ToWorker, Wait};
use crate::note::Note;

/// Set for a worker: what its `oom_score_adj` is to be. Its standard input is its end of the channel.
pub(crate) const WORKER: &str = "TCP_INGEST_WORKER";

/// The program as a file that is kept, so that what is started again is what ran, whatever is installed meanwhile.
#[derive(Debug)]
pub(super) struct Binary {
    file: File,
    pub(super) path: PathBuf,
}

impl Binary {
    /// What is installed at `path` now.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).custom_flags(libc::O_PATH).open(path)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Runs it with the arguments of this process.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        command.arg0(&self.path).args(std::env::args_os().skip(1));
        command
    }
}

/// A worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) pid: Pid,
    channel: AsyncFd<Channel>,
    /// It said that it runs.
    pub(super) up: bool,
    /// It was told what there is.
    pub(super) begun: bool,
    pub(super) started: Instant,
    /// It will say no more.
    silent: Cell<bool>,
}

impl Worker {
    /// Starts one, and gives it the data directory and the note: it is up only if it can read that.
    pub(super) fn start(binary: &Binary, note: &Note, data_dir: BorrowedFd<'_>) -> io::Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        let mut command = binary.command();
        command.env(WORKER, super::memory::worker_score()).stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        ours.send(&ToWorker::DataDir, Some(data_dir), Wait::No)?;
        ours.send(&ToWorker::Note, Some(note.as_fd()), Wait::No)?;
        Self::adopt(pid, ours, false)
    }

    /// One that another keeper started.
    pub(super) fn adopt(pid: Pid, channel: Channel, begun: bool) -> io::Result<Self> {
        Ok(Self { pid, channel: channel.watch()?, up: begun, begun, started: Instant::now(), silent: Cell::new(false) })
    }

    /// What it says next; nothing for ever when it says no more.
    pub(super) async fn receive(&self) -> (ToKeeper, Option<OwnedFd>) {
        loop {
            if self.silent.get() {
                return std::future::pending().await;
            }
            match self.channel.async_io(Interest::READABLE, Channel::receive).await {
                Ok(Some(message)) => return message,
                Ok(None) => self.silent.set(true),
                Err(error) if is_reset(&error) => {}
                Err(error) => {
                    log::error!("worker {}: {error}", self.pid.as_raw_nonzero());
                    self.silent.set(true);
                }
            }
        }
    }

    /// What it had said before it died.
    pub(super) fn last_words(&self) -> Vec<(ToKeeper, Option<OwnedFd>)> {
        let mut words = Vec::new();
        loop {
            match self.channel.get_ref().receive() {
                Ok(Some(message)) => words.push(message),
                Err(error) if is_reset(&error) => {}
                Ok(None) | Err(_) => return words,
            }
        }
    }

    /// Tells it something, unless it is too far behind to take it (`WouldBlock`).
    pub(super) fn tell(&self, message: &ToWorker, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.channel.get_ref().send(message, descriptor, Wait::No)
    }

    /// Waits until it can be told something again.
    pub(super) async fn listens(&self) {
        if let Ok(mut ready) = self.channel.writable().await {
            ready.clear_ready();
        }
    }

    /// Tells it that no connection will come any more.
    pub(super) fn close(&self) {
        let _ = self.channel.get_ref().close_sending();
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<ExitStatus> {
        use std::os::unix::process::ExitStatusExt as _;
        match waitpid(Some(self.pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => Some(ExitStatus::from_raw(status.as_raw())),
            Ok(None) | Err(rustix::io::Errno::INTR) => None,
            // Somebody else waited for it: nobody knows.
            Err(_) => Some(ExitStatus::from_raw(1 << 8)),
        }
    }

    /// Waits until it has ended, so long at most: one that waits for a disk cannot be killed.
    pub(super) fn wait_until_ended(&self, most: Duration) {
        let start = Instant::now();
        while self.ended().is_none() && start.elapsed() < most {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        let _ = kill_process(self.pid, Signal::KILL);
    }
}

/// Whether the other end was closed before it took what we had said. That is told once, before what it had said itself.
fn is_reset(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}

/// Our end of the channel.
impl AsFd for Worker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.get_ref().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel tells first that it did not listen, and once.
    #[tokio::test]
    async fn what_a_worker_said_is_heard_although_it_died_before_it_took_what_it_was_told() {
        for waits in [true, false] {
            let (ours, theirs) = Channel::pair().unwrap();
            let worker = Worker::adopt(Pid::INIT, ours, true).unwrap();
            worker.tell(&ToWorker::Begin, None).unwrap();
            theirs
                .send(&ToKeeper::Opened { name: "x".into(), segment: 1.into() }, Some(theirs.as_fd()), Wait::No)
                .unwrap();
            drop(theirs);
            let words = if waits { vec![worker.receive().await] } else { worker.last_words() };
            assert!(matches!(&words[..], [(ToKeeper::Opened { .. }, Some(_))]), "{words:?}");
        }
    }
}
