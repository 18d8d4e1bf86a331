//! Receives TCP streams, validates each message, and persists it: raw/ holds what is known to be readable, quarantine/
//! what is not, with the reason.
//!
//! The way of a byte: it is *peeked* from the socket's receive queue (`socket`), framed into lines (`framing`),
//! validated by the stream's model (`validator`, which fills a `batch`), written to the open segment of its hour
//! (`writer`), and only then consumed. What was not written is still in the kernel: a full disk stops the reading, and
//! the sources are held by their windows. Connections are spread over a few threads that share nothing on the hot path;
//! syncing and sealing happen on a thread of their own (`sealer`).
//!
//! Two processes do that. The `keeper` binds, accepts and holds the sockets. The `worker` does all of the above and may
//! die at any instruction: before it writes, it records in memory that both processes share (`intent_log`) what it is
//! about to do, and the next worker finishes or undoes it. With `--stdin` (`stdin`) there is one process, because a pipe
//! dies with its reader. What keeper and worker say to each other is in `channel`, what all threads share in `shared`.

mod args;
mod batch;
mod channel;
mod check;
mod framing;
mod intent_log;
mod keeper;
mod losses;
mod oom_score;
mod replay;
mod run;
mod sealer;
mod shared;
mod signals;
mod socket;
mod stats;
mod stdin;
mod streams;
mod tee;
mod validator;
mod worker;
mod writer;

use std::process::ExitCode;

use log::LevelFilter;

pub use args::Args;

/// The program: reads its arguments, runs, and returns its exit status.
pub fn main() -> ExitCode {
    cli::main(LevelFilter::Info, &[], run::run)
}
