//! What the tree holds of a stream: the input of planning.

use std::collections::BTreeMap;

use layout::{Area, Commit, Hour, HourRange, Name, SealedSegment, Tree};

/// What the tree holds of an hour that has sealed segments.
#[derive(Debug)]
pub(crate) struct HourSnapshot {
    pub(crate) hour: Hour,
    /// Its sealed segments with their lengths in bytes, in order of name.
    pub(crate) segments: Vec<(SealedSegment, u64)>,
    /// The commit record of its Parquet file, if it has one.
    pub(crate) published: layout::Result<Option<Commit>>,
    /// Whether retention removed its Parquet file.
    pub(crate) expired: layout::Result<bool>,
}

/// The hours of `range` that have sealed segments. Other hours are not looked at: a year without work costs nothing.
pub(crate) fn scan(tree: &Tree, stream: &Name, range: HourRange) -> anyhow::Result<Vec<HourSnapshot>> {
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
        let (published, expired) = (tree.commit(stream, hour), tree.is_expired(stream, hour));
        HourSnapshot { hour, segments, published, expired }
    });
    Ok(found.collect())
}
