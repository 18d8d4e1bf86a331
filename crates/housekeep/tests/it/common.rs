//! What the tests of housekeep share: data directories with hours, records and load logs that no other program had to make.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use chrono::Utc;
use duckdb::Connection;
use engine::SessionArgs;
use layout::{
    Area, Commit, DatasetLock, Fingerprint, Hour, Input, Lineage, Name, OpenSegment, QuarantineRecord, SegmentCount,
    Tree, Window,
};
use serde_json::Value;
use warehouse::{LogEntry, Warehouse, WarehouseArgs, WarehouseKind};

pub(crate) use harness::Run;

/// A data directory, and what it takes to furnish it.
pub(crate) struct DataDir {
    pub(crate) data: harness::DataDir,
    pub(crate) tree: Tree,
    connection: Connection,
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The hour that ended `hours` hours ago when the tests began, or up to an hour more.
pub(crate) fn ago(hours: i64) -> Hour {
    static NOW: LazyLock<Hour> = LazyLock::new(|| Hour::of(Utc::now()));
    NOW.plus(-hours - 1)
}

pub(crate) fn session() -> SessionArgs {
    SessionArgs { threads: None, memory_limit: None, temp_dir: None }
}

impl DataDir {
    pub(crate) fn new() -> Self {
        let data = harness::DataDir::new();
        let tree = Tree::new(data.path());
        Self { data, tree, connection: engine::open(&session()).unwrap() }
    }

    /// Runs housekeep to its end.
    pub(crate) fn run(&self, arguments: &str) -> Run {
        self.data.run("housekeep", arguments)
    }

    /// Publishes an hour of a data set.
    pub(crate) fn publish(&self, dataset: &str, hour: Hour, rows: u64, lineage: Lineage) -> Fingerprint {
        self.publish_commit(dataset, hour, rows, Commit::new(lineage))
    }

    /// A window of an aggregate of hours of another data set.
    pub(crate) fn window(
        &self,
        dataset: &str,
        window: Window,
        input: &str,
        files: &[(Hour, Fingerprint)],
    ) -> Fingerprint {
        let inputs = [(name(input), Input::Hours(files.iter().cloned().collect()))].into();
        let lineage = Lineage::Query { query: Fingerprint::of(b"SELECT"), inputs, tables: BTreeMap::new() };
        self.publish_commit(dataset, window.hour(), 1, Commit::of_window(lineage, window))
    }

    fn publish_commit(&self, dataset: &str, hour: Hour, rows: u64, commit: Commit) -> Fingerprint {
        let dataset = name(dataset);
        let lock = DatasetLock::try_acquire(&self.tree, &dataset).unwrap().unwrap();
        let draft = self.tree.draft_parquet(&lock, &dataset, hour).unwrap();
        let select = format!("SELECT range AS n FROM range({rows})");
        engine::copy_to_draft(&self.connection, &select, &draft, &commit).unwrap();
        layout::publish(vec![draft]).unwrap();
        commit.fingerprint
    }

    /// An hour of a stream that compact has made of one segment.
    pub(crate) fn stream(&self, dataset: &str, hour: Hour, rows: u64) -> Fingerprint {
        let sealed = self.seal(dataset, hour);
        let made_of = SegmentCount { name: sealed.name.clone(), lines: rows, damaged: 0 };
        layout::remove_segments(&[sealed]).unwrap();
        self.publish(dataset, hour, rows, Lineage::Segments(vec![made_of]))
    }

    /// An hour of an aggregate of other data sets.
    pub(crate) fn aggregate(&self, dataset: &str, hour: Hour, inputs: &[(&str, &Fingerprint)]) -> Fingerprint {
        let inputs =
            inputs.iter().map(|(input, fingerprint)| (name(input), Input::Hour((*fingerprint).clone()))).collect();
        let lineage = Lineage::Query { query: Fingerprint::of(b"SELECT"), inputs, tables: BTreeMap::new() };
        self.publish(dataset, hour, 1, lineage)
    }

    /// A segment that is being written; it is open as long as this lives.
    pub(crate) fn open(&self, area: Area, stream: &str, hour: Hour, text: &[u8]) -> OpenSegment {
        let mut segment =
            OpenSegment::create(&self.tree, area, &name(stream), hour, layout::StreamVersion::of("")).unwrap();
        segment.append(&mut [IoSlice::new(text)]).unwrap();
        segment
    }

    /// A sealed segment of raw/.
    pub(crate) fn seal(&self, stream: &str, hour: Hour) -> layout::SealedSegment {
        let segment = self.open(Area::Raw, stream, hour, b"{}\n");
        layout::seal(vec![segment]).unwrap().remove(0)
    }

    /// A sealed file of the quarantine with a record for each reason.
    pub(crate) fn quarantine(&self, stream: &str, hour: Hour, reasons: &[&str]) -> layout::SealedSegment {
        let segment = self.open(Area::Quarantine, stream, hour, &records(reasons));
        layout::seal(vec![segment]).unwrap().remove(0)
    }

    /// Tells the warehouse's load log that it holds this hour of a data set.
    pub(crate) fn load(&self, dataset: &str, hour: Hour, fingerprint: &Fingerprint) {
        self.load_into(WarehouseKind::Duckdb, dataset, hour, fingerprint);
    }

    /// The same of a warehouse of another kind.
    pub(crate) fn load_into(&self, target: WarehouseKind, dataset: &str, hour: Hour, fingerprint: &Fingerprint) {
        let args = WarehouseArgs { target, ..WarehouseArgs::default() };
        let mut warehouse = Warehouse::attach_to_write(&args, &session(), &self.tree).unwrap();
        let (dataset, entry) =
            (name(dataset), LogEntry { hour, fingerprint: fingerprint.clone(), rows: 1, last_id: 1 });
        if warehouse.columns(&dataset).unwrap().is_empty() {
            warehouse.create_table(&dataset, &[], &[]).unwrap();
        }
        let entries = [entry];
        warehouse.transaction(|warehouse| warehouse.record(&dataset, &entries, Utc::now()).map(Some)).unwrap();
    }

    /// A file that was begun beside `hour` of a stream or data set and never published.
    pub(crate) fn orphan(&self, area: Area, dataset: &str, hour: Hour, age: Duration) -> PathBuf {
        let parquet = self.tree.parquet(&name(dataset), hour);
        let path =
            self.data.path().join(area.as_str()).join(parquet.strip_prefix(self.data.path().join("parquet")).unwrap());
        let path = path.with_file_name(".10.parquet.01K4DDNN4QY4PS8W63D18ZSXKB.tmp");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        path
    }

    pub(crate) fn has(&self, dataset: &str, hour: Hour) -> bool {
        self.tree.parquet(&name(dataset), hour).exists()
    }

    pub(crate) fn is_expired(&self, dataset: &str, hour: Hour) -> bool {
        let dataset = name(dataset);
        self.tree.is_expired(&dataset, hour).unwrap() && self.tree.expired_record(&dataset, hour).is_ok()
    }

    /// Every file and folder below the data directory with its content.
    pub(crate) fn picture(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut picture = BTreeMap::new();
        let mut folders = vec![self.data.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                picture.insert(path.clone(), std::fs::read(&path).ok());
            }
        }
        picture
    }

    /// A data directory with the same files.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        for (path, content) in self.picture() {
            let to = copy.data.path().join(path.strip_prefix(self.data.path()).unwrap());
            match content {
                None => std::fs::create_dir_all(to).unwrap(),
                Some(content) => {
                    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                    std::fs::write(&to, content).unwrap();
                    let modified = path.metadata().unwrap().modified().unwrap();
                    File::options().append(true).open(&to).unwrap().set_modified(modified).unwrap();
                }
            }
        }
        copy
    }
}

/// Quarantine records with these reasons.
pub(crate) fn records(reasons: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for reason in reasons {
        QuarantineRecord { time: Utc::now(), source: "test", reason, detail: "a \"detail\"", line: b"\xff" }
            .write(&mut out);
    }
    out
}

/// The lines of an NDJSON output.
pub(crate) fn objects(run: &Run) -> Vec<Value> {
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
