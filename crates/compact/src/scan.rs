//! What the tree holds of a stream: the input of planning.

use std::collections::BTreeMap;

use layout::{Area, Hour, HourRange, Name, Tree};

use crate::plan::Found;

/// The hours of `range` that have sealed segments. Other hours are not looked at: a year without work costs nothing.
pub(crate) fn scan(tree: &Tree, stream: &Name, range: HourRange) -> anyhow::Result<Vec<Found>> {
    let mut hours = BTreeMap::<Hour, Vec<_>>::new();
    for segment in tree.sealed_segments(Area::Raw, stream, range)? {
        let len = match layout::size(&segment.path) {
            Ok(Some(len)) => len,
            // Removed just now by another compactor: a run plans once more when it has the lock.
            Ok(None) => continue,
            // Reading it will fail and fail its hour; here the error would fail the stream.
            Err(_) => 0,
        };
        hours.entry(segment.hour).or_default().push((segment, len));
    }
    let found = hours.into_iter().map(|(hour, segments)| {
        let published = tree.commit(stream, hour).transpose();
        Found { hour, segments, published, expired: tree.is_expired(stream, hour) }
    });
    Ok(found.collect())
}
