//! Segments of a process that is dead, whose descriptors another process has kept.

use std::fs::File;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;
use crate::folders;
use crate::hour::Hour;
use crate::lock::Locked;
use crate::name::{Name, SegmentName};
use crate::paths::{Area, SealedSegment, Tree};
use crate::segment::{OpenSegment, empty, replace};

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

/// A segment that a dead process had open. While its descriptor is open, its lock is held, and so nobody recovers it.
#[derive(Debug)]
pub struct InheritedSegment {
    file: File,
    sealed: SealedSegment,
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
        let path = self.sealed.open_path();
        if self.is_finished()? {
            return Ok(None);
        }
        if !files::is_at(&path, &self.file)? {
            return self.rewrite();
        }
        let file = self.file.try_clone().map_err(Error::at("resume", &path))?;
        Ok(Some(OpenSegment::resume(Locked::inherit(file), self.sealed.clone(), self.length()?)))
    }

    /// The same in a new file, synced and in the place of the old one; none if there is nothing to do. For a segment whose
    /// sync failed: the kernel may have dropped some of its pages, which no other sync would write.
    pub fn rewrite(&self) -> Result<Option<OpenSegment>> {
        let (len, path) = (self.length()?, self.sealed.open_path());
        if len == 0 || self.is_finished()? {
            return Ok(None);
        }
        let was_in_place = files::is_at(&path, &self.file)?;
        let copy = replace(&self.file, &path)?;
        // One that was in its place is gone with its name; another link to it, as in a backup, keeps what it has.
        if !was_in_place {
            empty(&self.file, &path);
        }
        Ok(Some(OpenSegment::resume(copy, self.sealed.clone(), len)))
    }

    /// Whether it, or a copy in its place, is finished: who did that may have died then. A sealed name is made durable.
    fn is_finished(&self) -> Result<bool> {
        let (open, sealed) = (self.sealed.open_path(), self.sealed.path.as_path());
        if files::is_at(&open, &self.file)? {
            return Ok(false);
        }
        if files::is_at(sealed, &self.file)? {
            folders::sync_names([sealed])?;
            return Ok(true);
        }
        // The name is unique, so a file that has it is a copy of this one. If there is none, it was lost; or sealed and
        // compacted, and its writer died then: its name is in the commit record, so that what is put back is not read again.
        let is_copied = files::metadata(&open)?.is_some() || files::metadata(sealed)?.is_some();
        if is_copied {
            empty(&self.file, &open);
        }
        Ok(is_copied)
    }
}
