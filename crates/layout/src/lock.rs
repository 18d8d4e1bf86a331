//! Locks, which the kernel takes back when the process ends, however it ends. That of a data set lets one process at a time
//! publish or remove hours of it, that of a segment says that its writer lives.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, Result};
use crate::fault;
use crate::files;
use crate::folders;
use crate::name::Name;
use crate::paths::{Area, Tree};

/// The right to change a data set.
#[derive(Debug)]
pub struct DatasetLock(#[expect(dead_code, reason = "it is held, never looked at")] Locked);

impl DatasetLock {
    /// Takes the lock, or returns none while another process has it. The lock is on the data set's folder itself.
    pub fn try_acquire(tree: &Tree, dataset: &Name) -> Result<Option<Self>> {
        let path = tree.folder(Area::Parquet, dataset);
        let folder = folders::retry(|| {
            folders::create(&path)?;
            File::open(&path).map_err(Error::at("open the folder", &path))
        })?;
        Ok(Locked::try_new(folder, &path)?.map(Self))
    }
}

#[derive(Debug)]
pub(crate) struct Locked(File);

impl Locked {
    /// Locks `file`. None if another process has the lock, or if `path` leads to another file by now.
    pub(crate) fn try_new(file: File, path: &Path) -> Result<Option<Self>> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => fault::point("lock.taken"),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(Error::at("lock", path)(error)),
        }
        let locked = Self(file);
        Ok(files::is_at(path, &locked.0)?.then_some(locked))
    }

    /// Takes over the lock of a process that sent the descriptor, which holds it unless that process ended in order.
    pub(crate) fn inherit(file: File) -> Self {
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        Self(file)
    }

    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // To close it is not enough: a child that another thread is just starting holds it until it executes its program.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}
