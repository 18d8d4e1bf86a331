//! Hours of data sets, published as compact and aggregate would, and what is to be expected of the warehouse.

use std::collections::{BTreeMap, BTreeSet};

use engine::SessionArgs;
use harness::DataDir;
use layout::{Commit, DatasetLock, Fingerprint, Lineage, Tree};

/// Publishes the rows of `select` as an hour of a data set, in a version of its own.
pub(crate) fn publish(data_dir: &DataDir, dataset: &str, hour: &str, version: &str, select: &str) {
    let session = SessionArgs { threads: Some(1), memory_limit: None, temp_dir: None };
    let connection = engine::open(&session).unwrap();
    let tree = Tree::new(data_dir.path());
    let dataset = dataset.parse().unwrap();
    let query = Fingerprint::of(version.as_bytes());
    let commit = Commit::new(Lineage::Query { query, inputs: BTreeMap::new(), tables: BTreeMap::new() });
    let lock = DatasetLock::try_acquire(&tree, &dataset).unwrap().unwrap();
    let draft = tree.draft_parquet(&lock, &dataset, hour.parse().unwrap()).unwrap();
    engine::copy_to_draft(&connection, select, &draft, &commit).unwrap();
    layout::publish(vec![draft]).unwrap();
}

/// Removes an hour of a data set, as retention would.
pub(crate) fn expire(data_dir: &DataDir, dataset: &str, hour: &str) {
    let tree = Tree::new(data_dir.path());
    let (dataset, hour) = (dataset.parse().unwrap(), hour.parse().unwrap());
    let lock = DatasetLock::try_acquire(&tree, &dataset).unwrap().unwrap();
    let commit = Commit::read(&tree.parquet(&dataset, hour)).unwrap();
    tree.expire_parquet(&lock, &dataset, &[(hour, commit)]).unwrap();
}

/// The query for `rows` readings of an hour; each text says to which version of which hour it belongs.
pub(crate) fn readings(hour: &str, version: &str, rows: u64) -> String {
    format!(
        "SELECT TIMESTAMP '{}:00:00' + i * INTERVAL 1 MILLISECOND AS taken, i + 7 AS sensor_id, i + 0.25::DOUBLE AS value, \
         '{hour} {version} {{' || i || '}} it''s \\ \"ü\"' AS note FROM range({rows}) r(i) ORDER BY i",
        hour.replace('T', " ")
    )
}

/// Publishes readings.
pub(crate) fn publish_readings(data_dir: &DataDir, hour: &str, version: &str, rows: u64) {
    publish(data_dir, "readings", hour, version, &readings(hour, version, rows));
}

/// What the warehouse is to hold: for each hour its version and how many rows.
pub(crate) type Expected = BTreeMap<String, (String, u64)>;

/// A row of the table `readings`: its id, the hour as `2025-09-02T10`, its version and its number in the file.
pub(crate) type Row = (i64, String, String, u64);

/// Ids that rows were seen with, so that none is ever given to another.
pub(crate) type Seen = BTreeMap<i64, (String, String, u64)>;

/// Compares all rows with what is expected: every row of every hour once, numbered without gaps in the order of its
/// file, with ids that belonged to no other row at any time.
#[track_caller]
pub(crate) fn check(rows: &[Row], expected: &Expected, seen: &mut Seen) {
    let mut hours: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        hours.entry(&row.1).or_default().push(row);
        let (id, hour, version, number) = row;
        let is = (hour.clone(), version.clone(), *number);
        assert_eq!(seen.entry(*id).or_insert_with(|| is.clone()), &is, "the id {id} was another row's");
    }
    let held: BTreeSet<_> = hours.keys().copied().collect();
    let due: BTreeSet<_> = expected.iter().filter(|(_, (_, rows))| *rows > 0).map(|(hour, _)| hour.as_str()).collect();
    assert_eq!(held, due, "hours in the table");
    for (hour, rows) in hours {
        let (version, count) = &expected[hour];
        assert_eq!(rows.len() as u64, *count, "rows of {hour}");
        for (number, row) in rows.iter().enumerate() {
            assert_eq!((&row.2, row.3), (version, number as u64), "row {number} of {hour}");
            assert_eq!(row.0, rows[0].0 + i64::try_from(number).unwrap(), "ids of {hour}");
        }
    }
}
