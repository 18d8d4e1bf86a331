//! Random histories of a tree: segments come, late ones too, damaged and torn; compactors run, alone and together, are
//! killed at any of their steps, refused by the system, denied room on the disk; backups are put back. After every step
//! each line that was sealed is in Parquet, quarantine or raw; when all is done it is there exactly once.
//!
//! `ROUNDS` says how many histories (the long form: scripts/histories.sh). The first is that of `SEED`, the next that of
//! `SEED` + 1, and so on. One that fails is tried again without each of its steps, and what is left of it is printed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use std::ops::AddAssign;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::truth::{Found, Line, Reader, Truth};
use common::{DEATHS, FAILURES};
use harness::{House, Random, Run, SmallDisk, rounds, seed};

const HOURS: [&str; 3] = ["2025-09-02T10", "2025-09-02T11", "2025-09-03T00"];
const FOREIGN: [&str; 4] = [
    "raw/telemetry/2025/09/02/10.notes.json",
    "raw/telemetry/2025/09/02/README",
    "parquet/telemetry/2025/09/02/10.parquet.bak",
    "parquet/telemetry/2025/09/03/00.old.parquet",
];

/// What happens next. Numbers choose among what there is then.
#[derive(Debug, Clone)]
enum Step {
    Seal { hour: usize, lines: Vec<Line> },
    Compact(Fate),
    CompactTogether(Vec<Fate>),
    CompactOnFullDisk { free_pages: u64, fate: Fate },
    RestoreSegments { which: u64 },
    RestoreOldParquet { which: usize },
    HousekeepClean,
    AddForeignFile { which: usize },
}

/// What becomes of a compactor.
#[derive(Debug, Clone)]
enum Fate {
    Lives,
    /// Killed at a point when it gets there for the n-th time.
    DiesAt(&'static str, u64),
    /// Killed so many microseconds after its start.
    DiesAfter(u64),
    /// Refused by the system the n-th time.
    RefusedAt(&'static str, u64),
}

impl Fate {
    fn draw(random: &mut Random) -> Self {
        let point = DEATHS[random.below(DEATHS.len())];
        let often = if point.starts_with("folder.") || point.starts_with("segment.") { 6 } else { 2 };
        Self::DiesAt(point, 1 + random.below(often))
    }

    fn draw_any(random: &mut Random) -> Self {
        match random.below(8) {
            0..3 => Self::Lives,
            3..6 => Self::draw(random),
            6 => Self::DiesAfter(random.below(60_000)),
            _ => Self::RefusedAt(FAILURES[random.below(FAILURES.len())], 1 + random.below(4)),
        }
    }
}

impl Step {
    fn draw(random: &mut Random) -> Self {
        match random.below(100) {
            0..32 => Self::seal(random),
            32..37 => Self::Compact(Fate::Lives),
            37..57 => Self::Compact(Fate::draw(random)),
            57..61 => Self::Compact(Fate::DiesAfter(random.below(60_000))),
            61..69 => Self::Compact(Fate::RefusedAt(FAILURES[random.below(FAILURES.len())], 1 + random.below(3))),
            69..76 => Self::CompactTogether((0..2 + random.below(2)).map(|_| Fate::draw_any(random)).collect()),
            76..82 => Self::CompactOnFullDisk { free_pages: random.below(12), fate: Fate::draw_any(random) },
            82..90 => Self::RestoreSegments { which: random.number() },
            90..94 => Self::RestoreOldParquet { which: random.below(1000) },
            94..97 => Self::HousekeepClean,
            _ => Self::AddForeignFile { which: random.below(FOREIGN.len()) },
        }
    }

    fn seal(random: &mut Random) -> Self {
        // Mostly the same hour: late data is what makes it difficult.
        let hour = [0, 0, 0, 0, 1, 2][random.below(6)];
        Self::Seal { hour, lines: Line::draw(random, 6) }
    }
}

/// The steps of the history with this seed.
fn draw(seed: u64) -> Vec<Step> {
    let mut random = Random::with_seed(seed);
    let mut steps = vec![Step::seal(&mut random)];
    steps.extend((0..2 + random.below(6)).map(|_| Step::draw(&mut random)));
    steps
}

/// What happened in histories that ended well.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    histories: u64,
    lines: u64,
    /// Runs of compact.
    runs: u64,
    killed: u64,
    /// Runs that the system refused something.
    failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.histories += other.histories;
        self.lines += other.lines;
        self.runs += other.runs;
        self.killed += other.killed;
        self.failed += other.failed;
    }
}

/// A history in the making.
struct World<'w> {
    house: House,
    disk: Option<&'w SmallDisk>,
    reader: &'w mut Reader,
    truth: Truth,
    found: Found,
    /// Every version that a Parquet file had, with its name: the backup.
    versions: Vec<(String, Vec<u8>)>,
    tally: Tally,
}

type Checked = Result<(), String>;

impl World<'_> {
    fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Seal { hour, lines } => self.truth.seal(&self.house, HOURS[*hour], lines),
            Step::Compact(fate) => self.compact(fate)?,
            Step::CompactTogether(fates) => self.together(fates)?,
            Step::CompactOnFullDisk { free_pages, fate } => self.full(*free_pages, fate)?,
            Step::RestoreSegments { which } => self.restore_segments(*which),
            Step::RestoreOldParquet { which } => self.restore_parquet(*which)?,
            Step::HousekeepClean => self.clean()?,
            Step::AddForeignFile { which } => self.add_foreign(FOREIGN[*which]),
        }
        self.check()
    }

    fn check(&mut self) -> Checked {
        self.found = self.truth.check(&self.house, self.reader)?;
        for file in self.found.listed.keys() {
            let bytes = std::fs::read(self.house.path().join(file)).unwrap();
            if !self.versions.iter().any(|(name, version)| (name, version) == (file, &bytes)) {
                self.versions.push((file.clone(), bytes));
            }
        }
        Ok(())
    }

    /// Runs compact when nothing stands in its way: then its status says whether lines went to quarantine.
    fn compact(&mut self, fate: &Fate) -> Checked {
        if matches!(fate, Fate::DiesAfter(_)) {
            return self.together(std::slice::from_ref(fate));
        }
        let run = Run::of(&mut self.command(fate));
        self.end(run.status, fate, false)?;
        let damaged = self.truth.segments.iter().any(|segment| {
            self.found.raw.contains(&segment.file) && !self.found.lists(segment) && !segment.damaged.is_empty()
        });
        match (fate, run.status) {
            (Fate::Lives, status) if status != Some(if damaged { 3 } else { 0 }) => {
                Err(format!("compact ended with {status:?}: {}", run.stderr))
            }
            _ => Ok(()),
        }
    }

    fn command(&self, fate: &Fate) -> Command {
        let mut command = self.house.program("compact");
        command.args(["--threads", "1"]);
        if let Fate::DiesAt(point, count) | Fate::RefusedAt(point, count) = fate {
            command.env("FAULT", format!("{point}:{count}"));
        }
        command
    }

    /// The end of a compactor.
    fn end(&mut self, status: Option<i32>, fate: &Fate, rivals: bool) -> Checked {
        self.tally.runs += 1;
        match (status, fate) {
            (None, Fate::DiesAt(..) | Fate::DiesAfter(_)) => self.tally.killed += 1,
            (Some(1 | 3), Fate::RefusedAt(..)) => self.tally.failed += 1,
            (Some(0 | 3), _) => {}
            (Some(75), _) if rivals => {}
            _ => return Err(format!("a compactor ended with {status:?}")),
        }
        Ok(())
    }

    fn together(&mut self, fates: &[Fate]) -> Checked {
        let children: Vec<_> = fates
            .iter()
            .map(|fate| self.command(fate).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
            .collect();
        let started = Instant::now();
        for (mut child, fate) in children.into_iter().zip(fates) {
            if let Fate::DiesAfter(micros) = fate {
                std::thread::sleep(Duration::from_micros(*micros).saturating_sub(started.elapsed()));
                child.kill().unwrap();
            }
            let status = child.wait().unwrap().code();
            self.end(status, fate, fates.len() > 1)?;
        }
        Ok(())
    }

    fn full(&mut self, free_pages: u64, fate: &Fate) -> Checked {
        let Some(disk) = self.disk else { return Ok(()) };
        let ballast = disk.fill();
        let file = std::fs::OpenOptions::new().write(true).open(&ballast).unwrap();
        file.set_len(file.metadata().unwrap().len().saturating_sub(free_pages * 4096)).unwrap();
        // Whether there was room is not known before.
        let fate = if matches!(fate, Fate::Lives) { &Fate::RefusedAt("nowhere", 1) } else { fate };
        let run = Run::of(&mut self.command(fate));
        std::fs::remove_file(ballast).unwrap();
        match (run.status, fate) {
            (Some(1), _) => self.end(run.status, &Fate::RefusedAt("the disk", 1), false),
            _ => self.end(run.status, fate, false),
        }
        .map_err(|error| format!("{error}: {}", run.stderr))
    }

    /// Puts sealed segments back that may have been compacted already.
    fn restore_segments(&mut self, which: u64) {
        for (number, segment) in self.truth.segments.iter_mut().enumerate() {
            if which >> (number % 64) & 1 == 1 {
                let path = self.house.path().join(&segment.file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, &segment.bytes).unwrap();
                segment.owed = true;
            }
        }
    }

    /// Puts an older version of an hour back. What only the newer one held is gone with it.
    fn restore_parquet(&mut self, which: usize) -> Checked {
        if self.versions.is_empty() {
            return Ok(());
        }
        let (file, bytes) = &self.versions[which % self.versions.len()];
        let path = self.house.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(path, bytes).unwrap();
        let kept = self.found.raw.clone();
        for segment in self.truth.segments.iter_mut().filter(|segment| segment.parquet == *file) {
            segment.owed &= kept.contains(&segment.file);
        }
        // What the restored version lists is owed again.
        let listed = self.truth.check(&self.house, self.reader)?;
        for segment in &mut self.truth.segments {
            segment.owed |= listed.lists(segment);
        }
        Ok(())
    }

    fn clean(&mut self) -> Checked {
        let run = self.house.run("housekeep", "clean --orphans-after 0h");
        if run.status == Some(0) { Ok(()) } else { Err(format!("housekeep: {:?} {}", run.status, run.stderr)) }
    }

    fn add_foreign(&mut self, file: &str) {
        let path = self.house.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "not ours").unwrap();
        self.truth.foreign.insert(file.to_owned(), b"not ours".to_vec());
    }

    /// Does the rest of the work; then there is none left, and all is there exactly once.
    fn finish(&mut self) -> Checked {
        if !self.found.raw.is_empty() {
            self.compact(&Fate::Lives)?;
            self.found = self.truth.check_done(&self.house, self.reader)?;
        }
        let files = self.house.files();
        self.compact(&Fate::Lives)?;
        let again = self.house.files();
        if files != again {
            return Err(format!("a run without work made {again:?} of {files:?}"));
        }
        if self.found.unpublished > 0 {
            // Only the killed leave something, and housekeep knows it.
            if self.tally.killed == 0 {
                return Err(format!("nobody was killed, but there is something unpublished: {files:?}"));
            }
            self.clean()?;
            self.found = self.truth.check_done(&self.house, self.reader)?;
        }
        if self.found.unpublished > 0 { Err(format!("housekeep left {:?}", self.house.files())) } else { Ok(()) }
    }
}

/// Lives through a history.
fn live(steps: &[Step], disk: Option<&SmallDisk>, reader: &mut Reader) -> Result<Tally, String> {
    let house = disk.map_or_else(House::new, |disk| House::within(disk.path()));
    let (truth, found, tally) = (Truth::default(), Found::default(), Tally::default());
    let mut world = World { house, disk, reader, truth, found, versions: Vec::new(), tally };
    for (number, step) in (1..).zip(steps) {
        world.step(step).map_err(|error| format!("after step {number}: {error}"))?;
    }
    world.finish().map_err(|error| format!("in the end: {error}"))?;
    Ok(Tally { histories: 1, lines: world.truth.count() as u64, ..world.tally })
}

/// Leaves out every step without which the history fails as well; says what is left.
fn shrink(mut steps: Vec<Step>, mut error: String, disk: Option<&SmallDisk>, reader: &mut Reader) -> String {
    let mut number = 0;
    while number < steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(number);
        match live(&fewer, disk, reader) {
            Err(found) => (steps, error) = (fewer, found),
            Ok(_) => number += 1,
        }
    }
    let lines: Vec<_> = (1..).zip(&steps).map(|(number, step)| format!("  {number}. {step:?}")).collect();
    format!("{error}\nthe least history that fails:\n{}", lines.join("\n"))
}

#[test]
fn each_line_is_there_exactly_once_after_any_history() {
    let (first, count, started) = (seed(), rounds(250), Instant::now());
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (total, failure) = (Mutex::new(Tally::default()), Mutex::new(None));
    let work = || {
        let disk = SmallDisk::mount("size=16m");
        let mut reader = Reader::new();
        while !stop.load(Relaxed) {
            let number = next.fetch_add(1, Relaxed);
            if number >= count {
                break;
            }
            let seed = first.wrapping_add(number);
            let steps = draw(seed);
            match live(&steps, disk.as_ref(), &mut reader) {
                Ok(tally) => *total.lock().unwrap() += tally,
                Err(error) => {
                    stop.store(true, Relaxed);
                    let text = format!("SEED={seed} ROUNDS=1: {error}\n{steps:#?}\n");
                    *failure.lock().unwrap() = Some(text + &shrink(steps, error, disk.as_ref(), &mut reader));
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    if let Some(failure) = failure.into_inner().unwrap() {
        panic!("{failure}");
    }
    let (took, Tally { histories, lines, runs, killed, failed }) = (started.elapsed(), total.into_inner().unwrap());
    println!(
        "{histories} histories in {} s: {lines} lines, {runs} runs of compact, {killed} of them killed and {failed} \
         refused; lost 0, doubled 0",
        took.as_secs()
    );
    assert!(killed > histories / 4 && failed > histories / 20, "hardly anything happened");
}
