//! The two calls that make the receive queue a write-ahead log: look at bytes without taking them, and take them.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use socket2::{SockFilter, SockRef, TcpKeepalive};

/// Copies the front of the receive queue to `buffer`; returns how many bytes there were. 0 means the end of the stream.
pub(crate) fn peek(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(socket, buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT)?.0)
}

pub(crate) fn queued(socket: impl AsFd) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(socket)?)
}

/// Drops `count` bytes, which were peeked before, from the receive queue, without copying them.
pub(crate) fn consume(socket: &impl AsRawFd, mut count: usize) -> io::Result<()> {
    while count > 0 {
        // SAFETY: with MSG_TRUNC on a TCP socket the kernel writes nothing to the buffer (tcp(7)), so that none is needed.
        let taken = unsafe {
            libc::recv(socket.as_raw_fd(), std::ptr::null_mut(), count, libc::MSG_TRUNC | libc::MSG_DONTWAIT)
        };
        match usize::try_from(taken) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(taken) => count = count.saturating_sub(taken),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Sets a connection up: keepalive, urgent data in its place, and room for a whole line of `max_line` bytes.
pub(crate) fn prepare(socket: &impl AsFd, max_line: usize) -> io::Result<()> {
    // A worker that was about to close it may have died, or handed it over.
    receive_again(socket);
    let socket = SockRef::from(socket);
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10)).with_retries(6);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_out_of_band_inline(true)?;
    // A line stays in the queue until it is complete, so the queue must hold one, and beside it as much as the sender
    // likes to send at once (64 KiB on loopback), or its window closes for good. Raising the low-water mark makes the
    // kernel grow the buffer (tcp_set_rcvlowat) without switching off its own tuning, as SO_RCVBUF would.
    low_water(&*socket, (4 * max_line).max(1 << 20))?;
    low_water(&*socket, 1)
}

/// From here on the kernel drops what arrives, and so acknowledges nothing: what there is to take is all there will be.
pub(crate) fn stop_receiving(socket: &impl AsFd) -> io::Result<()> {
    // One instruction of a packet filter: keep no byte (linux/filter.h).
    const KEEP_NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0); // BPF_RET | BPF_K
    SockRef::from(socket).attach_filter(&[KEEP_NOTHING])
}

pub(crate) fn receive_again(socket: &impl AsFd) {
    // Fails when there is nothing to undo, which is the usual case.
    let _ = SockRef::from(socket).detach_filter();
}

/// To be called before the last descriptor is closed: the kernel receives again, so that the end of the connection goes as
/// usual. But both directions are shut before, so that it answers what arrives from here on with a reset, and acknowledges
/// nothing of it. A connection that is to be closed with a reset needs none of that.
pub(crate) fn end(socket: &impl AsFd) {
    let is_to_be_reset = SockRef::from(socket).linger().is_ok_and(|time| time.is_some());
    if !is_to_be_reset {
        let _ = SockRef::from(socket).shutdown(Shutdown::Both);
        receive_again(socket);
    }
}

/// When the connection is closed, the source learns at once, by a reset, that it sends in vain.
pub(crate) fn close_with_reset(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_linger(Some(Duration::ZERO))
}

fn low_water(socket: &impl AsRawFd, bytes: usize) -> io::Result<()> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: the option takes a c_int, and is given the address and size of one that lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const value).cast(),
            size_of_val(&value).try_into().unwrap_or_default(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub(crate) fn quiet_for(socket: &impl AsRawFd) -> io::Result<Duration> {
    Ok(info(socket)?.quiet)
}

/// The state of a connection that is over (`linux/tcp_states.h`).
const CLOSED: u8 = 7;

/// How many bytes of a connection were consumed since it began, by the kernel's own count.
pub(crate) fn consumed(socket: &(impl AsFd + AsRawFd)) -> io::Result<u64> {
    // States of linux/tcp_states.h.
    const AFTER_THE_END: [u8; 3] = [8, 9, 11]; // CLOSE_WAIT, LAST_ACK, CLOSING
    // What arrives between two calls would be missing in one of them.
    let (state, received, unread) = loop {
        let before = info(socket)?;
        let unread = queued(socket)?;
        let after = info(socket)?;
        if (after.state, after.received) == (before.state, before.received) {
            break (before.state, before.received, unread);
        }
    };
    // The end of the stream counts as a byte. Of a connection that was reset after its end only the error tells, once.
    let reset_after_the_end = || -> io::Result<bool> {
        let error = SockRef::from(socket).take_error()?;
        Ok(error.is_some_and(|error| error.raw_os_error() == Some(libc::EPIPE)))
    };
    let ended = AFTER_THE_END.contains(&state) || (state == CLOSED && reset_after_the_end()?);
    Ok(received.saturating_sub(u64::from(ended)).saturating_sub(unread))
}

/// What the kernel knows of a connection (`struct tcp_info` in linux/tcp.h, which only ever grows; libc knows an old one).
struct Info {
    state: u8,
    received: u64,
    quiet: Duration,
}

fn info(socket: &impl AsRawFd) -> io::Result<Info> {
    const LAST_DATA_RECEIVED: usize = 52; // in milliseconds
    const BYTES_RECEIVED: usize = 128;
    let mut info = [0_u8; BYTES_RECEIVED + 8];
    let mut length = libc::socklen_t::try_from(info.len()).unwrap_or_default();
    // SAFETY: the kernel writes no more than `length` bytes to the buffer, which has as many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let parse = || {
        let quiet = u32::from_ne_bytes(info.get(LAST_DATA_RECEIVED..)?.first_chunk().copied()?);
        let received = u64::from_ne_bytes(info.get(BYTES_RECEIVED..)?.first_chunk().copied()?);
        Some(Info { state: *info.first()?, received, quiet: Duration::from_millis(quiet.into()) })
    };
    parse().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_arrives_in_the_last_moment_is_not_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut source = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        stop_receiving(&socket).unwrap();
        source.write_all(b"late\n").unwrap();
        end(&socket);
        // It was not acknowledged, and is sent again while this descriptor is still open.
        harness::until("it is answered with a reset", || info(&source).unwrap().state == CLOSED);
        assert_eq!(info(&socket).unwrap().received, 0);
    }
}
