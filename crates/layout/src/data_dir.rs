//! The data directory can get lost while a program runs: moved away, unmounted, removed.
//!
//! Where a disk was mounted there is an empty folder when it is gone, and a program that goes by the path would fill that.
//! So a program that runs for long keeps the folder that it began with open, and checks now and then, and whenever it makes
//! a file, that the path leads there. Only a folder that was removed is made again, on the same file system.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

use crate::error::{Error, Result};
use crate::files::is_same;
use crate::folders;
use crate::paths::Tree;
use crate::segment::OpenSegment;

/// The data directory that a program began with.
#[derive(Debug)]
pub struct DataDirHandle {
    path: PathBuf,
    folder: Mutex<File>,
}

impl DataDirHandle {
    /// The data directory that is there now; made if it is not.
    pub fn new(tree: &Tree) -> Result<Self> {
        folders::create(tree.root())?;
        Ok(Self { path: tree.root().to_owned(), folder: Mutex::new(open(tree.root())?) })
    }

    /// The data directory of `tree` that another process began with, by its descriptor.
    pub fn inherit(tree: &Tree, folder: OwnedFd) -> Self {
        Self { path: tree.root().to_owned(), folder: Mutex::new(folder.into()) }
    }

    /// The descriptor, for another process.
    pub fn descriptor(&self) -> Result<OwnedFd> {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(folder.try_clone().map_err(Error::at("open", &self.path))?.into())
    }

    /// Fails unless the path of the data directory leads to the folder that it led to at the beginning.
    pub fn check(&self) -> Result<()> {
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = folder.metadata().map_err(Error::at("look at", &self.path))?;
        let removed = ours.nlink() == 0;
        match fs::metadata(&self.path) {
            Ok(there) if is_same(&there, &ours) => return Ok(()),
            // Removed, and made again by somebody.
            Ok(there) if removed && there.is_dir() && there.dev() == ours.dev() => {}
            Ok(_) => return Err(self.lost("another folder is in its place")),
            Err(error) if error.kind() == io::ErrorKind::NotFound && removed => {
                let parent =
                    self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                if fs::metadata(parent).map_err(Error::at("look at", parent))?.dev() != ours.dev() {
                    return Err(self.lost("its file system is not there any more"));
                }
                folders::create(&self.path)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.lost("it is not there any more")),
            Err(error) => return Err(Error::at("look at", &self.path)(error)),
        }
        *folder = open(&self.path)?;
        Ok(())
    }

    fn lost(&self, how: &str) -> Error {
        let remedy = "mount it or move it back";
        Error::at("use the data directory", &self.path)(io::Error::other(format!("{how}: {remedy}")))
    }

    /// Puts `segment` back to its path if it is not there any more, and says so. Fails if the data directory has moved.
    pub fn keep(&self, segment: &mut OpenSegment) -> Result<bool> {
        self.check()?;
        segment.keep()
    }
}

/// The folder itself, not what is in it: that needs no right to read it.
fn open(path: &Path) -> Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let folder = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    folder.map_err(Error::at("open", path))
}
