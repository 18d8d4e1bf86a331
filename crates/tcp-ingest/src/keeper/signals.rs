//! The signals of the keeper.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Stop,
    /// A worker from the binary on disk.
    Upgrade,
    /// A keeper from the binary on disk.
    Replace,
    /// The statistics in the log.
    Report,
    /// A child has ended, or changed otherwise.
    Reap,
}

pub(super) struct Signals([(Signal, fn() -> Request); 6]);

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self([
            (signal(SignalKind::terminate())?, || Request::Stop),
            (signal(SignalKind::interrupt())?, || Request::Stop),
            (signal(SignalKind::hangup())?, || Request::Upgrade),
            (signal(SignalKind::user_defined2())?, || Request::Replace),
            (signal(SignalKind::user_defined1())?, || Request::Report),
            (signal(SignalKind::child())?, || Request::Reap),
        ]))
    }

    pub(super) async fn next(&mut self) -> Request {
        poll_fn(|context| {
            for (signal, request) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(request());
                }
            }
            Poll::Pending
        })
        .await
    }
}
