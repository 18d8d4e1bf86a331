//! One process at a time publishes or removes hours of a data set.

use std::fs::File;

use rustix::fs::{FlockOperation, flock};

use crate::dirs;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::tree::{Area, Tree};

/// The right to change a data set. The kernel takes it back when the process ends, however it ends.
#[derive(Debug)]
pub struct DatasetLock {
    _folder: File,
}

impl DatasetLock {
    /// Takes the lock, or returns none while another process has it. The lock is on the data set's folder itself.
    pub fn try_acquire(tree: &Tree, dataset: &Name) -> Result<Option<Self>> {
        let path = tree.folder(Area::Parquet, dataset);
        dirs::create(&path)?;
        let folder = File::open(&path).map_err(Error::at("open the folder", &path))?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _folder: folder })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(Error::at("lock the folder", &path)(error)),
        }
    }
}
