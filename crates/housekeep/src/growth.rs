//! How fast the tree grows: an estimate from what arrived in the last 24 hours and is still there.

use chrono::{DateTime, TimeDelta, Utc};
use layout::{Hour, Lineage, SegmentCount, SegmentName};

use crate::scan::{Segments, Snapshot};

/// Bytes that a day adds, if nothing is removed. Segments count in full and a stream's Parquet files in the share of the
/// lines that arrived in these 24 hours, by the segments' times of creation. What is made of those files, aggregates and
/// a warehouse of `warehouse` bytes, is taken to grow in proportion.
pub(crate) fn per_day(snapshot: &Snapshot, warehouse: u64, now: DateTime<Utc>) -> u64 {
    let is_new = |name: &SegmentName| now.signed_duration_since(name.created()) < TimeDelta::days(1);
    let segments = snapshot.raw.values().chain(snapshot.quarantine.values()).flat_map(Segments::all);
    let segments: u64 = segments.filter(|segment| is_new(&segment.name)).map(|segment| segment.bytes).sum();
    let (mut streams, mut new, mut derived) = (0, 0, warehouse);
    for parquet in snapshot.datasets.values().flat_map(|dataset| dataset.hours.values()) {
        match parquet.commit.as_ref().map(|commit| &commit.lineage) {
            Ok(Lineage::Segments(made_of)) => {
                streams += parquet.bytes;
                new += share(parquet.bytes, lines(made_of, is_new), lines(made_of, |_| true));
            }
            Ok(Lineage::Query { .. }) => derived += parquet.bytes,
            Err(_) => {}
        }
    }
    segments + new + share(derived, new, streams)
}

/// The hour in which `free` bytes are used up; none if nothing grows.
pub(crate) fn full_at(free: u64, per_day: u64, now: DateTime<Utc>) -> Option<Hour> {
    let hours = u128::from(free) * 24 / u128::from((per_day > 0).then_some(per_day)?);
    Some(Hour::of(now).plus(i64::try_from(hours).unwrap_or(i64::MAX)))
}

fn lines(segments: &[SegmentCount], counts: impl Fn(&SegmentName) -> bool) -> u64 {
    segments.iter().filter(|segment| counts(&segment.name)).map(|segment| segment.lines).sum()
}

/// `part` of `whole` parts of `bytes`.
fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}
