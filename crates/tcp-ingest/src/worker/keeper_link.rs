//! What the worker gets from its keeper: first the data directory, the intent log and all that is held, then orders.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use layout::DataDirHandle;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::resume::{self, Segments};
use super::serving::Incoming;
use crate::args::Config;
use crate::channel::{Channel, KeeperSender};
use crate::intent_log::IntentLog;
use crate::messages::{ToKeeper, ToWorker};

/// A message came without its descriptor, because there was no room for it. The keeper still holds what it stands for.
pub(super) const NO_DESCRIPTOR: &str =
    "too many open files to take what the keeper holds: another worker is to try; raise the limit (ulimit -n)";

/// The way to and from the keeper.
pub(super) struct KeeperLink {
    incoming: AsyncFd<Channel>,
    pub(super) sender: KeeperSender,
    pub(super) data_dir: Arc<DataDirHandle>,
    pub(super) intent_log: Arc<IntentLog>,
}

/// What the keeper holds when the worker begins.
pub(super) struct Inventory {
    /// What dead workers had open.
    pub(super) segments: Segments,
    pub(super) connections: Vec<Incoming>,
}

impl KeeperLink {
    /// Opens the link, which standard input is, and takes what every worker needs.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let channel = Channel::new(io::stdin().as_fd().try_clone_to_owned()?);
        let incoming = Channel::new(channel.as_fd().try_clone_to_owned()?).watch();
        let incoming = incoming.context("no keeper: this is not started by hand")?;
        let sender = KeeperSender::new(channel);
        let Some((ToWorker::DataDir, Some(folder))) = receive(&incoming).await? else {
            bail!("no data directory: this is not started by hand");
        };
        let data_dir = Arc::new(DataDirHandle::inherit(&config.tree, folder));
        let Some((ToWorker::IntentLog, Some(memory))) = receive(&incoming).await? else {
            bail!("no intent log: this is not started by hand");
        };
        let intent_log = Arc::new(IntentLog::open(memory)?);
        sender.send(&ToKeeper::Up, None);
        Ok(Self { incoming, sender, data_dir, intent_log })
    }

    /// What the keeper holds; none if it ended before it said so.
    pub(super) async fn inventory(&mut self, config: &Config) -> anyhow::Result<Option<Inventory>> {
        let mut inventory = Inventory { segments: Segments::new(), connections: Vec::new() };
        while let Some(message) = receive(&self.incoming).await? {
            match message {
                (ToWorker::Segment { segment }, Some(file)) => {
                    resume::add(&mut inventory.segments, &config.tree, segment, file)?;
                }
                (ToWorker::Connection { slot, stream, peer, new }, Some(socket)) => {
                    inventory.connections.push(Incoming { socket: socket.into(), slot, stream, peer, new });
                }
                (ToWorker::Segment { .. } | ToWorker::Connection { .. }, None) => bail!("{NO_DESCRIPTOR}"),
                (ToWorker::Begin, _) => return Ok(Some(inventory)),
                (message, _) => log::error!("a bug: the keeper says {message:?}"),
            }
        }
        Ok(None)
    }

    /// What the keeper says next; none if it says no more. May be dropped and called again.
    pub(super) async fn receive(&mut self) -> io::Result<Option<Message>> {
        receive(&self.incoming).await
    }
}

/// A message, with its descriptor.
pub(super) type Message = (ToWorker, Option<OwnedFd>);

async fn receive(incoming: &AsyncFd<Channel>) -> io::Result<Option<Message>> {
    incoming.async_io(Interest::READABLE, Channel::receive).await
}
