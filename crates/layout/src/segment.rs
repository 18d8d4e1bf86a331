//! Segments: append-only files of complete lines, open while written and sealed when done.
//!
//! An [`OpenSegment`] is held under an exclusive lock by its writer. [`seal`] syncs it and renames it to its sealed name,
//! after which nobody changes it.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::fault;
use crate::files;
use crate::folders;
use crate::hour::Hour;
use crate::lock::Locked;
use crate::name::Name;
use crate::paths::{Area, SealedSegment, Tree};
use crate::segment_name::SegmentName;

impl SealedSegment {
    /// Opens it for reading.
    pub fn open(&self) -> Result<File> {
        fault::fails("segment.open").map_err(Error::at("open", &self.path))?;
        let (file, _) = files::open(&self.path)?;
        fault::point("segment.opened");
        Ok(file)
    }
}

/// A segment that is being written, by the one process that holds its lock.
#[derive(Debug)]
pub struct OpenSegment {
    file: Arc<Locked>,
    path: PathBuf,
    sealed: SealedSegment,
    len: u64,
    created: Instant,
    unsynced: bool,
    entry_synced: Arc<AtomicBool>,
}

impl OpenSegment {
    /// Creates a segment for `hour` of `stream`, locked, in raw/ or quarantine/.
    pub fn create(tree: &Tree, area: Area, stream: &Name, hour: Hour) -> Result<Self> {
        loop {
            let sealed = tree.segment(area, stream, hour, SegmentName::unique());
            let path = sealed.open_path();
            let file = folders::create_file(&path)?;
            // Before it was locked, a recovering process may have taken the file for that of a dead writer.
            if let Some(file) = Locked::try_new(file, &path)? {
                return Ok(Self::resume(file, sealed, 0));
            }
        }
    }

    /// Goes on with a locked segment of `len` bytes.
    pub(crate) fn resume(file: Locked, sealed: SealedSegment, len: u64) -> Self {
        Self {
            file: Arc::new(file),
            path: sealed.open_path(),
            sealed,
            len,
            created: Instant::now(),
            unsynced: true,
            entry_synced: Arc::default(),
        }
    }

    /// The hour its lines belong to.
    pub fn hour(&self) -> Hour {
        self.sealed.hour
    }

    /// Its name.
    pub fn name(&self) -> &SegmentName {
        &self.sealed.name
    }

    /// Where it is, until it is sealed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written to it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When it was created, by the monotonic clock.
    pub fn created(&self) -> Instant {
        self.created
    }

    /// Appends `pieces`, which together are complete lines, and uses them up, also when it fails. On an error the segment
    /// is as it was before. If even that is not possible, the error is [`Error::NotRolledBack`], and the segment must not
    /// be written any more.
    pub fn append(&mut self, pieces: &mut [IoSlice<'_>]) -> Result<()> {
        let before = self.len;
        let mut rest = pieces;
        // Removes empty pieces in front: a write of nothing would look like a disk that accepts nothing.
        IoSlice::advance_slices(&mut rest, 0);
        // The kernel accepts 1024 pieces at a time (IOV_MAX).
        while let Some(batch) = (!rest.is_empty()).then(|| rest.len().min(1024)) {
            let (now, _) = rest.split_at(batch);
            fault::tear("segment.torn", self.file.file(), now);
            let written =
                fault::fails("segment.write").and_then(|()| fault::write("segment.short", self.file.file(), now));
            match written {
                Ok(0) => return self.undo(before, io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.len += written as u64;
                    self.unsynced = true;
                    IoSlice::advance_slices(&mut rest, written);
                    fault::point("segment.part");
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.undo(before, error),
            }
        }
        Ok(())
    }

    fn undo(&mut self, len: u64, error: io::Error) -> Result<()> {
        self.rollback(len)?;
        Err(Error::at("write", &self.path)(error))
    }

    /// Cuts the segment back to `len`, a length that it had.
    pub fn rollback(&mut self, len: u64) -> Result<()> {
        // A write that failed may have left bytes that `self.len` does not count. Mostly there are none; then a disk that
        // may refuse everything is not asked to cut the file.
        let file = self.file.file();
        let there = file.metadata().map(|file| file.len());
        match if there.is_ok_and(|there| there == len) { Ok(()) } else { file.set_len(len) } {
            Ok(()) => {
                self.len = len;
                Ok(())
            }
            Err(error) => Err(Error::NotRolledBack { path: self.path.clone(), len, error }),
        }
    }

    /// Its file.
    pub(crate) fn file(&self) -> &File {
        self.file.file()
    }

    /// Goes on with another file, which has the same content and is synced.
    pub(crate) fn exchange(&mut self, file: Locked) {
        self.file = Arc::new(file);
        self.entry_synced = Arc::new(AtomicBool::new(!self.is_empty()));
        self.unsynced = self.is_empty();
    }

    /// A sync for another thread to run; none if nothing was written since the last call and the name is durable.
    pub fn take_sync(&mut self) -> Option<SegmentSync> {
        let due = std::mem::take(&mut self.unsynced) || !self.entry_synced.load(Ordering::Relaxed);
        due.then(|| SegmentSync {
            file: Arc::clone(&self.file),
            path: self.path.clone(),
            name: self.sealed.name.clone(),
            entry_synced: Arc::clone(&self.entry_synced),
        })
    }
}

/// The descriptor, for another process to hold too: the lock lasts as long as one of the two processes has it.
impl AsFd for OpenSegment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.file().as_fd()
    }
}

/// A sync that is to be done, after which what was written to a segment is durable.
#[derive(Debug)]
pub struct SegmentSync {
    file: Arc<Locked>,
    path: PathBuf,
    name: SegmentName,
    entry_synced: Arc<AtomicBool>,
}

impl SegmentSync {
    /// The segment's name.
    pub fn name(&self) -> &SegmentName {
        &self.name
    }

    /// Syncs the segment, and the first time its folders. After an error the kernel may have dropped what was written, and
    /// a second sync that succeeds proves nothing.
    pub fn run(&self) -> Result<()> {
        let synced = fault::fails("segment.sync").and_then(|()| self.file.file().sync_data());
        synced.map_err(Error::at("sync", &self.path))?;
        if !self.entry_synced.load(Ordering::Relaxed) {
            match folders::open_folders([self.path.as_path()]) {
                Ok(folders) => folders::sync_all(&folders)?,
                // The folders are not there, or the process has too many open files. Nothing was dropped, and the next
                // sync tries again.
                Err(error) => {
                    log::debug!("{error}");
                    return Ok(());
                }
            }
            self.entry_synced.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Segments that could not be sealed.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct SealError {
    /// What went wrong.
    pub error: Error,
    /// Whether syncing failed: then the kernel may have dropped what was written, and a second sync proves nothing.
    pub unsynced: bool,
    /// The segments that are still open. Dropped, they stay for the next start of the writer to recover.
    pub open: Vec<OpenSegment>,
}

impl From<SealError> for Error {
    fn from(failed: SealError) -> Self {
        failed.error
    }
}

/// Seals `segments`: syncs each, renames it to its sealed name, syncs the folders. Empty ones are removed.
pub fn seal(mut segments: Vec<OpenSegment>) -> std::result::Result<Vec<SealedSegment>, SealError> {
    for segment in segments.iter().filter(|segment| !segment.is_empty()) {
        if let Err(error) = fault::fails("seal.sync").and_then(|()| segment.file.file().sync_all()) {
            let error = Error::at("sync", &segment.path)(error);
            return Err(SealError { error, unsynced: true, open: segments });
        }
    }
    fault::point("seal.synced");
    // Opened before anything is renamed, so that only the sync can fail after that.
    let folders = match folders::open_folders(segments.iter().map(OpenSegment::path)) {
        Ok(folders) => folders,
        Err(error) => return Err(SealError { error, unsynced: false, open: segments }),
    };
    let mut sealed = Vec::new();
    while let Some(segment) = segments.pop() {
        let target = &segment.sealed.path;
        let done = if segment.is_empty() {
            fs::remove_file(&segment.path).map_err(Error::at("remove the empty segment", &segment.path))
        } else {
            fs::rename(&segment.path, target).map_err(Error::at("seal as", target))
        };
        if let Err(error) = done {
            segments.push(segment);
            return Err(SealError { error, unsynced: false, open: segments });
        }
        fault::point("seal.renamed");
        if !segment.is_empty() {
            sealed.push(segment.sealed);
        }
    }
    match folders::sync_all(&folders) {
        Ok(()) => Ok(sealed),
        Err(error) => Err(SealError { error, unsynced: true, open: Vec::new() }),
    }
}

/// Removes sealed segments that a durable Parquet file lists. One that is gone already is fine.
pub fn remove_segments(segments: &[SealedSegment]) -> Result<()> {
    for segment in segments {
        match fault::fails("segment.remove").and_then(|()| fs::remove_file(&segment.path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::at("remove", &segment.path)(error));
            }
            _ => fault::point("segment.removed"),
        }
    }
    Ok(())
}
