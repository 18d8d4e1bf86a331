//! The way between keeper and worker: a socket that keeps the bounds of messages and passes descriptors along.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;

use crate::failure::TO_BE_CONTINUED;
use crate::messages::ToKeeper;

/// Longest message.
const LONGEST: usize = 4096;

/// One end of the way.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// How sending waits when the other end is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Yes,
    No,
}

impl Channel {
    /// Both ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// The end that a descriptor is.
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Sends a message, with a descriptor.
    pub(crate) fn send(
        &self,
        message: &impl Serialize,
        descriptor: Option<BorrowedFd<'_>>,
        wait: Wait,
    ) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = descriptor.as_slice();
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let flags = if wait == Wait::No { SendFlags::DONTWAIT } else { SendFlags::empty() };
        loop {
            match sendmsg(&self.0, &[IoSlice::new(&text)], &mut control, flags | SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the next message, if there is one: `WouldBlock` if not, none at the end.
    pub(crate) fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Option<OwnedFd>)>> {
        let mut text = [0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut text)], &mut control, flags) {
                Ok(received) => break received,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        let mut descriptors = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors).into_iter().flatten(),
            _ => None.into_iter().flatten(),
        });
        let descriptor = descriptors.next();
        let message = serde_json::from_slice(text.get(..received.bytes).unwrap_or_default())?;
        Ok(Some((message, descriptor)))
    }

    /// Has the runtime watch it.
    pub(crate) fn watch(self) -> io::Result<AsyncFd<Self>> {
        // SAFETY: the descriptor is owned, never exchanged, and closed only when the channel is dropped.
        Ok(unsafe { AsyncFd::register(self) }?)
    }

    /// Ends the messages of this side: the other one learns that no more come.
    pub(crate) fn close_sending(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write)?)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl std::os::fd::AsRawFd for Channel {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

/// A worker's way to its keeper. Messages to a keeper that is dead go nowhere; its death shows when reading from it.
#[derive(Debug, Clone)]
pub(crate) struct KeeperSender(Arc<Channel>);

impl KeeperSender {
    pub(crate) fn new(channel: Channel) -> Self {
        Self(Arc::new(channel))
    }

    /// Sends a message, and waits while the keeper is behind. When a living keeper cannot take it the process ends: a segment
    /// that the keeper does not hold would have no owner when this worker dies.
    pub(crate) fn send(&self, message: &ToKeeper, descriptor: Option<BorrowedFd<'_>>) {
        match self.0.send(message, descriptor, Wait::Yes) {
            Err(error) if ![io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&error.kind()) => {
                log::error!("cannot send to the keeper: {error}");
                std::process::exit(TO_BE_CONTINUED);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::ToWorker;

    #[test]
    fn messages_keep_their_bounds_and_descriptors_and_the_end_is_seen() {
        let (one, other) = Channel::pair().unwrap();
        assert_eq!(other.receive::<ToWorker>().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        one.send(&ToWorker::Begin, None, Wait::No).unwrap();
        one.send(&ToWorker::IntentLog, Some(one.as_fd()), Wait::Yes).unwrap();
        assert!(matches!(other.receive().unwrap(), Some((ToWorker::Begin, None))));
        assert!(matches!(other.receive().unwrap(), Some((ToWorker::IntentLog, Some(_)))));
        one.close_sending().unwrap();
        assert!(other.receive::<ToWorker>().unwrap().is_none());
        other.send(&ToKeeper::Over { slot: 1, lost: 2 }, None, Wait::No).unwrap();
        assert!(matches!(one.receive().unwrap(), Some((ToKeeper::Over { slot: 1, lost: 2 }, None))));
    }
}
