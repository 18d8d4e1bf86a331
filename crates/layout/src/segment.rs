//! Segments: append-only files of complete lines, open while written and sealed when done.
//!
//! Whoever writes an [`OpenSegment`] holds an exclusive lock on it. [`seal`] gives it its sealed name, and nobody changes it
//! then. One that somebody has removed or moved away its writer can put back, because it still has the descriptor.

use std::fs::{self, File};
use std::io::{self, IoSlice, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
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
use crate::name::{Name, SegmentName, StreamVersion};
use crate::paths::{Area, SealedSegment, Tree};
use crate::publish::{Draft, publish};

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
    file: Arc<SegmentFile>,
    len: u64,
    created: Instant,
    unsynced: bool,
}

impl OpenSegment {
    /// Creates a segment for `hour` of `stream`, locked, in raw/ or quarantine/.
    pub fn create(tree: &Tree, area: Area, stream: &Name, hour: Hour, version: StreamVersion) -> Result<Self> {
        loop {
            let sealed = tree.segment(area, stream, hour, SegmentName::unique(version));
            let path = sealed.open_path();
            let file = folders::create_file(&path)?;
            // Before it was locked, a recovering process may have taken the file for that of a dead writer.
            if let Some(locked) = Locked::try_new(file, &path)? {
                return Ok(Self::resume(locked, sealed, 0));
            }
        }
    }

    pub(crate) fn resume(locked: Locked, sealed: SealedSegment, len: u64) -> Self {
        Self { file: SegmentFile::new(locked, sealed, false), len, created: Instant::now(), unsynced: true }
    }

    /// Its name.
    pub fn name(&self) -> &SegmentName {
        self.file.name()
    }

    /// Where it is, until it is sealed.
    pub fn path(&self) -> &Path {
        &self.file.path
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

    /// Appends `pieces`, which together are complete lines, and uses them up. On an error the segment is as it was before, or
    /// [`Error::is_not_rolled_back`] is set, and the segment must not be written any more.
    pub fn append(&mut self, pieces: &mut [IoSlice<'_>]) -> Result<()> {
        let before = self.len;
        let mut rest = pieces;
        // Removes empty pieces in front: a write of nothing would look like a disk that accepts nothing.
        IoSlice::advance_slices(&mut rest, 0);
        // The kernel accepts 1024 pieces at a time (IOV_MAX).
        while let Some(batch) = (!rest.is_empty()).then(|| rest.len().min(1024)) {
            let (now, _) = rest.split_at(batch);
            let written = fault::fails("segment.write")
                .and_then(|()| fault::write("segment.torn", "segment.short", self.file.locked.file(), now))
                .and_then(|written| if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) });
            match written {
                Ok(written) => {
                    self.len += written as u64;
                    self.unsynced = true;
                    IoSlice::advance_slices(&mut rest, written);
                    fault::point("segment.part");
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.rollback(before)?;
                    return Err(Error::at("write", self.path())(error));
                }
            }
        }
        Ok(())
    }

    /// Cuts the segment back to `len`, a length that it had.
    pub fn rollback(&mut self, len: u64) -> Result<()> {
        // A write that failed may have left bytes that `self.len` does not count. A disk that may refuse is asked only then.
        let file = self.file.locked.file();
        let there = file.metadata().map(|file| file.len());
        if !there.is_ok_and(|there| there == len) {
            file.set_len(len).map_err(|error| Error::not_rolled_back(self.path(), len, &error))?;
        }
        self.len = len;
        Ok(())
    }

    /// Puts it back to its path, in a new file that is synced, if that does not lead to it any more; says whether it did.
    pub(crate) fn keep(&mut self) -> Result<bool> {
        let SegmentFile { locked: ours, path, sealed, .. } = &*self.file;
        if files::is_at(path, ours.file())? {
            return Ok(false);
        }
        let locked = if self.is_empty() {
            let gone = || Error::at("lock", path)(io::Error::from(io::ErrorKind::WouldBlock));
            Locked::try_new(folders::create_file(path)?, path)?.ok_or_else(gone)?
        } else {
            let locked = replace(ours.file(), path)?;
            empty(ours.file(), path);
            locked
        };
        self.unsynced = self.is_empty();
        self.file = SegmentFile::new(locked, sealed.clone(), !self.unsynced);
        Ok(true)
    }

    /// The file, for another thread to sync; none if nothing was written since the last call and the name is durable.
    pub fn to_sync(&mut self) -> Option<Arc<SegmentFile>> {
        let is_due = std::mem::take(&mut self.unsynced) || !self.file.is_entry_synced.load(Ordering::Relaxed);
        is_due.then(|| Arc::clone(&self.file))
    }
}

/// The descriptor, for another process to hold too: the lock lasts as long as one of the two processes has it.
impl AsFd for OpenSegment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.locked.file().as_fd()
    }
}

/// The file of an open segment.
#[derive(Debug)]
pub struct SegmentFile {
    locked: Locked,
    path: PathBuf,
    sealed: SealedSegment,
    is_entry_synced: AtomicBool,
}

impl SegmentFile {
    fn new(locked: Locked, sealed: SealedSegment, is_entry_synced: bool) -> Arc<Self> {
        Arc::new(Self { locked, path: sealed.open_path(), sealed, is_entry_synced: is_entry_synced.into() })
    }

    /// The segment's name.
    pub fn name(&self) -> &SegmentName {
        &self.sealed.name
    }

    /// Syncs it, and the first time its folders. After an error the kernel may have dropped what was written, for good.
    pub fn sync(&self) -> Result<()> {
        let synced = fault::fails("segment.sync").and_then(|()| self.locked.file().sync_data());
        synced.map_err(Error::at("sync", &self.path))?;
        if self.is_entry_synced.load(Ordering::Relaxed) {
            return Ok(());
        }
        match folders::open_folders([self.path.as_path()]) {
            Ok(folders) => {
                folders::sync_all(&folders)?;
                self.is_entry_synced.store(true, Ordering::Relaxed);
            }
            // No folders are there, or too many files are open. Nothing was dropped, and the next sync tries again.
            Err(error) => log::debug!("{error}"),
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

/// Seals `segments`: syncs each, renames it to its sealed name, syncs the folders. Empty ones are removed.
pub fn seal(mut segments: Vec<OpenSegment>) -> std::result::Result<Vec<SealedSegment>, SealError> {
    let failed = |error, unsynced, open| Err(SealError { error, unsynced, open });
    let sync = |OpenSegment { file, .. }: &OpenSegment| {
        let synced = fault::fails("seal.sync").and_then(|()| file.locked.file().sync_all());
        synced.map_err(Error::at("sync", &file.path))
    };
    if let Err(error) = segments.iter().filter(|segment| !segment.is_empty()).try_for_each(sync) {
        return failed(error, true, segments);
    }
    fault::point("seal.synced");
    // Opened before anything is renamed, so that only the sync can fail after that.
    let folders = match folders::open_folders(segments.iter().map(OpenSegment::path)) {
        Ok(folders) => folders,
        Err(error) => return failed(error, false, segments),
    };
    let mut sealed = Vec::new();
    while let Some(segment) = segments.pop() {
        let SegmentFile { path, sealed: target, .. } = &*segment.file;
        let done = if segment.is_empty() {
            fs::remove_file(path).map_err(Error::at("remove the empty segment", path))
        } else {
            fs::rename(path, &target.path).map_err(Error::at("seal as", &target.path))
        };
        if let Err(error) = done {
            segments.push(segment);
            return failed(error, false, segments);
        }
        fault::point("seal.renamed");
        if !segment.is_empty() {
            sealed.push(segment.file.sealed.clone());
        }
    }
    match folders::sync_all(&folders) {
        Ok(()) => Ok(sealed),
        Err(error) => failed(error, true, Vec::new()),
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

/// Copies `from` to a new file on the same file system, which takes the name `path`, synced and locked.
pub(crate) fn replace(from: &File, path: &Path) -> Result<Locked> {
    let draft = Draft::new(path.to_owned())?;
    let to = File::options().read(true).append(true).open(draft.path()).map_err(Error::at("open", draft.path()))?;
    let device = |file: &File| file.metadata().map(|file| file.dev()).map_err(Error::at("look at", path));
    if device(from)? != device(&to)? {
        let lost = "the file system that it was on is not there any more: mount it again";
        return Err(Error::at("put back what was written", path)(io::Error::other(lost)));
    }
    // Locked before it has its name, by which another process would recover it.
    let in_use = || Error::invalid(draft.path(), "is in use by another process", "end that process");
    let to = Locked::try_new(to, draft.path())?.ok_or_else(in_use)?;
    let zeros = copy(from, to.file()).map_err(Error::at("copy", path))?;
    publish(vec![draft])?;
    fault::point("segment.replaced");
    if zeros > 0 {
        log::error!("{}: the disk has lost {zeros} bytes; compact will name the lines", path.display());
    }
    Ok(to)
}

/// Copies the bytes, not shared blocks, which would be the damaged ones; returns how many were zero, as in no line.
fn copy(from: &File, mut to: &File) -> io::Result<u64> {
    let (mut done, mut zeros, mut buffer) = (0, 0, vec![0; 1 << 20]);
    loop {
        let count = match from.read_at(&mut buffer, done) {
            Ok(0) => return Ok(zeros),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let piece = buffer.get(..count).unwrap_or_default();
        zeros += piece.iter().map(|byte| u64::from(*byte == 0)).sum::<u64>();
        done += count as u64;
        to.write_all(piece)?;
    }
}

/// Empties a file that was copied and may still have another name somewhere, so that no line is there twice.
pub(crate) fn empty(file: &File, path: &Path) {
    if file.metadata().is_ok_and(|file| file.nlink() > 0 && file.len() > 0)
        && let Err(error) = file.set_len(0)
    {
        log::error!("{}: was copied, and the file that it was moved to has the same lines: {error}", path.display());
    }
}
