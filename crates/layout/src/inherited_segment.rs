//! Segments of a process that is dead, whose descriptors another process has kept.

use std::fs::File;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::{self, is_same};
use crate::folders;
use crate::hour::Hour;
use crate::lock::Locked;
use crate::name::Name;
use crate::paths::{Area, SealedSegment, Tree};
use crate::segment::OpenSegment;
use crate::segment_copy::{empty, replace};
use crate::segment_name::SegmentName;

/// What identifies a segment to another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentId {
    /// raw/ or quarantine/.
    pub area: Area,
    /// The stream.
    pub stream: Name,
    /// The hour its lines belong to.
    pub hour: Hour,
    /// Its name.
    pub name: SegmentName,
}

/// A segment that a process had open which is dead. As long as its descriptor is open, its lock is held, and so no other
/// process recovers it.
#[derive(Debug)]
pub struct InheritedSegment {
    file: File,
    sealed: SealedSegment,
}

/// Where the file of an inherited segment is.
enum Location {
    /// Under the name of an open segment.
    Open,
    /// Sealed; or copied, and the copy is in its place. Its writer or a process after it did that, and died then.
    Finished,
    /// Nowhere in the tree.
    Lost,
}

impl InheritedSegment {
    /// The segment of `tree` whose file is `file`, by what its writer called it.
    pub fn new(tree: &Tree, id: SegmentId, file: OwnedFd) -> Self {
        Self { file: file.into(), sealed: tree.segment(id.area, &id.stream, id.hour, id.name) }
    }

    /// Its length in bytes.
    pub fn length(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(Error::at("look at", &self.sealed.path))?.len())
    }

    /// Cuts it to `len` bytes, of which all are complete lines.
    pub fn cut(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(Error::at("cut", &self.sealed.open_path()))
    }

    /// The segment, to be sealed; none if it is sealed already. If it was removed or moved away it is put back.
    pub fn resume(&self) -> Result<Option<OpenSegment>> {
        match self.location()? {
            Location::Open => {}
            Location::Finished => return Ok(None),
            Location::Lost => return self.rewrite(),
        }
        let file = self.file.try_clone().map_err(Error::at("resume", &self.sealed.open_path()))?;
        Ok(Some(self.open(Locked::inherit(file), self.length()?)))
    }

    /// The same in a new file, which is synced and takes the place of the old one; none if there is nothing to do. For a
    /// segment whose sync failed: the kernel may have dropped some of its pages, which no other sync would write. What it
    /// dropped reads as zeros, if at all.
    pub fn rewrite(&self) -> Result<Option<OpenSegment>> {
        let (len, location, path) = (self.length()?, self.location()?, self.sealed.open_path());
        if len == 0 || matches!(location, Location::Finished) {
            return Ok(None);
        }
        let copy = replace(&self.file, &path)?;
        if matches!(location, Location::Lost) {
            empty(&self.file, &path);
        }
        Ok(Some(self.open(copy, len)))
    }

    fn open(&self, file: Locked, len: u64) -> OpenSegment {
        OpenSegment::resume(file, self.sealed.clone(), len)
    }

    /// Where it is. The name of one that is sealed is made durable.
    fn location(&self) -> Result<Location> {
        let path = self.sealed.open_path();
        let ours = self.file.metadata().map_err(Error::at("look at", &path))?;
        let (open, sealed) = (files::metadata(&path)?, files::metadata(&self.sealed.path)?);
        if open.as_ref().is_some_and(|there| is_same(there, &ours)) {
            return Ok(Location::Open);
        }
        if sealed.as_ref().is_some_and(|there| is_same(there, &ours)) {
            folders::sync_names([self.sealed.path.as_path()])?;
            return Ok(Location::Finished);
        }
        // The name is unique, so a file that has it is a copy of this one.
        if open.is_some() || sealed.is_some() {
            empty(&self.file, &path);
            return Ok(Location::Finished);
        }
        // Perhaps it was sealed and then compacted, and its writer died before it could say so. Then its name is in the
        // commit record, and what is put back is not read again.
        Ok(Location::Lost)
    }
}
