//! Resuming the work of a dead worker: for each byte that it peeked, whether it is written and whether it is consumed.
//!
//! An intent of the [`intent log`](crate::intent_log) says which bytes of a connection were about to be appended to which
//! segments at which lengths. One call consumes all of them or none, so:
//!
//! | the kernel has consumed them | the segments | what is done |
//! |---|---|---|
//! | yes | hold all of them | nothing |
//! | no | hold all of them | they are consumed |
//! | no | lack some | the segments are cut to their lengths before, and the bytes read again |
//!
//! Then every segment consists of complete lines that were consumed, and is sealed.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::bail;
use layout::{InheritedSegment, SegmentId, Tree};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::thread::Incoming;
use crate::channel::{self, ToKeeper, ToWorker};
use crate::intent_log::{Intent, Write};
use crate::sealer::Sealer;
use crate::shared::{RETRY, Shared};
use crate::socket;

/// A message came without its descriptor, because there was no room for it. The keeper still holds what it stands for.
pub(super) const NO_DESCRIPTOR: &str =
    "too many open files to take what the keeper holds: another worker is to try; raise the limit (ulimit -n)";

/// What the keeper says next, with its descriptor; none if it says no more. May be dropped and called again.
pub(super) async fn receive(keeper: &AsyncFd<OwnedFd>) -> std::io::Result<Option<(ToWorker, Option<OwnedFd>)>> {
    keeper.async_io(Interest::READABLE, channel::receive).await
}

/// What the keeper holds when a worker begins.
#[derive(Default)]
pub(super) struct Inventory {
    /// What dead workers had open, by number.
    segments: HashMap<u128, Segment>,
    pub(super) connections: Vec<Incoming>,
}

struct Segment {
    name: String,
    file: InheritedSegment,
    unsynced: bool,
}

impl Inventory {
    /// Takes it from the keeper; none if that ended before it had said all.
    pub(super) async fn receive(keeper: &AsyncFd<OwnedFd>, tree: &Tree) -> anyhow::Result<Option<Self>> {
        let mut inventory = Self::default();
        while let Some(message) = receive(keeper).await? {
            match message {
                (ToWorker::Segment { segment }, Some(file)) => {
                    let unsynced = segment.get("unsynced").is_some();
                    let id: SegmentId = serde_json::from_value(segment)?;
                    let (number, name) = (id.name.number(), id.name.to_string());
                    let file = InheritedSegment::new(tree, id, file);
                    inventory.segments.insert(number, Segment { name, file, unsynced });
                }
                (ToWorker::Connection { slot, stream, peer, new }, Some(socket)) => {
                    inventory.connections.push(Incoming { socket: socket.into(), slot, stream, peer, new });
                }
                (ToWorker::Segment { .. } | ToWorker::Connection { .. }, None) => bail!("{NO_DESCRIPTOR}"),
                (ToWorker::Begin, _) => return Ok(Some(inventory)),
                (message, _) => log::error!("a bug: the keeper says {message:?}"),
            }
        }
        Ok(None)
    }

    /// Carries out or undoes what a dead worker was about to do, and has its segments sealed. Returns the connections.
    pub(super) fn resume(self, shared: &Shared, sealer: &Sealer) -> Vec<Incoming> {
        let log = &shared.intent_log;
        for row in 0..log.rows {
            if let Some(intent) = log.intent(row) {
                if until_it_works(|| self.resolve(&intent)) { log.commit(row) } else { log.abort(row) }
            }
            log.count_death(row);
        }
        until_it_works(|| Ok(shared.data_dir.check()?));
        let mut open = Vec::new();
        for Segment { name, file, unsynced } in self.segments.into_values() {
            match until_it_works(|| Ok(if unsynced { file.rewrite()? } else { file.resume()? })) {
                Some(resumed) => open.push(resumed),
                None => shared.tell_keeper(&ToKeeper::Sealed { name }, None),
            }
        }
        shared.stats.open_segments.fetch_add(open.len() as u64, Relaxed);
        sealer.seal(open);
        self.connections
    }

    /// Whether the bytes of `intent` are written and consumed now; if not, nothing of them is written.
    fn resolve(&self, intent: &Intent) -> anyhow::Result<bool> {
        let connection = self.connections.iter().find(|connection| connection.slot == intent.slot);
        let unconsumed = match connection {
            Some(connection) => (intent.position + intent.taken).saturating_sub(socket::consumed(&connection.socket)?),
            // The keeper lets go of a connection when it is over, and none is over in the middle of this.
            None => 0,
        };
        let consumed = unconsumed == 0;
        let mut written = true;
        for Write { segment, before, bytes } in &intent.writes {
            let length = self.segments.get(segment).map_or(Ok(0), |segment| segment.file.length())?;
            written &= length >= before + bytes;
        }
        if let (false, true, Some(connection)) = (consumed, written, connection)
            && let Err(error) = socket::consume(&connection.socket, usize::try_from(unconsumed)?)
        {
            // The connection is broken, so that nobody reads them again either.
            log::warn!("tcp {}: {error}", connection.peer);
        }
        if !written {
            if consumed {
                log::error!("a bug: bytes were consumed that are not written: {intent:?}");
            }
            for write in &intent.writes {
                if let Some(Segment { file, .. }) = self.segments.get(&write.segment)
                    && file.length()? > write.before
                {
                    file.cut(write.before)?;
                }
            }
        }
        Ok(consumed || written)
    }
}

/// Tries until it works; reports once that it does not.
fn until_it_works<T>(mut attempt: impl FnMut() -> anyhow::Result<T>) -> T {
    let mut reported = false;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => {
                if !std::mem::replace(&mut reported, true) {
                    log::error!("{error:#}; reading waits until what the worker before has left can be sealed");
                }
                std::thread::sleep(RETRY);
            }
        }
    }
}
