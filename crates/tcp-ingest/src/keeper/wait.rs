//! What the keeper waits for.

use std::future::{pending, poll_fn};
use std::io;
use std::task::Poll;

use super::held::Connection;
use super::listeners::Listener;

/// What `future` yields; nothing ever, if there is none.
pub(super) async fn if_any<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

/// The next connection.
pub(super) async fn accepted(listeners: &[Listener]) -> io::Result<Connection> {
    poll_fn(|context| {
        for listener in listeners {
            if let Poll::Ready(connection) = listener.poll_accept(context) {
                return Poll::Ready(connection);
            }
        }
        Poll::Pending
    })
    .await
}
