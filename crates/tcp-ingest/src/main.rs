//! Receives TCP streams, validates each message, and persists it: raw/ holds what is known to be readable, quarantine/
//! what is not, with the reason.
//!
//! The way of a byte: it is *peeked* from the socket's receive queue ([`socket`]), framed into lines ([`framing`]), judged
//! by the stream's model ([`batch`]), written to the open segment of its hour ([`writer`]), and only then consumed. What
//! was not written is still in the kernel: a full disk stops the reading, and the sources are held by their windows.
//! Connections are spread over a few threads ([`thread`]) that share nothing on the hot path; syncing and sealing happen
//! beside them ([`files`]).
//!
//! Two processes do that. The [`keeper`] binds, accepts and holds the sockets; the [`worker`] does all of the above and
//! may die at any instruction: before it writes it says in memory that both share ([`note`]) what it is about to do, and
//! its successor finishes or undoes it ([`take_up`]). With `--stdin` there is one process, since a pipe dies with its
//! reader.

mod args;
mod batch;
mod channel;
mod connection;
mod files;
mod framing;
mod keeper;
mod losses;
mod note;
mod pass_on;
mod program;
mod report;
mod socket;
mod stats;
mod stdin;
mod stop;
mod take_up;
mod thread;
mod worker;
mod writer;

use std::process::ExitCode;

use log::LevelFilter;

fn main() -> ExitCode {
    cli::main(LevelFilter::Info, &[], program::run)
}
