//! A tree to aggregate: hours of data sets as compact would have published them, and what is in the results.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

use duckdb::Connection;
use harness::{DataDir, Run};
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
pub(crate) fn put(data_dir: &DataDir, dataset: &str, hour: &str, select: &str, version: &str) -> PathBuf {
    let tree = Tree::new(data_dir.path());
    let (dataset, hour): (Name, Hour) = (dataset.parse().unwrap(), hour.parse().unwrap());
    let lock = lock(data_dir, dataset.as_str());
    let draft = tree.draft_parquet(&lock, &dataset, hour).unwrap();
    let commit = Commit::new(lineage(version));
    engine::copy_to_draft(&connection(), select, &draft, &commit).unwrap();
    layout::publish(vec![draft]).unwrap();
    tree.parquet(&dataset, hour)
}

/// What stands for the lineage of a version: all versions are made in the same way, of something else.
pub(crate) fn lineage(version: &str) -> Lineage {
    let source = ("source".parse().unwrap(), layout::Input::Hour(Fingerprint::of(version.as_bytes())));
    Lineage::Query { query: Fingerprint::of(b"SELECT"), inputs: [source].into(), tables: [].into() }
}

/// Takes the lock of a data set. A child that another test starts holds a copy of it until it has begun its program.
pub(crate) fn lock(data_dir: &DataDir, dataset: &str) -> DatasetLock {
    loop {
        if let Some(lock) = DatasetLock::try_acquire(&Tree::new(data_dir.path()), &dataset.parse().unwrap()).unwrap() {
            return lock;
        }
        std::thread::yield_now();
    }
}

/// Removes an hour of a data set as retention does.
pub(crate) fn expire(data_dir: &DataDir, dataset: &str, hour: &str) {
    let (tree, name, hour): (_, Name, Hour) =
        (Tree::new(data_dir.path()), dataset.parse().unwrap(), hour.parse().unwrap());
    let commit = Commit::read(&tree.parquet(&name, hour)).unwrap();
    tree.expire_parquet(&lock(data_dir, dataset), &name, &[(hour, commit)]).unwrap();
}

/// Publishes an hour of telemetry.
pub(crate) fn telemetry(data_dir: &DataDir, hour: &str, readings: &[Reading<'_>], version: &str) -> PathBuf {
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
    put(data_dir, "telemetry", hour, &format!("SELECT * FROM (VALUES {}) AS rows({columns})", rows.join(", ")), version)
}

/// Publishes `hours` hours of telemetry from `first` on, two sensors each.
pub(crate) fn many_hours(data_dir: &DataDir, first: &str, hours: i64) {
    let first: Hour = first.parse().unwrap();
    for i in 0..hours {
        let hour = first.plus(i).to_string();
        let value = f64::from(i32::try_from(i).unwrap());
        telemetry(data_dir, &hour, &[(1, Some(value), None, "Celcius"), (2, Some(-value), None, "Fahrenheit")], "1");
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
pub(crate) fn published(data_dir: &DataDir, dataset: &str) -> Vec<PathBuf> {
    data_dir.files_like(&format!("parquet/{dataset}/"), ".parquet")
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
pub(crate) fn planned(data_dir: &DataDir, arguments: &str) -> Vec<String> {
    let run = data_dir.run("aggregate", &format!("{arguments} --dry-run --format csv")).expect(0);
    run.stdout.lines().skip(1).map(str::to_owned).collect()
}

/// Writes a file beside the tree and returns its path.
pub(crate) fn file(data_dir: &DataDir, name: &str, text: &str) -> String {
    let path = data_dir.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

pub(crate) fn run(data_dir: &DataDir, arguments: &str) -> Run {
    data_dir.run("aggregate", arguments)
}
