//! What the keeper is asked to do.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the keeper is asked to do.
pub(super) enum Asked {
    Stop,
    Upgrade,
    Replace,
    Report,
    /// A child has ended, or changed otherwise.
    Look,
}

pub(super) struct Signals([(Signal, fn() -> Asked); 6]);

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self([
            (signal(SignalKind::terminate())?, || Asked::Stop),
            (signal(SignalKind::interrupt())?, || Asked::Stop),
            (signal(SignalKind::hangup())?, || Asked::Upgrade),
            (signal(SignalKind::user_defined2())?, || Asked::Replace),
            (signal(SignalKind::user_defined1())?, || Asked::Report),
            (signal(SignalKind::child())?, || Asked::Look),
        ]))
    }

    pub(super) async fn next(&mut self) -> Asked {
        poll_fn(|context| {
            for (signal, asked) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(asked());
                }
            }
            Poll::Pending
        })
        .await
    }
}
