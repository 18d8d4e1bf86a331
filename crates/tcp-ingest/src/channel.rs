//! What keeper and worker say to each other, and the descriptors that go with it.
//!
//! A message is JSON, one in each packet, at most one descriptor beside it: so that versions can differ, and that a trace
//! of the system calls can be read. Nothing is said for each message of a source, only for connections and segments.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

/// Longest message.
const LONGEST: usize = 4096;

/// What the keeper says. When it says no more (the end of the stream), no connection will come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToWorker {
    /// The data directory that the keeper began with; its descriptor comes with it.
    DataDir,
    /// The note comes with it.
    Note,
    /// A connection that is held in `slot`, for the stream with index `stream`; its socket comes with it.
    Connection { slot: u32, stream: usize, peer: SocketAddr, new: bool },
    /// A segment that a worker which is dead had open; its file comes with it.
    Segment { segment: serde_json::Value },
    /// What a worker which is dead has left is told: take it up.
    Begin,
    /// Take what the connections hold and close them, in so many milliseconds at most.
    Drain { millis: u64 },
    /// Stop as soon as what is begun is done; another worker goes on.
    HandOver,
    /// Log the statistics.
    Report,
}

/// What the worker says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToKeeper {
    /// It runs, and waits for what it is to do.
    Up,
    /// A segment was made; its file comes with it, to be held until it is [`Sealed`](Self::Sealed).
    Opened { name: String, segment: serde_json::Value },
    /// A segment needs to be held no longer.
    Sealed { name: String },
    /// A segment has another file, which comes with it: the one before was removed.
    Moved { name: String },
    /// Syncing a segment failed: what syncs it again proves nothing.
    Unsynced { name: String },
    /// A connection is over; so many bytes of it that the kernel has received are lost.
    Over {
        slot: u32,
        #[serde(default)]
        lost: u64,
    },
}

/// One end of the way between keeper and worker.
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

    /// Says no more.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_bounds_and_descriptors_and_the_end_is_seen() {
        let (one, other) = Channel::pair().unwrap();
        assert_eq!(other.receive::<ToWorker>().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        one.send(&ToWorker::Begin, None, Wait::No).unwrap();
        one.send(&ToWorker::Note, Some(one.as_fd()), Wait::Yes).unwrap();
        assert!(matches!(other.receive().unwrap(), Some((ToWorker::Begin, None))));
        assert!(matches!(other.receive().unwrap(), Some((ToWorker::Note, Some(_)))));
        one.close_sending().unwrap();
        assert!(other.receive::<ToWorker>().unwrap().is_none());
        other.send(&ToKeeper::Over { slot: 1, lost: 2 }, None, Wait::No).unwrap();
        assert!(matches!(one.receive().unwrap(), Some((ToKeeper::Over { slot: 1, lost: 2 }, None))));
    }
}
