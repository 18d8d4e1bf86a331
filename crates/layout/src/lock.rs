//! One process at a time publishes or removes hours of a data set.

use std::fs::File;

use rustix::fs::{FlockOperation, flock};

use crate::dirs;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::segment::try_lock;
use crate::tree::{Area, Tree};

/// The right to change a data set. The kernel takes it back when the process ends, however it ends.
#[derive(Debug)]
pub struct DatasetLock {
    folder: File,
}

impl Drop for DatasetLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread is just starting holds the descriptor until it executes.
        let _ = flock(&self.folder, FlockOperation::Unlock);
    }
}

impl DatasetLock {
    /// Takes the lock, or returns none while another process has it. The lock is on the data set's folder itself.
    pub fn try_acquire(tree: &Tree, dataset: &Name) -> Result<Option<Self>> {
        let path = tree.folder(Area::Parquet, dataset);
        dirs::create(&path)?;
        let folder = File::open(&path).map_err(Error::at("open the folder", &path))?;
        Ok(try_lock(&folder, &path)?.then_some(Self { folder }))
    }
}
