//! The keeper: binds, accepts, holds every descriptor, and sees to it that a worker runs.
//!
//! It never reads from a connection and never touches a file of the tree, so that there is little it could die of. A worker
//! ([`worker`](crate::worker)) gets the connections over a socket. When it dies they stay open, the kernel goes on
//! receiving, and the next worker resumes. All that has to outlive a worker is held here: listening sockets, connections,
//! the files of open segments with their locks ([`held`]), the intent log, and the data directory as it was at the start, so
//! that no worker takes another folder at that path for it.
//!
//! SIGHUP starts a worker from the binary on disk and, when that is up, has the old one hand over ([`workers`]); SIGUSR2
//! replaces the keeper itself ([`replace`]). SIGTERM and SIGINT: what the kernel has connected is accepted, the worker
//! drains, and all ends ([`stopping`]). When the keeper dies the worker notices, takes what its sources have sent, seals and
//! exits.

mod admission;
mod delivery;
mod held;
mod inventory;
mod listeners;
mod process;
mod replace;
mod run;
mod signals;
mod state;
mod stopping;
mod wait;
mod workers;

pub(crate) use self::run::run;
