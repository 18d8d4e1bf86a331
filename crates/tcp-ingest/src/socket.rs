//! The two calls that make the receive queue a write-ahead log: look at bytes without taking them, and take them.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use socket2::{SockRef, TcpKeepalive};

/// Copies the front of the receive queue to `buffer`; returns how many bytes there were. 0 means the end of the stream.
pub(crate) fn peek(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(socket, buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT)?.0)
}

/// How many bytes there are in the receive queue.
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

/// Sets a fresh connection up: keepalive, urgent data in its place, and room for a whole line of `max_line` bytes.
pub(crate) fn prepare(socket: &impl AsFd, max_line: usize) -> io::Result<()> {
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
