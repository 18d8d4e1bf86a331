//! Receives TCP streams, validates each message, and persists it: raw/ holds what is known to be readable, quarantine/
//! what is not, with the reason.
//!
//! The way of a byte: it is *peeked* from the socket's receive queue (`socket`), framed into lines (`framing`),
//! validated by the stream's model (`validator`, which fills a `batch`), written to the open segment of its hour
//! (`writer`), and only then consumed. What was not written is still in the kernel: a full disk stops the reading, and
//! the sources are held by their windows. Connections are spread over a few threads that share nothing on the hot path;
//! syncing and sealing happen on a thread of their own (`sealer`).
//!
//! Two processes do that. The keeper binds, accepts and holds the sockets. The worker does all of the above and may
//! die at any instruction: before it writes, it records in memory that both processes share (`intent_log`) what it is
//! about to do, and the next worker finishes or undoes it. With `--stdin` there is one process, because a pipe dies with
//! its reader.
//!
//! From the ground up; a room knows only those in the rows above it, and those before it in its row:
//!
//! | room | what is in it |
//! |---|---|
//! | `framing`, `socket`, `signals` | lines, the bytes of a connection, what signals ask for |
//! | `losses` | what is lost when the program ends |
//! | `channel`, `intent_log`, `oom_score` | what keeper and worker say to each other, and share |
//! | `args` | the arguments, and what of them was checked |
//! | `batch`, `validator`, `stats` | what one commit writes, how it is made, what is counted of it |
//! | `shared` | what all threads share, and what ends the program |
//! | `tee`, `sealer` | the threads that write to stdout and seal segments |
//! | `writer` | the segments of a thread, and all that it reads and writes a batch with |
//! | `worker`, `keeper`, `stdin` | the parts that a process can play |
//! | `run` | which of them it plays |

mod args;
mod batch;
mod channel;
mod framing;
mod intent_log;
mod keeper;
mod losses;
mod oom_score;
mod run;
mod sealer;
mod shared;
mod signals;
mod socket;
mod stats;
mod stdin;
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
