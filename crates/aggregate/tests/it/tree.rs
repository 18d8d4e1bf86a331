//! A tree to aggregate: hours of data sets as compact would have published them, and what is in the results.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

use duckdb::Connection;
use harness::{House, Run};
use layout::{Commit, DatasetLock, Fingerprint, Hour, Lineage, Name, Tree};

/// A reading: sensor, number or none, text or none, unit.
pub(crate) type Reading<'a> = (i64, Option<f64>, Option<&'a str>, &'a str);

/// A connection of the tests' own.
pub(crate) fn connection() -> Connection {
    static DUCKDB: LazyLock<Mutex<Connection>> = LazyLock::new(|| {
        let session = engine::SessionArgs { threads: None, memory_limit: None, temp_dir: None };
        Mutex::new(engine::open(&session).unwrap())
    });
    DUCKDB.lock().unwrap().try_clone().unwrap()
}

/// Publishes an hour of `dataset` with the rows of the query `select`; `version` stands for its lineage.
pub(crate) fn put(house: &House, dataset: &str, hour: &str, select: &str, version: &str) -> PathBuf {
    let tree = Tree::new(house.path());
    let (dataset, hour): (Name, Hour) = (dataset.parse().unwrap(), hour.parse().unwrap());
    let lock = lock(house, dataset.as_str());
    let draft = tree.draft_parquet(&lock, &dataset, hour).unwrap();
    let commit = Commit::new(lineage(version));
    engine::copy_to_draft(&connection(), select, &draft, &commit).unwrap();
    layout::publish(vec![draft]).unwrap();
    tree.parquet(&dataset, hour)
}

/// What stands for the lineage of a version: all versions are made in the same way, of something else.
pub(crate) fn lineage(version: &str) -> Lineage {
    let source = ("source".parse().unwrap(), Fingerprint::of(version.as_bytes()).into());
    Lineage::Query { query: Fingerprint::of(b"SELECT"), inputs: [source].into(), tables: [].into() }
}

/// Takes the lock of a data set. A child that another test starts holds a copy of it until it has begun its program.
pub(crate) fn lock(house: &House, dataset: &str) -> DatasetLock {
    loop {
        if let Some(lock) = DatasetLock::try_acquire(&Tree::new(house.path()), &dataset.parse().unwrap()).unwrap() {
            return lock;
        }
        std::thread::yield_now();
    }
}

/// Removes an hour of a data set as retention does.
pub(crate) fn expire(house: &House, dataset: &str, hour: &str) {
    let (tree, name, hour): (_, Name, Hour) =
        (Tree::new(house.path()), dataset.parse().unwrap(), hour.parse().unwrap());
    let commit = Commit::read(&tree.parquet(&name, hour)).unwrap();
    tree.expire_parquet(&lock(house, dataset), &name, &[(hour, commit)]).unwrap();
}

/// Publishes an hour of telemetry.
pub(crate) fn telemetry(house: &House, hour: &str, readings: &[Reading<'_>], version: &str) -> PathBuf {
    let start = harness::epoch(hour);
    let rows: Vec<_> = readings
        .iter()
        .enumerate()
        .map(|(i, (sensor, value, text, unit))| {
            let seconds = start + i64::try_from(i).unwrap();
            let value = value.map_or("NULL".to_owned(), |value| format!("{value:?}"));
            let text = text.map_or("NULL".to_owned(), engine::literal);
            format!(
                "(make_timestamp({seconds}::BIGINT * 1000000), {sensor}::BIGINT, 'Temperature', {value}::DOUBLE, {text}::VARCHAR, '{unit}')"
            )
        })
        .collect();
    let columns = "timestamp, sensor_id, measurement_kind, measurement_value, measurement_text, measurement_unit";
    put(house, "telemetry", hour, &format!("SELECT * FROM (VALUES {}) AS rows({columns})", rows.join(", ")), version)
}

/// Publishes `hours` hours of telemetry from `first` on, two sensors each.
pub(crate) fn many_hours(house: &House, first: &str, hours: i64) {
    let first: Hour = first.parse().unwrap();
    for i in 0..hours {
        let hour = first.plus(i).to_string();
        let value = f64::from(i32::try_from(i).unwrap());
        telemetry(house, &hour, &[(1, Some(value), None, "Celcius"), (2, Some(-value), None, "Fahrenheit")], "1");
    }
}

/// The rows of a query over Parquet files as CSV; `{}` in `sql` stands for the files.
pub(crate) fn rows(files: &[PathBuf], sql: &str) -> Vec<String> {
    let sql = sql.replace("{}", &engine::read_parquet(files.iter().map(PathBuf::as_path)));
    let mut out = Vec::new();
    engine::print_query(&connection(), &sql, &mut out, cli::Format::Csv).unwrap();
    String::from_utf8(out).unwrap().lines().skip(1).map(str::to_owned).collect()
}

/// The columns of a Parquet file with their types.
pub(crate) fn columns(file: &Path) -> Vec<String> {
    let columns = "SELECT column_name || ' ' || column_type FROM (DESCRIBE SELECT * FROM {})";
    rows(&[file.to_owned()], columns)
}

/// The published hours of a data set.
pub(crate) fn published(house: &House, dataset: &str) -> Vec<PathBuf> {
    house.files_like(&format!("parquet/{dataset}/"), ".parquet")
}

/// What tells whether a file was touched: its inode, time of change and bytes.
pub(crate) fn identity(files: &[PathBuf]) -> Vec<(u64, std::time::SystemTime, Vec<u8>)> {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |file: &PathBuf| {
        let metadata = file.metadata().unwrap();
        (metadata.ino(), metadata.modified().unwrap(), std::fs::read(file).unwrap())
    };
    files.iter().map(identity).collect()
}

/// The hours that `--dry-run` lists, with the reasons.
pub(crate) fn planned(house: &House, arguments: &str) -> Vec<String> {
    let run = house.run("aggregate", &format!("{arguments} --dry-run --format csv")).expect(0);
    run.stdout.lines().skip(1).map(str::to_owned).collect()
}

/// Writes a file beside the tree and returns its path.
pub(crate) fn file(house: &House, name: &str, text: &str) -> String {
    let path = house.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

pub(crate) fn run(house: &House, arguments: &str) -> Run {
    house.run("aggregate", arguments)
}
