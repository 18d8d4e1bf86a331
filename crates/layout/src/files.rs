//! What is at a path of the tree: a regular file, or a link to one.
//!
//! To open something else could wait for ever, as for the other end of a FIFO. So it is an error, and listings pass it over.

use std::collections::BTreeSet;
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{OFlags, statvfs};

use crate::error::{Error, Result};
use crate::paths::Tree;

/// What is at `path`, links followed; none if there is nothing.
pub fn metadata(path: &Path) -> Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
        Err(error) => Err(Error::at("look at", path)(error)),
    }
}

/// Whether `path` is a regular file. A link to nothing counts as one: it leads to a disk that is not mounted.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    Ok(metadata(path)?.map_or_else(|| path.is_symlink(), |metadata| metadata.is_file()))
}

pub(crate) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

pub(crate) fn is_at(path: &Path, file: &File) -> Result<bool> {
    let ours = file.metadata().map_err(Error::at("look at", path))?;
    Ok(metadata(path)?.is_some_and(|there| is_same(&there, &ours)))
}

pub(crate) fn open(path: &Path) -> Result<(File, Metadata)> {
    open_with(path, File::options().read(true))
}

pub(crate) fn open_with(path: &Path, options: &mut fs::OpenOptions) -> Result<(File, Metadata)> {
    // Without waiting for the other end of a FIFO; for a regular file the flag means nothing.
    let file = match options.custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path) {
        // Some kinds cannot be opened in some ways, and the system does not say so plainly.
        Err(error) => match check_regular(path) {
            Err(irregular) if irregular.io().is_none() => return Err(irregular),
            _ => return Err(Error::at("open", path)(error)),
        },
        Ok(file) => file,
    };
    let metadata = file.metadata().map_err(Error::at("look at", path))?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(irregular(path, metadata.file_type())) }
}

/// The content of a regular file, of the tree or elsewhere. Anything else is an error at once, also a FIFO.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.0.read_to_end(&mut content).map_err(Error::at("read", path))?;
    Ok(content)
}

pub(crate) fn check_regular(path: &Path) -> Result<()> {
    match metadata(path)? {
        Some(metadata) if !metadata.is_file() => Err(irregular(path, metadata.file_type())),
        _ => Ok(()),
    }
}

fn irregular(path: &Path, kind: FileType) -> Error {
    let kind = match () {
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () if kind.is_dir() => "a folder",
        () => "a device",
    };
    Error::invalid(path, format!("is {kind}, and no regular file"), "move it out of the tree")
}

/// Warns of something at `path` that has the name of a file of the tree and is none; once, however often it is listed.
pub(crate) fn warn_of_irregular(path: &Path) {
    static NAMED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if let Err(error) = check_regular(path)
        && NAMED.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned())
    {
        log::warn!("{error}; until then it is passed over");
    }
}

/// The size of a file in bytes; none if it is gone meanwhile.
pub fn size(path: &Path) -> Result<Option<u64>> {
    Ok(metadata(path)?.map(|metadata| metadata.len()))
}

/// What has the name `path`; none if it is gone. Unlike in [`metadata`], a link to a disk that is not there is an error.
pub fn mounted(path: &Path) -> Result<Option<Metadata>> {
    match metadata(path)? {
        None if path.is_symlink() => Err(Error::at("look at", path)(io::Error::from(io::ErrorKind::NotFound))),
        file => Ok(file),
    }
}

impl Tree {
    /// Bytes that are free, to users other than root, on the file system that the data directory is, or will be, on.
    pub fn free_bytes(&self) -> Result<u64> {
        let there = self.root().ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
        let system = statvfs(there).map_err(Error::at("ask for the free space of", there))?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }
}
