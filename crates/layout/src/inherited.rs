//! Segments whose file cannot simply be gone on with: those of a process that is dead, those whose sync failed, those that
//! somebody removed or moved away. Whoever has the descriptor has the content, and can put it in its place in a new file.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::anchor::is_same;
use crate::dirs;
use crate::error::{Error, Result};
use crate::fault;
use crate::hour::Hour;
use crate::lock::Locked;
use crate::name::Name;
use crate::publish::{Draft, publish};
use crate::segment::{OpenSegment, SealedSegment, SegmentName, open_path};
use crate::tree::{Area, Tree};

/// What says which segment it is, to another process.
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

/// A segment that a process which is dead had open, with the descriptor that outlived it: nobody else could take it up.
#[derive(Debug)]
pub struct Inherited {
    file: File,
    open: PathBuf,
    sealed: SealedSegment,
}

/// Where the file of an inherited segment is.
enum Place {
    /// Where it was written.
    Open,
    /// It was sealed, or it was copied, by somebody who died after that.
    Done,
    /// Nowhere in the tree.
    Lost,
}

impl Inherited {
    /// The segment of `tree` that `file` is, by what its writer called it.
    pub fn new(tree: &Tree, id: SegmentId, file: OwnedFd) -> Self {
        let sealed = tree.segment(id.area, &id.stream, id.hour, id.name);
        Self { file: file.into(), open: open_path(&sealed.path), sealed }
    }

    /// Its length in bytes.
    pub fn length(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(Error::at("look at", &self.open))?.len())
    }

    /// Cuts it to `len` bytes, of which all are complete lines.
    pub fn cut(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(Error::at("cut", &self.open))
    }

    /// The segment, to be sealed; none if it is sealed already. If it was removed or moved away it is put back.
    pub fn resume(&self) -> Result<Option<OpenSegment>> {
        match self.place()? {
            Place::Open => {}
            Place::Done => return Ok(None),
            Place::Lost => return self.rewrite(),
        }
        let file = self.file.try_clone().map_err(Error::at("take up", &self.open))?;
        Ok(Some(self.open(Locked::inherit(file), self.length()?)))
    }

    /// The same in a new file, which is synced and in the old one's place: for a segment whose sync failed, since the
    /// kernel may have dropped pages of it that no other sync would write. What it dropped reads as zeros, if at all.
    pub fn rewrite(&self) -> Result<Option<OpenSegment>> {
        let len = self.length()?;
        let place = self.place()?;
        if len == 0 || matches!(place, Place::Done) {
            return Ok(None);
        }
        let copy = replace(&self.file, &self.open)?;
        if matches!(place, Place::Lost) {
            empty(&self.file, &self.open);
        }
        Ok(Some(self.open(copy, len)))
    }

    fn open(&self, file: Locked, len: u64) -> OpenSegment {
        OpenSegment::resume(file, self.open.clone(), self.sealed.clone(), len)
    }

    /// Where it is. One that is sealed gets its name made durable.
    fn place(&self) -> Result<Place> {
        let ours = self.file.metadata().map_err(Error::at("look at", &self.open))?;
        let (open, sealed) = (look(&self.open)?, look(&self.sealed.path)?);
        if open.as_ref().is_some_and(|there| is_same(there, &ours)) {
            return Ok(Place::Open);
        }
        if sealed.as_ref().is_some_and(|there| is_same(there, &ours)) {
            dirs::sync_names([self.sealed.path.as_path()])?;
            return Ok(Place::Done);
        }
        // Nobody else has its name: that is its copy.
        if open.is_some() || sealed.is_some() {
            empty(&self.file, &self.open);
            return Ok(Place::Done);
        }
        // Perhaps it was sealed and compacted since, and only its writer could not say so any more. Then its name is in the
        // commit record, and what is put back is never read.
        Ok(Place::Lost)
    }
}

impl OpenSegment {
    /// Whether its path still leads to it.
    pub fn is_in_place(&self) -> Result<bool> {
        let ours = self.file().metadata().map_err(Error::at("look at", self.path()))?;
        Ok(look(self.path())?.is_some_and(|there| is_same(&there, &ours)))
    }

    /// Puts what was written to it in its place again, in a new file, which is synced.
    pub(crate) fn put_back(&mut self) -> Result<()> {
        let file = if self.is_empty() {
            let file = dirs::create_file(self.path())?;
            let gone = || Error::at("lock", self.path())(io::Error::from(io::ErrorKind::WouldBlock));
            Locked::try_new(file, self.path())?.ok_or_else(gone)?
        } else {
            let file = replace(self.file(), self.path())?;
            empty(self.file(), self.path());
            file
        };
        self.exchange(file);
        Ok(())
    }
}

/// Copies `from` to a new file on the same file system, which takes the name `path`, synced and locked.
fn replace(from: &File, path: &Path) -> Result<Locked> {
    let draft = Draft::new(path.to_owned())?;
    let to = File::options().read(true).append(true).open(draft.path()).map_err(Error::at("open", draft.path()))?;
    let device = |file: &File| file.metadata().map(|file| file.dev()).map_err(Error::at("look at", path));
    if device(from)? != device(&to)? {
        let lost = "the file system that it was on is not there any more: mount it again";
        return Err(Error::at("put back what was written", path)(io::Error::other(lost)));
    }
    // Before it has a name that others would recover it by.
    let to = Locked::try_new(to, draft.path())?.ok_or_else(|| Error::invalid(draft.path(), "somebody else has it"))?;
    let zeros = copy(from, to.file()).map_err(Error::at("copy", path))?;
    publish(vec![draft])?;
    fault::point("segment.replaced");
    if zeros > 0 {
        log::error!("{}: the disk has lost {zeros} bytes; compact will name the lines", path.display());
    }
    Ok(to)
}

/// Copies all of a file; returns how many bytes were zero, which no line has. Goes through memory: a file system that
/// shares the blocks of copies would share the bad ones.
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

/// Takes the lines out of a file that was copied and may still have another name somewhere, so that none comes twice.
fn empty(file: &File, path: &Path) {
    if file.metadata().is_ok_and(|file| file.nlink() > 0 && file.len() > 0)
        && let Err(error) = file.set_len(0)
    {
        log::error!("{}: was copied, and what it was moved to has the same lines: {error}", path.display());
    }
}

/// What is at `path`, if anything.
fn look(path: &Path) -> Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(there) => Ok(Some(there)),
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
        Err(error) => Err(Error::at("look at", path)(error)),
    }
}
