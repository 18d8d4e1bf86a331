//! What is to be loaded: a pure function of the tree and the load log.

use std::collections::BTreeMap;
use std::path::PathBuf;

use layout::{Commit, Fingerprint, Hour, ParquetFile};
use warehouse::LoggedWindow;

/// An hour of a data set that the warehouse does not hold in its present version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) hour: Hour,
    pub(crate) path: PathBuf,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) rows: u64,
    /// Whether the warehouse holds another version of it.
    pub(crate) replaces: bool,
}

/// The windows of a data set that are out of date, in order.
pub(crate) fn plan(
    files: impl IntoIterator<Item = (ParquetFile, Commit)>,
    logged: Option<&BTreeMap<Hour, LoggedWindow>>,
) -> Vec<Window> {
    let window = |(file, commit): (ParquetFile, Commit)| Window {
        hour: file.hour,
        path: file.path,
        fingerprint: commit.fingerprint,
        rows: commit.rows,
        replaces: false,
    };
    due(files.into_iter().map(window), logged)
}

/// Those of `windows` that the warehouse does not hold, and whether they replace what it holds.
pub(crate) fn due(
    windows: impl IntoIterator<Item = Window>,
    logged: Option<&BTreeMap<Hour, LoggedWindow>>,
) -> Vec<Window> {
    let due = |mut window: Window| {
        let logged = logged.and_then(|logged| logged.get(&window.hour));
        window.replaces = logged.is_some();
        let is_current = logged.is_some_and(|logged| logged.fingerprint == window.fingerprint);
        (!is_current).then_some(window)
    };
    windows.into_iter().filter_map(due).collect()
}

/// Hours in one transaction, at most.
const BATCH_HOURS: usize = 500;
/// Rows in one transaction, unless a single hour has more: others that load wait for its end.
const BATCH_ROWS: u64 = 200_000;

/// Cuts windows into what one transaction loads.
pub(crate) fn batches(windows: Vec<Window>) -> Vec<Vec<Window>> {
    let mut batches: Vec<Vec<Window>> = Vec::new();
    let mut rows = 0;
    for window in windows {
        rows += window.rows;
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_HOURS && rows <= BATCH_ROWS => batch.push(window),
            _ => {
                rows = window.rows;
                batches.push(vec![window]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use layout::Lineage;

    use super::*;

    fn file(hour: i64, version: &str, rows: u64) -> (ParquetFile, Commit) {
        let hour = Hour::of_micros(0).unwrap().plus(hour);
        let mut commit = Commit::new(Lineage::Segments(Vec::new()));
        commit.fingerprint = Fingerprint::from_text(version);
        commit.rows = rows;
        (ParquetFile { hour, path: PathBuf::from(hour.to_string()) }, commit)
    }

    #[test]
    fn what_is_new_or_changed_is_loaded_and_nothing_else() {
        let logged = [(0, "a"), (1, "b"), (9, "gone")].map(|(hour, version)| {
            let window = LoggedWindow { fingerprint: Fingerprint::from_text(version), rows: 1 };
            (Hour::of_micros(0).unwrap().plus(hour), window)
        });
        let files = [file(0, "a", 1), file(1, "B", 1), file(2, "c", 1)];
        let planned = plan(files, Some(&logged.into()));
        let shown: Vec<_> = planned.iter().map(|window| (window.fingerprint.as_str(), window.replaces)).collect();
        assert_eq!(shown, [("B", true), ("c", false)]);
    }

    #[test]
    fn a_batch_is_bounded_by_hours_and_by_rows() {
        let sizes = |rows: Vec<u64>| -> Vec<usize> {
            let files = rows.iter().zip(0..).map(|(rows, hour)| file(hour, "x", *rows));
            batches(plan(files, None)).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(vec![1; 1001]), [500, 500, 1]);
        assert_eq!(sizes(vec![1, BATCH_ROWS, 1, 1]), [1, 1, 2]);
        assert_eq!(sizes(vec![BATCH_ROWS * 2, 1]), [1, 1]);
        assert!(sizes(vec![]).is_empty());
    }
}
