//! A history in the making: the tree, the versions that its hours had, and what the warehouse may hold.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use harness::{DataDir, Run};
use layout::{Commit, Tree};

use super::servers::{kill_connections, kill_server, restart_server};
use super::steps::{HOURS, Step};
use crate::cells::{Cells, Row, samples};
use crate::hours::publish;
use crate::target::Target;

/// A load that has not ended by then hangs: its own limit for one statement is ten minutes.
const HANGS: Duration = Duration::from_secs(1200);

/// How many loads may find the lock of a load that died: each waits ten seconds for it, and the server gives it free after
/// thirty.
const MOST_REFUSED: usize = 12;

/// A version of an hour.
struct Version {
    hour: usize,
    /// What its values are made of.
    seed: usize,
    fingerprint: String,
    rows: Vec<Row>,
    /// Its Parquet file.
    bytes: Vec<u8>,
}

/// A history in the making.
pub(crate) struct World<'w> {
    data_dir: DataDir,
    target: &'w Target,
    cells: Cells,
    versions: Vec<Version>,
    /// The version of each hour in the tree.
    tree: BTreeMap<usize, usize>,
    /// The versions of each hour that the warehouse may hold.
    allowed: BTreeMap<usize, BTreeSet<usize>>,
    /// The rows of each hour that were seen last, with their ids.
    seen: BTreeMap<usize, BTreeMap<i64, Row>>,
    /// The highest id that was seen.
    highest: i64,
    /// Loads that were run.
    pub(crate) loads: u64,
    /// Of them those that did not end well.
    pub(crate) broken: u64,
}

type Checked = Result<(), String>;

impl<'w> World<'w> {
    pub(crate) fn new(target: &'w Target) -> Self {
        Self {
            data_dir: DataDir::new(),
            target,
            cells: Cells::new(),
            versions: Vec::new(),
            tree: BTreeMap::new(),
            allowed: BTreeMap::new(),
            seen: BTreeMap::new(),
            highest: 0,
            loads: 0,
            broken: 0,
        }
    }

    pub(crate) fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Publish { hour, rows, added, late } => self.publish(*hour, *rows, *added, *late),
            Step::Restore { which } => self.restore(*which),
            Step::Expire { hour } => self.expire(*hour),
            Step::Load => {
                self.load_all()?;
                self.load_all()?;
            }
            Step::LoadDiesAt(point) => {
                let mut load = self.target.program(&self.data_dir);
                let run = Run::of(load.arg("samples").env("FAULT", point));
                // Nothing due, it does not get there.
                self.end(&run, &[None, Some(0)])?;
            }
            Step::LoadKilled { after } => {
                let mut load = self.start();
                std::thread::sleep(Duration::from_millis(*after));
                let _ = load.kill();
                self.end(&wait(load)?, &[None, Some(0)])?;
            }
            Step::LoadsSideBySide { loads } => {
                let running: Vec<_> = (0..*loads).map(|_| self.start()).collect();
                for load in running {
                    self.end(&wait(load)?, &[Some(0), Some(75)])?;
                }
            }
            Step::ServerKilled { after } => {
                let load = self.start();
                std::thread::sleep(Duration::from_millis(*after));
                kill_server(self.target);
                let run = wait(load);
                restart_server(self.target);
                self.end(&run?, &[Some(0), Some(75)])?;
            }
            Step::ConnectionKilled { after } => {
                let load = self.start();
                std::thread::sleep(Duration::from_millis(*after));
                kill_connections(self.target);
                self.end(&wait(load)?, &[Some(0), Some(75)])?;
            }
        }
        self.check()
    }

    /// What is due in the end is loaded, and is all there is.
    pub(crate) fn finish(&mut self) -> Checked {
        self.load_all()?;
        self.check()
    }

    fn publish(&mut self, hour: usize, rows: u64, added: usize, late: bool) {
        let version = self.versions.len();
        let before = self.tree.get(&hour).filter(|_| late);
        let seed = before.map_or(version, |before| self.versions[*before].seed);
        publish(&self.data_dir, "samples", HOURS[hour], &version.to_string(), &samples(HOURS[hour], seed, rows, added));
        let path = self.path(hour);
        self.versions.push(Version {
            hour,
            seed,
            fingerprint: Commit::read(&path).unwrap().fingerprint.as_str().to_owned(),
            rows: self.cells.of_parquet(&path),
            bytes: std::fs::read(&path).unwrap(),
        });
        self.tree.insert(hour, version);
    }

    fn restore(&mut self, which: u64) {
        let version = usize::try_from(which).unwrap() % self.versions.len();
        let hour = self.versions[version].hour;
        let path = self.path(hour);
        let draft = path.with_extension("restored");
        std::fs::write(&draft, &self.versions[version].bytes).unwrap();
        std::fs::rename(&draft, &path).unwrap();
        self.tree.insert(hour, version);
    }

    fn expire(&mut self, hour: usize) {
        if self.tree.remove(&hour).is_some() {
            std::fs::remove_file(self.path(hour)).unwrap();
        }
    }

    fn path(&self, hour: usize) -> std::path::PathBuf {
        let (dataset, hour) = ("samples".parse().unwrap(), HOURS[hour].parse().unwrap());
        Tree::new(self.data_dir.path()).parquet(&dataset, hour)
    }

    fn start(&self) -> Child {
        self.target.program(&self.data_dir).arg("samples").stderr(Stdio::piped()).spawn().unwrap()
    }

    /// A load that nobody disturbs. (A lock that was held by a load that died is given free in time.)
    fn load_all(&mut self) -> Checked {
        let mut refused = 0;
        loop {
            let run = wait(self.start())?;
            self.end(&run, &[Some(0), Some(75)])?;
            if run.status == Some(0) {
                self.allowed = self
                    .tree
                    .iter()
                    .map(|(hour, version)| (*hour, BTreeSet::from([*version])))
                    .chain(
                        self.allowed
                            .iter()
                            .filter(|(hour, _)| !self.tree.contains_key(hour))
                            .map(|(h, v)| (*h, v.clone())),
                    )
                    .collect();
                return Ok(());
            }
            refused += 1;
            if refused > MOST_REFUSED {
                return Err(format!("refused {refused} times: {}", run.stderr));
            }
        }
    }

    /// Takes note of a load that came to an end.
    fn end(&mut self, run: &Run, statuses: &[Option<i32>]) -> Checked {
        self.loads += 1;
        self.broken += u64::from(run.status != Some(0));
        for (hour, version) in &self.tree {
            self.allowed.entry(*hour).or_default().insert(*version);
        }
        if statuses.contains(&run.status) { Ok(()) } else { Err(format!("{run:?} instead of one of {statuses:?}")) }
    }

    /// Holds the warehouse against what it may hold: what its log names is there, row for row as in the Parquet file,
    /// and nothing else; rows that did not change have the ids that they had, and new ones ids above all that were seen.
    fn check(&mut self) -> Checked {
        if self.loads == 0 {
            return Ok(());
        }
        let mut found = Cells::of_table(self.target, &self.data_dir);
        let logged =
            self.target.query(&self.data_dir, "SELECT window_start, fingerprint FROM load_log ORDER BY window_start");
        let mut highest = self.highest;
        for line in logged {
            let hour = HOURS.iter().position(|hour| line[0] == format!("{}:00:00", hour.replace('T', " ")));
            let hour = hour.ok_or_else(|| format!("a line of the log that no load has written: {line:?}"))?;
            let mut allowed = self.allowed.get(&hour).into_iter().flatten().copied();
            let version = allowed.rfind(|version| self.versions[*version].fingerprint == line[1]);
            let version = version.ok_or_else(|| format!("{}: a version that is not due is in the log", HOURS[hour]))?;
            let rows = found.remove(&line[0]).unwrap_or_default();
            highest = rows.last().map_or(highest, |(id, _)| highest.max(*id));
            self.compare(hour, version, rows)?;
            self.allowed.insert(hour, BTreeSet::from([version]));
        }
        self.highest = highest;
        if found.is_empty() { Ok(()) } else { Err(format!("rows that the log does not know: {:?}", found.keys())) }
    }

    fn compare(&mut self, hour: usize, version: usize, rows: Vec<(i64, Row)>) -> Checked {
        let name = HOURS[hour];
        let due = counted(&self.versions[version].rows);
        let found = counted(rows.iter().map(|(_, row)| row));
        if let Some((row, count)) = found.iter().find(|(row, count)| due.get(*row) != Some(count)) {
            return Err(format!("{name}: {count} rows {row:?} instead of {:?}", due.get(*row)));
        }
        if let Some((row, count)) = due.iter().find(|(row, _)| !found.contains_key(*row)) {
            return Err(format!("{name}: {count} rows {row:?} are missing"));
        }
        let before = self.seen.get(&hour).cloned().unwrap_or_default();
        let (kept, new): (Vec<_>, Vec<_>) = rows.iter().partition(|(id, _)| before.contains_key(id));
        if let Some((id, row)) = kept.iter().find(|(id, row)| before[id] != *row) {
            return Err(format!("{name}: the id {id} was that of {:?}, now of {row:?}", before[id]));
        }
        if let Some((id, _)) = new.iter().find(|(id, _)| *id <= self.highest) {
            return Err(format!("{name}: a new row has the id {id}, although there was {} already", self.highest));
        }
        let kept = counted(kept.iter().map(|(_, row)| row));
        for (row, was) in counted(before.values()) {
            let stays = was.min(found.get(row).copied().unwrap_or_default());
            if kept.get(row).copied().unwrap_or_default() != stays {
                return Err(format!("{name}: a row that did not change has another id: {row:?}"));
            }
        }
        self.seen.insert(hour, rows.into_iter().collect());
        Ok(())
    }
}

/// Rows, and how many there are of each.
fn counted<'r>(rows: impl IntoIterator<Item = &'r Row>) -> BTreeMap<&'r Row, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row).or_default() += 1;
    }
    counts
}

/// Waits for a load, but not for ever.
fn wait(mut load: Child) -> Result<Run, String> {
    let end = Instant::now() + HANGS;
    while load.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            let _ = load.kill();
            return Err(format!("a load did not end in {HANGS:?}: {:?}", Run::from(load.wait_with_output().unwrap())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(Run::from(load.wait_with_output().unwrap()))
}
