//! What is to be loaded: a pure function of what the tree and the warehouse hold.

use std::collections::BTreeMap;

use layout::Name;
use warehouse::LoadedHours;

use crate::scan::{HourFile, Snapshot};

/// What is to be loaded of each data set, in order.
pub(crate) type Plan = BTreeMap<Name, Vec<HourFile>>;

/// The hours of a data set that the warehouse does not hold in their present versions.
pub(crate) fn plan(snapshot: &Snapshot) -> Vec<HourFile> {
    due(&snapshot.files, &snapshot.loaded)
}

/// Those of `files` that are not loaded, and whether they replace what is.
pub(crate) fn due(files: &[HourFile], loaded: &LoadedHours) -> Vec<HourFile> {
    let due = |file: &HourFile| {
        let logged = loaded.get(&file.hour);
        let is_current = logged.is_some_and(|logged| logged.fingerprint == file.fingerprint);
        (!is_current).then(|| HourFile { replaces: logged.is_some(), ..file.clone() })
    };
    files.iter().filter_map(due).collect()
}

/// Hours in one transaction, at most.
const BATCH_HOURS: usize = 500;
/// Rows in one transaction, unless a single hour has more: others that load wait for its end.
const BATCH_ROWS: u64 = 200_000;

/// Cuts files into what one transaction loads.
pub(crate) fn batches(files: Vec<HourFile>) -> Vec<Vec<HourFile>> {
    let mut batches: Vec<Vec<HourFile>> = Vec::new();
    let mut rows = 0;
    for file in files {
        rows += file.rows;
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_HOURS && rows <= BATCH_ROWS => batch.push(file),
            _ => {
                rows = file.rows;
                batches.push(vec![file]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use layout::{Fingerprint, Hour};
    use warehouse::LoggedHour;

    use super::*;

    fn hour(number: i64) -> Hour {
        Hour::of_micros(0).unwrap().plus(number)
    }

    fn file(number: i64, version: &str, rows: u64) -> HourFile {
        let (hour, fingerprint) = (hour(number), Fingerprint::from_text(version));
        HourFile { hour, path: PathBuf::from(hour.to_string()), fingerprint, rows, replaces: false }
    }

    #[test]
    fn what_is_new_or_changed_is_loaded_and_nothing_else() {
        let loaded = [(0, "a"), (1, "b"), (9, "gone")].map(|(number, version)| {
            (hour(number), LoggedHour { fingerprint: Fingerprint::from_text(version), rows: 1 })
        });
        let files = vec![file(0, "a", 1), file(1, "B", 1), file(2, "c", 1)];
        let (unreadable, expired) = (BTreeMap::new(), BTreeSet::new());
        let planned = plan(&Snapshot { files, unreadable, expired, loaded: loaded.into() });
        let shown: Vec<_> = planned.iter().map(|file| (file.fingerprint.as_str(), file.replaces)).collect();
        assert_eq!(shown, [("B", true), ("c", false)]);
    }

    #[test]
    fn a_batch_is_bounded_by_hours_and_by_rows() {
        let sizes = |rows: Vec<u64>| -> Vec<usize> {
            let files = rows.iter().zip(0..).map(|(rows, number)| file(number, "x", *rows));
            batches(files.collect()).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(vec![1; 1001]), [500, 500, 1]);
        assert_eq!(sizes(vec![1, BATCH_ROWS, 1, 1]), [1, 1, 2]);
        assert_eq!(sizes(vec![BATCH_ROWS * 2, 1]), [1, 1]);
        assert!(sizes(vec![]).is_empty());
    }
}
