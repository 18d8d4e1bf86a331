//! Segments that somebody removed or moved away while they were written. The writer still has the descriptor, and so the
//! content, and can put it back to its path in a new file.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use crate::error::{Error, Result};
use crate::fault;
use crate::files::{self, is_same};
use crate::folders;
use crate::lock::Locked;
use crate::publish::{Draft, publish};
use crate::segment::OpenSegment;

impl OpenSegment {
    /// Whether its path still leads to it.
    pub fn is_in_place(&self) -> Result<bool> {
        let ours = self.file().metadata().map_err(Error::at("look at", self.path()))?;
        Ok(files::metadata(self.path())?.is_some_and(|there| is_same(&there, &ours)))
    }

    /// Puts what was written to it back to its path, in a new file, which is synced.
    pub(crate) fn put_back(&mut self) -> Result<()> {
        let file = if self.is_empty() {
            let file = folders::create_file(self.path())?;
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

/// Copies all of a file; returns how many bytes were zero, which no line contains. It reads and writes the bytes, because
/// a file system that lets two files share blocks would share the damaged ones.
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
