//! What is to be done, from what the tree holds: pure, so that `--dry-run` shows and tests see exactly what a run does.

use std::collections::HashSet;

use layout::{Commit, Error, Hour, HourRange, Lineage, SealedSegment, SegmentCount};

use crate::scan::HourSnapshot;

/// The work on one hour.
#[derive(Debug)]
pub(crate) struct HourPlan {
    pub(crate) hour: Hour,
    /// Segments that no Parquet file lists: to be read.
    pub(crate) fresh: Vec<SealedSegment>,
    /// Segments that the Parquet file lists: to be removed and never read again.
    pub(crate) listed: Vec<SealedSegment>,
    /// The length of all of them.
    pub(crate) bytes: u64,
    /// The commit record of the hour's Parquet file, if there is one: a compacted stream's.
    pub(crate) published: Option<Commit>,
    /// Whether retention has removed its Parquet file, which closes the hour.
    pub(crate) closed: bool,
}

/// The work on an hour in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// A first Parquet file from segments.
    Compact,
    /// A new Parquet file from the old one and late segments.
    Rebuild,
    /// Only segments to remove that the Parquet file lists.
    DeleteListed,
    /// Segments of a closed hour to move to quarantine.
    Quarantine,
}

impl Action {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Compact => "compact",
            Self::Rebuild => "rebuild",
            Self::DeleteListed => "delete listed",
            Self::Quarantine => "quarantine",
        }
    }
}

/// Hours with fewer bytes than this gain nothing from several threads.
const LARGE: u64 = 16 << 20;

impl HourPlan {
    /// Whether the hour is worth all threads.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes >= LARGE
    }

    /// Whether rows are to be made of segments.
    pub(crate) fn has_rows_to_make(&self) -> bool {
        matches!(self.action(), Action::Compact | Action::Rebuild)
    }

    /// The work in a word.
    pub(crate) fn action(&self) -> Action {
        match (&self.published, self.fresh.is_empty()) {
            _ if self.closed => Action::Quarantine,
            (_, true) => Action::DeleteListed,
            (None, false) => Action::Compact,
            (Some(_), false) => Action::Rebuild,
        }
    }
}

/// The hours of `range` that may be compacted at `now`: the current hour still fills, later ones are ahead of their time.
pub(crate) fn due(range: HourRange, now: Hour, include_current: bool) -> HourRange {
    let to = if include_current { range.to } else { Some(range.to.map_or(now, |to| to.min(now))) };
    HourRange { to, ..range }
}

/// The work on an hour.
pub(crate) fn plan(found: HourSnapshot) -> layout::Result<HourPlan> {
    let (closed, published) = (found.expired?, found.published?);
    if matches!(&published, Some(Commit { lineage: Lineage::Query { .. }, .. })) {
        let problem = "its Parquet file is an aggregate's, not a compacted stream's";
        return Err(Error::new(problem, "move it out of the tree"));
    }
    let listed: HashSet<_> = segments(published.as_ref()).iter().map(|count| &count.name).collect();
    let bytes = found.segments.iter().map(|(_, len)| len).sum();
    let segments = found.segments.into_iter().map(|(segment, _)| segment);
    let (listed, fresh) = segments.partition(|segment| listed.contains(&segment.name));
    Ok(HourPlan { hour: found.hour, fresh, listed, bytes, published, closed })
}

/// The segments of which the hour's Parquet file was made.
fn segments(published: Option<&Commit>) -> &[SegmentCount] {
    match published.map(|commit| &commit.lineage) {
        Some(Lineage::Segments(segments)) => segments,
        _ => &[],
    }
}

/// The lineage of the hour's Parquet file when segments with these counts have been added to it.
pub(crate) fn lineage(published: Option<&Commit>, fresh: &[SegmentCount]) -> Lineage {
    let mut segments: Vec<_> = segments(published).iter().chain(fresh).cloned().collect();
    segments.sort_by(|a, b| a.name.cmp(&b.name));
    Lineage::Segments(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["01K4Z0000000000000000000A0", "01K4Z0000000000000000000B0", "01K4Z0000000000000000000C0"];

    fn hour(text: &str) -> Hour {
        text.parse().unwrap()
    }

    fn segment(name: &str) -> (SealedSegment, u64) {
        (SealedSegment { hour: hour("2025-09-02T10"), name: name.parse().unwrap(), path: name.into() }, 10)
    }

    fn found(names: &[&str], listed: Option<&[&str]>) -> HourSnapshot {
        let published = listed.map(|names| {
            let counts = names.iter().map(|name| SegmentCount { name: name.parse().unwrap(), lines: 3, damaged: 1 });
            let mut commit = Commit::new(Lineage::Segments(counts.collect()));
            commit.rows = 2 * names.len() as u64;
            commit
        });
        let segments = names.iter().map(|name| segment(name)).collect();
        HourSnapshot { hour: hour("2025-09-02T10"), segments, published: Ok(published), expired: Ok(false) }
    }

    #[test]
    fn listed_segments_are_only_removed() {
        let plan = plan(found(&NAMES[..2], Some(&NAMES))).unwrap();
        assert_eq!((plan.action(), plan.fresh.len(), plan.listed.len()), (Action::DeleteListed, 0, 2));
    }

    #[test]
    fn a_first_file_has_everything_fresh() {
        let plan = plan(found(&NAMES, None)).unwrap();
        assert_eq!((plan.action(), plan.fresh.len(), plan.listed.len(), plan.bytes), (Action::Compact, 3, 0, 30));
    }

    #[test]
    fn late_segments_rebuild_and_the_lineage_is_the_union_in_order() {
        let plan = plan(found(&NAMES[..2], Some(&[NAMES[0], NAMES[2]]))).unwrap();
        assert_eq!((plan.action(), plan.listed.len()), (Action::Rebuild, 1));
        assert_eq!(plan.fresh[0].name.to_string(), NAMES[1]);
        let fresh = SegmentCount { name: plan.fresh[0].name.clone(), lines: 5, damaged: 0 };
        let Lineage::Segments(union) = lineage(plan.published.as_ref(), &[fresh]) else { panic!() };
        assert_eq!(union.iter().map(|count| count.name.to_string()).collect::<Vec<_>>(), NAMES);
    }

    #[test]
    fn the_late_segments_of_an_expired_hour_go_to_quarantine() {
        let plan = plan(HourSnapshot { expired: Ok(true), ..found(&NAMES, None) }).unwrap();
        assert_eq!((plan.action(), plan.fresh.len()), (Action::Quarantine, 3));
    }

    #[test]
    fn the_current_hour_and_later_ones_are_not_due() {
        let now = hour("2025-09-02T10");
        let range = due(HourRange::ALL, now, false);
        assert!(range.contains(hour("2025-09-02T09")) && !range.contains(now) && !range.contains(now.plus(1)));
        assert!(due(HourRange::ALL, now, true).contains(now.plus(1)));
        let narrow = HourRange { from: None, to: Some(hour("2025-09-01")) };
        assert_eq!(due(narrow, now, false), narrow);
    }
}
