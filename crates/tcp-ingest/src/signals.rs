//! Signals, as what they ask for.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
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

/// Signals that are received, and so do not kill.
pub(crate) struct Signals(Vec<(Signal, Request)>);

impl Signals {
    /// Those that ask for what is wanted.
    pub(crate) fn new(is_wanted: impl Fn(Request) -> bool) -> io::Result<Self> {
        let all = [
            (SignalKind::terminate(), Request::Stop),
            (SignalKind::interrupt(), Request::Stop),
            (SignalKind::hangup(), Request::Upgrade),
            (SignalKind::user_defined2(), Request::Replace),
            (SignalKind::user_defined1(), Request::Report),
            (SignalKind::child(), Request::Reap),
        ];
        let wanted = all.into_iter().filter(|(_, request)| is_wanted(*request));
        Ok(Self(wanted.map(|(kind, request)| Ok((signal(kind)?, request))).collect::<io::Result<_>>()?))
    }

    /// What the next one asks for. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Request {
        poll_fn(|context| {
            let mut is_due = |signal: &mut Signal| signal.poll_recv(context).is_ready();
            let due = self.0.iter_mut().find_map(|(signal, request)| is_due(signal).then_some(*request));
            due.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
