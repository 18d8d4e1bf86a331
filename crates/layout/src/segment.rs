//! Segments: append-only files of complete lines, open while written and sealed when done.
//!
//! An [`OpenSegment`] is held under an exclusive lock by its writer. [`seal`] syncs it and renames it to its sealed name,
//! after which nobody changes it. A segment's name holds the time of its creation and 80 random bits: names sort by age and
//! never come twice, which is what makes "listed in the commit record" mean "already in the Parquet file".

use std::fmt;
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::dirs;
use crate::error::{Error, Result};
use crate::fault;
use crate::hour::Hour;
use crate::lock::Locked;
use crate::name::Name;
use crate::tree::{Area, Tree};

/// The part of a segment's file name that is unique: a ULID, for a file derived from another segment with a suffix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SegmentName(String);

impl SegmentName {
    /// A name that never was and never will be again.
    pub(crate) fn unique() -> Self {
        Self(Ulid::generate().to_string())
    }

    /// The name of what is derived from this segment of `hour`: the same each time, so that doing it again replaces it.
    pub(crate) fn derived(&self, suffix: &str, hour: Hour) -> Self {
        Self(format!("{}-{suffix}{}", self.0, hour.start().format("%Y%m%d%H")))
    }

    /// Whether it names what was derived from another segment, later than that was created.
    pub fn is_derived(&self) -> bool {
        self.0.contains('-')
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a number; 0 for one that is derived from another.
    pub fn number(&self) -> u128 {
        Ulid::from_string(&self.0).map_or(0, Into::into)
    }

    /// When the segment was created, by the clock of its writer.
    pub fn created(&self) -> DateTime<Utc> {
        self.0
            .get(..ulid::ULID_LEN)
            .and_then(|text| Ulid::from_string(text).ok())
            .and_then(|ulid| DateTime::from_timestamp_millis(i64::try_from(ulid.timestamp_ms()).ok()?))
            .unwrap_or_default()
    }
}

impl FromStr for SegmentName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (ulid, suffix) = text.split_once('-').map_or((text, None), |(ulid, suffix)| (ulid, Some(suffix)));
        let plain = suffix
            .is_none_or(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        match Ulid::from_string(ulid) {
            Ok(parsed) if plain && parsed.to_string() == ulid => Ok(Self(text.to_owned())),
            _ => Err(format!("{text:?} is not a segment's name")),
        }
    }
}

impl TryFrom<String> for SegmentName {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<SegmentName> for String {
    fn from(name: SegmentName) -> Self {
        name.0
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A sealed segment: complete lines, immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSegment {
    /// The hour its lines belong to.
    pub hour: Hour,
    /// Its name.
    pub name: SegmentName,
    /// Where it is.
    pub path: PathBuf,
}

impl SealedSegment {
    /// Opens it for reading.
    pub fn open(&self) -> Result<File> {
        let file = fault::fails("segment.open").and_then(|()| File::open(&self.path));
        file.map_err(Error::at("open", &self.path)).inspect(|_| fault::point("segment.opened"))
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
            let path = open_path(&sealed.path);
            let file = dirs::create_file(&path)?;
            // Between creation and lock, a recovering process may have taken the file for a dead writer's.
            if let Some(file) = Locked::try_new(file, &path)? {
                return Ok(Self::resume(file, path, sealed, 0));
            }
        }
    }

    /// Takes up a locked segment of `len` bytes.
    pub(crate) fn resume(file: Locked, path: PathBuf, sealed: SealedSegment, len: u64) -> Self {
        Self {
            file: Arc::new(file),
            path,
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

    /// Appends `pieces`, complete lines in all, and uses them up, also when it fails. On an error the segment is as it
    /// was before; if even that cannot be had, the error is [`Error::Invalid`] and the segment must not be written any more.
    pub fn append(&mut self, pieces: &mut [IoSlice<'_>]) -> Result<()> {
        let before = self.len;
        let mut rest = pieces;
        // Empty pieces in front: to write nothing would look like a disk that takes nothing.
        IoSlice::advance_slices(&mut rest, 0);
        // The kernel takes so many pieces at a time (IOV_MAX).
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
        // A write that failed may have left bytes that `self.len` does not count. Mostly there are none: then nothing is
        // asked of a disk that may refuse everything.
        let file = self.file.file();
        let there = file.metadata().map(|file| file.len());
        match if there.is_ok_and(|there| there == len) { Ok(()) } else { file.set_len(len) } {
            Ok(()) => {
                self.len = len;
                Ok(())
            }
            Err(error) => Err(Error::invalid(
                &self.path,
                format!(
                    "cannot be cut back to {len} bytes after a failed write ({error}); it must not be used any more"
                ),
            )),
        }
    }

    /// Its file.
    pub(crate) fn file(&self) -> &File {
        self.file.file()
    }

    /// Goes on with another file, which holds the same and is synced.
    pub(crate) fn exchange(&mut self, file: Locked) {
        self.file = Arc::new(file);
        self.entry_synced = Arc::new(AtomicBool::new(!self.is_empty()));
        self.unsynced = self.is_empty();
    }

    /// What has to be synced, if anything was written since the last call, or its name is not durable; for another thread
    /// to do.
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

/// The descriptor, for another process to hold: the lock lasts as long as one of them does.
impl AsFd for OpenSegment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.file().as_fd()
    }
}

/// The duty to make what was written to a segment durable.
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

    /// Syncs the segment, and the first time its folders, as soon as they can be opened. After an error the kernel may have
    /// dropped what was written: trying again proves nothing.
    pub fn run(&self) -> Result<()> {
        let synced = fault::fails("segment.sync").and_then(|()| self.file.file().sync_data());
        synced.map_err(Error::at("sync", &self.path))?;
        if !self.entry_synced.load(Ordering::Relaxed) {
            match dirs::open_folders([self.path.as_path()]) {
                Ok(folders) => dirs::sync_all(&folders)?,
                // Nothing was dropped: they are not there, or descriptors are short. The next sync tries again.
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
    /// Whether syncing failed: then the kernel may have dropped what was written, and trying again proves nothing.
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
    // Opened before anything is renamed: then all that can go wrong after it is the syncing.
    let folders = match dirs::open_folders(segments.iter().map(OpenSegment::path)) {
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
    match dirs::sync_all(&folders) {
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

/// The name of a segment while it is written.
pub(crate) fn open_path(sealed: &Path) -> PathBuf {
    let mut path = sealed.as_os_str().to_owned();
    path.push(".open");
    path.into()
}
