//! The least that a receiver can do, as the limit to compare with: one thread takes bytes from all connections and writes
//! them to one file. Nothing is looked at and nothing is promised.
//!
//! `sink FILE` prints the address it listens on, and runs until it is killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use rustix::event::{PollFd, PollFlags, poll};

fn main() {
    let path = std::env::args().nth(1).expect("usage: sink FILE");
    let mut file = File::create(path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    println!("{}", listener.local_addr().unwrap());
    let mut connections: Vec<TcpStream> = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let mut ready: Vec<_> = connections.iter().map(|connection| PollFd::new(connection, PollFlags::IN)).collect();
        ready.push(PollFd::new(&listener, PollFlags::IN));
        poll(&mut ready, None).unwrap();
        let ready: Vec<bool> = ready.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut index = 0;
        connections.retain_mut(|connection| {
            index += 1;
            !ready[index - 1]
                || match connection.read(&mut buffer) {
                    Ok(0) => false,
                    Ok(size) => file.write_all(&buffer[..size]).is_ok(),
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                }
        });
        while let Ok((connection, _)) = listener.accept() {
            connection.set_nonblocking(true).unwrap();
            connections.push(connection);
        }
    }
}
