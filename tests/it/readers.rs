//! Other programs read the tree while compact replaces its files: DuckDB, pyarrow (with pandas) and polars, as
//! docs/reading-the-data.md tells them to. Whatever they read is a version that was committed, with the types and the
//! record that are promised.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use harness::{DataDir, epoch, reading, until};
use layout::{Commit, DatasetLock, Name, Tree};
use serde_json::Value;

/// Rows of a batch.
const COPIES: usize = 40;
/// Hours at a time.
const HOURS: i64 = 3;

/// The Python packages that read: in `PIPELINE_PYTHONPATH`, or where scripts/test.sh puts them.
pub(crate) fn packages() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let packages = std::env::var_os("PIPELINE_PYTHONPATH").map(PathBuf::from);
    let packages = packages.or_else(|| Some(cache?.join("pipeline-python")))?;
    let check = python(&packages).args(["-c", "import duckdb, pandas, polars, pyarrow"]).output();
    check.is_ok_and(|output| output.status.success()).then_some(packages)
}

fn python(packages: &Path) -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", packages);
    python
}

struct Reader {
    name: &'static str,
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Reader {
    fn start(packages: &Path, data_dir: &DataDir, name: &'static str, stop: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/readers/readers.py");
        let mut command = python(packages);
        command.arg(script).arg(name).arg(data_dir.path()).arg(COPIES.to_string()).arg(stop);
        // Local time must make no difference.
        let mut child = command.env("TZ", "Asia/Kolkata").stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { name, child, said }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line
    }

    /// What it has read, when it has been told to stop.
    fn finish(mut self) -> Value {
        let line = self.line();
        assert!(self.child.wait().unwrap().success(), "{} read something wrong: see above", self.name);
        serde_json::from_str(&line).unwrap()
    }
}

/// The tree as its writer sees it.
struct Writer {
    data_dir: DataDir,
    /// The first hour that is there, and the batches of each from there on.
    first: i64,
    batches: Vec<i64>,
}

impl Writer {
    fn new() -> Self {
        Self { data_dir: DataDir::new(), first: 0, batches: Vec::new() }
    }

    /// One more batch for each hour, late for all that there are.
    fn round(&mut self) {
        self.batches.resize(usize::try_from(HOURS).unwrap(), 0);
        for (hour, batch) in (self.first..).zip(&mut self.batches) {
            let hour = format!("2025-09-02T{hour:02}");
            let lines = (0..i64::try_from(COPIES).unwrap()).map(|n| {
                let line = reading(epoch(&hour) + n, *batch, 20.5);
                if n == 0 { line.replace("20.5", "\"off\"") } else { line }
            });
            self.data_dir.seal("telemetry", &hour, &lines.collect::<Vec<_>>());
            *batch += 1;
        }
        self.data_dir.run("compact", "").expect(0);
    }

    /// Removes the oldest hour, as retention does. The next round has a new one.
    fn expire(&mut self) {
        let tree = Tree::new(self.data_dir.path());
        let stream: Name = "telemetry".parse().unwrap();
        let lock = DatasetLock::try_acquire(&tree, &stream).unwrap().unwrap();
        let hour = format!("2025-09-02T{:02}", self.first).parse().unwrap();
        let commit = Commit::read(&tree.parquet(&stream, hour)).unwrap();
        tree.expire_parquet(&lock, &stream, &[(hour, commit)]).unwrap();
        self.first += 1;
        self.batches.remove(0);
    }
}

#[test]
fn other_programs_read_committed_versions_while_compact_replaces_them() {
    let Some(packages) = packages() else {
        harness::skipped("there is no Python with duckdb, pandas, polars and pyarrow (scripts/test.sh fetches them)");
        return;
    };
    let mut writer = Writer::new();
    writer.round();
    let stop = writer.data_dir.path().join("stop");
    let names = ["duckdb", "pyarrow", "polars"];
    let mut readers = names.map(|name| Reader::start(&packages, &writer.data_dir, name, &stop));
    for reader in &mut readers {
        assert_eq!(reader.line(), "reading\n", "{}", reader.name);
    }
    // Some hours expire meanwhile, and each reader sees the tree change.
    let has_seen_enough = |name: &&str| stop.with_extension(name).exists();
    let mut rounds = 1;
    until("each reader has seen some states of the tree", || {
        if rounds % 6 == 0 && writer.first + HOURS < 24 {
            writer.expire();
        }
        writer.round();
        rounds += 1;
        rounds > 12 && names.iter().all(has_seen_enough)
    });
    std::fs::write(&stop, "").unwrap();
    for reader in readers {
        let name = reader.name;
        let read = reader.finish();
        eprintln!("{name}: {read}, of {rounds} states");
        let number = |key: &str| read[key].as_u64().unwrap();
        // All of them saw the tree change, and in the end all that there is.
        assert!(number("readings") > 3 && number("states") > 2, "{name}: {read}");
        let batches: Vec<_> = (writer.first..).take(3).map(|hour| read["batches"][hour.to_string()].as_i64()).collect();
        assert_eq!(batches, writer.batches.iter().copied().map(Some).collect::<Vec<_>>(), "{name}: {read}");
    }
}
