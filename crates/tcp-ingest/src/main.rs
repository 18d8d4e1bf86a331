//! Receives TCP streams, validates each message, and persists it: raw/ holds what is known to be readable, quarantine/
//! what is not, with the reason.
//!
//! The way of a byte: it is *peeked* from the socket's receive queue ([`socket`]), framed into lines ([`framing`]), judged
//! by the stream's model ([`batch`]), written to the open segment of its hour ([`writer`]), and only then consumed. What
//! was not written is still in the kernel: a full disk stops the reading, and the sources are held by their windows.
//! Connections are spread over a few threads ([`worker`]) that share nothing on the hot path; syncing and sealing happen
//! beside them ([`files`]).

mod args;
mod batch;
mod connection;
mod files;
mod framing;
mod listen;
mod pass_on;
mod report;
mod server;
mod socket;
mod stats;
mod stdin;
mod worker;
mod writer;

use std::process::ExitCode;

use log::LevelFilter;

fn main() -> ExitCode {
    cli::run(LevelFilter::Info, server::run)
}
