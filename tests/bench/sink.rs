//! The least that a receiver can do, as the limit to compare with: one thread takes bytes from all connections and writes
//! them to one file. Nothing is looked at and nothing is promised.
//!
//! `sink FILE` prints the address it listens on, and runs until it is killed. `sink FILE --peek` looks at the bytes, writes
//! them and only then takes them from the kernel, as tcp-ingest does: the difference is the price of that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, recv};

/// How much is taken at once: with 256 KiB the kernel needs more processor time for the same bytes.
const BLOCK: usize = 1 << 20;

fn main() {
    let path = std::env::args().nth(1).expect("usage: sink FILE [--peek]");
    let peek = std::env::args().nth(2).is_some_and(|argument| argument == "--peek");
    let mut file = File::create(path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    println!("{}", listener.local_addr().unwrap());
    let mut connections: Vec<TcpStream> = Vec::new();
    let mut buffer = vec![0; BLOCK];
    loop {
        let mut ready: Vec<_> = connections.iter().map(|connection| PollFd::new(connection, PollFlags::IN)).collect();
        ready.push(PollFd::new(&listener, PollFlags::IN));
        poll(&mut ready, None).unwrap();
        let ready: Vec<bool> = ready.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut index = 0;
        connections.retain_mut(|connection| {
            index += 1;
            !ready[index - 1]
                || match read(connection, &mut buffer, peek) {
                    Ok(0) => false,
                    Ok(size) => {
                        file.write_all(&buffer[..size]).unwrap();
                        if peek {
                            consume(connection, size);
                        }
                        true
                    }
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                }
        });
        while let Ok((connection, _)) = listener.accept() {
            connection.set_nonblocking(true).unwrap();
            connections.push(connection);
        }
    }
}

fn read(connection: &mut TcpStream, buffer: &mut [u8], peek: bool) -> std::io::Result<usize> {
    if peek { Ok(recv(connection, buffer, RecvFlags::PEEK)?.0) } else { connection.read(buffer) }
}

/// Takes bytes that were looked at.
fn consume(connection: &TcpStream, size: usize) {
    // SAFETY: with MSG_TRUNC on a TCP socket the kernel writes nothing to the buffer (tcp(7)).
    let taken = unsafe { libc::recv(connection.as_raw_fd(), std::ptr::null_mut(), size, libc::MSG_TRUNC) };
    assert_eq!(taken.try_into(), Ok(size));
}
