//! What the tree takes of the disk, and what is left.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use chrono::{DateTime, Utc};
use rustix::fs::statvfs;

use crate::error::{Error, Result};
use crate::tree::Tree;

/// The size of a file in bytes; none if it is gone meanwhile.
pub fn size(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::at("look at", path)(error)),
    }
}

/// When a file was last written to; none if it is gone meanwhile.
pub fn written(path: &Path) -> Result<Option<DateTime<Utc>>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(DateTime::from_timestamp(metadata.mtime(), 0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::at("look at", path)(error)),
    }
}

/// What tells two files of one name from each other, when a name was given to another file meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl FileId {
    /// The file's size.
    pub fn bytes(self) -> u64 {
        self.bytes
    }
}

/// Which file has the name `path`; none if it is gone. A link to a disk that is not there is an error.
pub fn file_id(path: &Path) -> Result<Option<FileId>> {
    match fs::metadata(path) {
        Ok(file) => Ok(Some(FileId {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(None),
        Err(error) => Err(Error::at("look at", path)(error)),
    }
}

impl Tree {
    /// Bytes that are free, to users other than root, on the file system that the data directory is on, or will be on
    /// when it is made.
    pub fn free_bytes(&self) -> Result<u64> {
        let there = self.root().ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
        let system = statvfs(there).map_err(Error::at("ask for the free space of", there))?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }
}
