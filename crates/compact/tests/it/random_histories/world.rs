//! A history in the making: the tree, the model it is held against, and what each step does to both.

use std::ops::AddAssign;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{DataDir, Run, SmallDisk};

use super::steps::{FOREIGN, Fate, HOURS, Step};
use crate::common::truth::{Contents, Line, Reader, Truth};

/// What happened in histories that ended well.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) histories: u64,
    pub(crate) lines: u64,
    /// Runs of compact.
    pub(crate) runs: u64,
    pub(crate) killed: u64,
    /// Runs that the system refused something.
    pub(crate) failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.histories += other.histories;
        self.lines += other.lines;
        self.runs += other.runs;
        self.killed += other.killed;
        self.failed += other.failed;
    }
}

/// A history in the making.
pub(crate) struct World<'w> {
    pub(crate) data_dir: DataDir,
    pub(crate) disk: Option<&'w SmallDisk>,
    pub(crate) reader: &'w mut Reader,
    pub(crate) truth: Truth,
    pub(crate) contents: Contents,
    /// Every version that a Parquet file had, with its name: the backup.
    pub(crate) versions: Vec<(String, Vec<u8>)>,
    pub(crate) counts: Counts,
}

pub(crate) type Checked = Result<(), String>;

impl World<'_> {
    pub(crate) fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Seal { hour, lines } => self.truth.seal(&self.data_dir, HOURS[*hour], lines),
            Step::Compact(fate) => self.compact(fate)?,
            Step::CompactTogether { fates, sealed_meanwhile } => self.together(fates, sealed_meanwhile)?,
            Step::CompactOnFullDisk { free_pages, fate } => self.full(*free_pages, fate)?,
            Step::RestoreSegments { which } => self.restore_segments(*which),
            Step::RestoreOldParquet { which } => self.restore_parquet(*which)?,
            Step::HousekeepClean => self.clean()?,
            Step::AddForeignFile { which } => self.add_foreign(FOREIGN[*which]),
        }
        self.check()
    }

    fn check(&mut self) -> Checked {
        self.contents = self.truth.check(&self.data_dir, self.reader)?;
        for file in self.contents.listed.keys() {
            let bytes = std::fs::read(self.data_dir.path().join(file)).unwrap();
            if !self.versions.iter().any(|(name, version)| (name, version) == (file, &bytes)) {
                self.versions.push((file.clone(), bytes));
            }
        }
        Ok(())
    }

    /// Runs compact when nothing stands in its way: then its status says whether lines went to quarantine.
    fn compact(&mut self, fate: &Fate) -> Checked {
        if matches!(fate, Fate::DiesAfter(_)) {
            return self.together(std::slice::from_ref(fate), &[]);
        }
        let run = Run::of(&mut self.command(fate));
        self.end(run.status, fate, false)?;
        let damaged = self.truth.segments.iter().any(|segment| {
            self.contents.raw.contains(&segment.file) && !self.contents.lists(segment) && !segment.damaged.is_empty()
        });
        match (fate, run.status) {
            (Fate::Lives, status) if status != Some(if damaged { 3 } else { 0 }) => {
                Err(format!("compact ended with {status:?}: {}", run.stderr))
            }
            _ => Ok(()),
        }
    }

    fn command(&self, fate: &Fate) -> Command {
        let mut command = self.data_dir.program("compact");
        command.args(["--threads", "1"]);
        if let Fate::DiesAt(point, count) | Fate::RefusedAt(point, count) = fate {
            command.env("FAULT", format!("{point}:{count}"));
        }
        command
    }

    /// The end of a compactor.
    fn end(&mut self, status: Option<i32>, fate: &Fate, rivals: bool) -> Checked {
        self.counts.runs += 1;
        match (status, fate) {
            (None, Fate::DiesAt(..) | Fate::DiesAfter(_)) => self.counts.killed += 1,
            (Some(1 | 3), Fate::RefusedAt(..)) => self.counts.failed += 1,
            (Some(0 | 3), _) => {}
            (Some(75), _) if rivals => {}
            _ => return Err(format!("a compactor ended with {status:?}")),
        }
        Ok(())
    }

    fn together(&mut self, fates: &[Fate], sealed_meanwhile: &[Line]) -> Checked {
        let (mut children, started) = (Vec::new(), Instant::now());
        for fate in fates {
            if !children.is_empty() && !sealed_meanwhile.is_empty() {
                // The rivals see different trees, and know of it or not.
                std::thread::sleep(Duration::from_millis(8));
                self.truth.seal(&self.data_dir, HOURS[0], sealed_meanwhile);
            }
            children.push(self.command(fate).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        }
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
        // A process that is being started by another thread may hold the file for a moment: so it is cut, too.
        file.set_len(0).unwrap();
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
                let path = self.data_dir.path().join(&segment.file);
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
        let path = self.data_dir.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(path, bytes).unwrap();
        let kept = self.contents.raw.clone();
        for segment in self.truth.segments.iter_mut().filter(|segment| segment.parquet == *file) {
            segment.owed &= kept.contains(&segment.file);
        }
        // What the restored version lists is owed again.
        let listed = self.truth.check(&self.data_dir, self.reader)?;
        for segment in &mut self.truth.segments {
            segment.owed |= listed.lists(segment);
        }
        Ok(())
    }

    fn clean(&mut self) -> Checked {
        let run = self.data_dir.run("housekeep", "clean --orphans-after 0h");
        if run.status == Some(0) { Ok(()) } else { Err(format!("housekeep: {:?} {}", run.status, run.stderr)) }
    }

    fn add_foreign(&mut self, file: &str) {
        let path = self.data_dir.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "not ours").unwrap();
        self.truth.foreign.insert(file.to_owned(), b"not ours".to_vec());
    }

    /// Does the rest of the work; then there is none left, and all is there exactly once.
    pub(crate) fn finish(&mut self) -> Checked {
        if !self.contents.raw.is_empty() {
            self.compact(&Fate::Lives)?;
            self.contents = self.truth.check_done(&self.data_dir, self.reader)?;
        }
        let files = self.data_dir.files();
        self.compact(&Fate::Lives)?;
        let again = self.data_dir.files();
        if files != again {
            return Err(format!("a run without work made {again:?} of {files:?}"));
        }
        if self.contents.unpublished > 0 {
            // Only the killed leave something, and housekeep knows it.
            if self.counts.killed == 0 {
                return Err(format!("nobody was killed, but there is something unpublished: {files:?}"));
            }
            self.clean()?;
            self.contents = self.truth.check_done(&self.data_dir, self.reader)?;
        }
        if self.contents.unpublished > 0 { Err(format!("housekeep left {:?}", self.data_dir.files())) } else { Ok(()) }
    }
}
