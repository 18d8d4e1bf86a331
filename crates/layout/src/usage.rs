//! What the tree takes of the disk, and what is left.

use std::fs;
use std::io;
use std::path::Path;

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

impl Tree {
    /// Bytes that are free, to users other than root, on the file system that the data directory is on, or will be on
    /// when it is made.
    pub fn free_bytes(&self) -> Result<u64> {
        let there = self.root().ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
        let system = statvfs(there).map_err(Error::at("ask for the free space of", there))?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }
}
