//! What keeper and worker say to each other: JSON, one message in each packet of a socket, with at most one descriptor.
//!
//! Versions can differ: an unknown field is passed over, a missing one has a default. The serialised names are a format.
//! Nothing is said for each message of a source, only for connections and segments.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

/// Makes a process a worker: what its `oom_score_adj` is to be. Its standard input is its end of the channel.
pub(crate) const WORKER: &str = "TCP_INGEST_WORKER";
/// Set for a worker that is to follow one that runs, and so may refuse to start.
pub(crate) const SUCCESSOR: &str = "TCP_INGEST_SUCCESSOR";

/// What the keeper says. The end of the stream means that no connection will come any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToWorker {
    /// The data directory that the keeper began with; its descriptor comes with it.
    DataDir,
    /// The memory of the intent log comes with it.
    #[serde(rename = "note")]
    IntentLog,
    /// A connection that is held in `slot`, for the stream with index `stream`; its socket comes with it.
    Connection { slot: u32, stream: usize, peer: SocketAddr, new: bool },
    /// A segment that a worker which is dead had open; its file comes with it.
    Segment { segment: serde_json::Value },
    /// All that a dead worker has left was said: resume its work.
    Begin,
    /// Take what the sources have sent and close the connections, in so many milliseconds at most.
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

const LONGEST: usize = 4096;

pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends a message, with a descriptor. Waits when the other end is behind, unless `flags` say `DONTWAIT`.
pub(crate) fn send(
    channel: &OwnedFd,
    message: &impl Serialize,
    descriptor: Option<BorrowedFd<'_>>,
    flags: SendFlags,
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let descriptors @ [_] = descriptor.as_slice() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let flags = flags | SendFlags::NOSIGNAL;
    retry_on_intr(|| sendmsg(channel, &[IoSlice::new(&text)], &mut control, flags))?;
    Ok(())
}

/// Takes the next message, if there is one: `WouldBlock` if not, none at the end.
pub(crate) fn receive<M: DeserializeOwned>(channel: &OwnedFd) -> io::Result<Option<(M, Option<OwnedFd>)>> {
    let mut text = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = retry_on_intr(|| recvmsg(channel, &mut [IoSliceMut::new(&mut text)], &mut control, flags))?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let message = serde_json::from_slice(text.get(..received.bytes).unwrap_or_default())?;
    Ok(Some((message, descriptor)))
}

/// Has the runtime watch an end.
pub(crate) fn watch(channel: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, never exchanged, and closed only when what is returned is dropped.
    Ok(unsafe { AsyncFd::register(channel) }?)
}

/// Whether sending failed because the other end is dead.
pub(crate) fn is_dead(error: &io::Error) -> bool {
    [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&error.kind())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn messages_keep_their_bounds_and_descriptors_and_the_end_is_seen() {
        let (one, other) = pair().unwrap();
        assert_eq!(receive::<ToWorker>(&other).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        send(&one, &ToWorker::Begin, None, SendFlags::DONTWAIT).unwrap();
        send(&one, &ToWorker::IntentLog, Some(one.as_fd()), SendFlags::empty()).unwrap();
        assert!(matches!(receive(&other).unwrap(), Some((ToWorker::Begin, None))));
        assert!(matches!(receive(&other).unwrap(), Some((ToWorker::IntentLog, Some(_)))));
        rustix::net::shutdown(&one, rustix::net::Shutdown::Write).unwrap();
        assert!(receive::<ToWorker>(&other).unwrap().is_none());
        send(&other, &ToKeeper::Over { slot: 1, lost: 2 }, None, SendFlags::DONTWAIT).unwrap();
        assert!(matches!(receive(&one).unwrap(), Some((ToKeeper::Over { slot: 1, lost: 2 }, None))));
    }
}
