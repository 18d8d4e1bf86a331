//! Resuming the work of a dead worker: for each byte that it peeked, whether it is written and whether it is consumed.
//!
//! An intent of the [`IntentLog`] says which bytes of a connection were about to be appended to which segments at which
//! lengths. One call consumes all of them or none, so:
//!
//! | the kernel has consumed them | the segments | what is done |
//! |---|---|---|
//! | yes | hold all of them | nothing |
//! | no | hold all of them | they are consumed |
//! | no | lack some | the segments are cut to their lengths before, and the bytes read again |
//!
//! Then every segment consists of complete lines that were consumed, and is sealed. One whose sync failed is copied first,
//! and one that was removed or moved away is put back, as soon as the data directory is where it was.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use layout::{InheritedSegment, SegmentId, Tree};
use serde_json::Value;

use super::serving::Incoming;
use crate::channel::KeeperSender;
use crate::intent_log::{Intent, IntentLog, Write};
use crate::messages::ToKeeper;
use crate::shared::Shared;
use crate::socket;

/// How long to wait before trying again what the storage refuses.
const RETRY: Duration = Duration::from_millis(200);

/// A segment of a dead worker.
pub(super) struct Segment {
    name: String,
    file: InheritedSegment,
    /// A sync of it failed.
    unsynced: bool,
}

/// The segments of a dead worker, by number.
pub(super) type Segments = HashMap<u128, Segment>;

/// Adds a segment that came from the keeper.
pub(super) fn add(segments: &mut Segments, tree: &Tree, segment: Value, file: OwnedFd) -> anyhow::Result<()> {
    let unsynced = segment.get("unsynced").is_some();
    let id: SegmentId = serde_json::from_value(segment)?;
    let (number, name) = (id.name.number(), id.name.to_string());
    segments.insert(number, Segment { name, file: InheritedSegment::new(tree, id, file), unsynced });
    Ok(())
}

/// Carries out or undoes what a dead worker was about to do, counts its death, and has its segments sealed. Waits as long
/// as the storage refuses.
pub(super) fn resume(
    segments: Segments,
    log: &IntentLog,
    connections: &[Incoming],
    shared: &Shared,
    keeper: &KeeperSender,
) {
    for row in 0..log.rows() {
        if let Some(intent) = log.intent(row) {
            let connection = connections.iter().find(|connection| connection.slot == intent.slot);
            if until_it_works(|| resolve(&intent, connection, &segments)) { log.commit(row) } else { log.abort(row) }
        }
        log.count_death(row);
    }
    until_it_works(|| Ok(shared.data_dir.check()?));
    let mut open = Vec::new();
    for Segment { name, file, unsynced } in segments.into_values() {
        match until_it_works(|| Ok(if unsynced { file.rewrite()? } else { file.resume()? })) {
            Some(resumed) => open.push(resumed),
            None => keeper.send(&ToKeeper::Sealed { name }, None),
        }
    }
    shared.stats.open_segments.fetch_add(open.len() as u64, Relaxed);
    shared.sealer.seal(open);
}

/// Whether the bytes of `intent` are written and consumed now; if not, nothing of them is written.
fn resolve(intent: &Intent, connection: Option<&Incoming>, segments: &Segments) -> anyhow::Result<bool> {
    let unconsumed = match connection {
        Some(connection) => (intent.position + intent.taken).saturating_sub(socket::consumed(&connection.socket)?),
        // The keeper lets go of a connection when it is over, and none is over in the middle of this.
        None => 0,
    };
    let consumed = unconsumed == 0;
    let length = |write: &Write| segments.get(&write.segment).map_or(Ok(0), |segment| segment.file.length());
    let mut written = true;
    for write in &intent.writes {
        written &= length(write)? >= write.before + write.bytes;
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
            if let Some(Segment { file, .. }) = segments.get(&write.segment)
                && file.length()? > write.before
            {
                file.cut(write.before)?;
            }
        }
    }
    Ok(consumed || written)
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
