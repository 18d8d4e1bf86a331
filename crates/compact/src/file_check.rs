//! Checks what was read of a published hour: a pure function.

use layout::{Commit, Error, Lineage, RESTORE};

use crate::report::explain;

/// What was found in the rows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Values {
    pub(crate) rows: u64,
    /// Rows whose event time is not in the hour.
    pub(crate) elsewhere: u64,
}

/// The first thing that is wrong with an hour of a stream or of an aggregate with this commit record, whose values are these or cannot be read.
pub(crate) fn check(commit: &Commit, is_stream: bool, values: &anyhow::Result<Values>) -> Option<Error> {
    let damaged = |what: String| Some(Error::new(what, RESTORE));
    if !commit.is_genuine() {
        return damaged(format!(
            "its fingerprint {} does not belong to what its commit record says: the footer was changed",
            commit.fingerprint
        ));
    }
    if matches!(commit.lineage, Lineage::Query { .. }) && is_stream {
        return damaged("is an aggregate's file, not a compacted stream's".to_owned());
    }
    let values = match values {
        Ok(values) => values,
        Err(error) => {
            let (why, known) = explain(error);
            let remedy = match known {
                Some(remedy) => format!("{remedy}, then verify again"),
                None => format!("if it is damaged, {RESTORE}; else verify again"),
            };
            return Some(Error::new(format!("cannot be read to its end: {why}"), remedy));
        }
    };
    if let Some(what) = miscounted(commit, values.rows) {
        return damaged(what);
    }
    (values.elsewhere > 0).then(|| {
        let what = format!("has {} whose event times are in other hours", cli::count(values.elsewhere, "row"));
        Error::new(what, "put the file back to the hour that it was made for, or the right file in its place")
    })
}

/// What the numbers of a file contradict, if anything.
fn miscounted(commit: &Commit, read: u64) -> Option<String> {
    let rows = commit.rows;
    if read != rows {
        return Some(format!("{} can be read, and its footer promises {rows}", cli::count(read, "row")));
    }
    if matches!(commit.lineage, Lineage::Query { .. }) {
        return None;
    }
    let Some(accounted) = commit.accounted_rows() else {
        return Some("its commit record counts more damaged lines and duplicates than lines: that cannot be".into());
    };
    let perhaps = if commit.duplicates == 0 && rows < accounted {
        " (it is as it should be if duplicates were removed and a version that knows none has added to it since)"
    } else {
        ""
    };
    let has = cli::count(rows, "row");
    (accounted != rows).then(|| format!("has {has}, and its commit record accounts for {accounted}{perhaps}"))
}

#[cfg(test)]
mod tests {
    use layout::SegmentCount;

    use super::*;

    fn reading(dataset: &str, commit: &Commit, rows: u64, elsewhere: u64) -> Option<String> {
        let values = Ok(Values { rows, elsewhere });
        check(commit, dataset == "telemetry", &values).map(|error| error.problem)
    }

    fn commit(lines: u64, damaged: u64, duplicates: u64, rows: u64) -> Commit {
        let name = "01K4Z0000000000000000000A0".parse().unwrap();
        let lineage = Lineage::Segments(vec![SegmentCount { name, lines, damaged }]);
        Commit { rows, ..Commit::deduplicated(lineage, duplicates) }
    }

    #[test]
    fn numbers_must_add_up() {
        assert_eq!(reading("telemetry", &commit(10, 2, 3, 5), 5, 0), None);
        let wrong = |commit, read| reading("telemetry", &commit, read, 0).unwrap();
        assert!(wrong(commit(10, 2, 3, 5), 4).contains("4 rows can be read"));
        assert!(wrong(commit(10, 2, 3, 6), 6).contains("accounts for 5"));
        assert!(wrong(commit(1, 2, 0, 0), 0).contains("cannot be"));
        assert!(wrong(Commit { duplicates: 0, ..commit(10, 2, 3, 8) }, 8).contains("fingerprint"));
        assert!(reading("telemetry", &commit(1, 0, 0, 1), 1, 1).unwrap().contains("1 row whose event times"));
    }
}
