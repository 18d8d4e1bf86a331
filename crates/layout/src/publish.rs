//! Publishing: a name shows a whole file or nothing.
//!
//! A [`Draft`] is written under `.<name>.<unique>.tmp` in its target's own folder. [`publish`] syncs the drafts, renames
//! each to its target and syncs the folders. Whoever dies before the rename leaves an orphan, which nobody reads; whoever
//! dies after it has published.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ulid::Ulid;

use crate::dirs;
use crate::error::{Error, Result};
use crate::fault;

/// A file on its way to a name in the tree. Dropped unpublished, it is removed.
#[derive(Debug)]
pub struct Draft {
    temporary: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// Prepares the folder of `target` and a name beside it. The file itself is for the caller to write.
    pub(crate) fn new(target: PathBuf) -> Result<Self> {
        let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(Error::invalid(&target, "not the path of a file"));
        };
        dirs::create(folder)?;
        let temporary = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), Ulid::generate()));
        Ok(Self { temporary, target })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// The name it will have.
    pub fn target(&self) -> &Path {
        &self.target
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Publishes `drafts`, all of them durable on return. On an error some may be published and others not; none is half.
#[expect(clippy::needless_pass_by_value, reason = "a draft that is published is used up")]
pub fn publish(drafts: Vec<Draft>) -> Result<()> {
    fault::point("publish.written");
    for draft in &drafts {
        File::open(&draft.temporary).and_then(|file| file.sync_all()).map_err(Error::at("sync", &draft.temporary))?;
    }
    fault::point("publish.synced");
    let mut folders = BTreeSet::new();
    for draft in &drafts {
        fs::rename(&draft.temporary, &draft.target).map_err(Error::at("rename to its name", &draft.target))?;
        folders.extend(draft.target.parent());
        fault::point("publish.renamed");
    }
    for folder in folders {
        dirs::sync(folder)?;
    }
    fault::point("publish.done");
    Ok(())
}

/// Makes a published file durable whose publisher may have died between the rename and the sync of the folder.
pub fn sync_published(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::at("sync", path))?;
    path.parent().map_or(Ok(()), dirs::sync)
}

/// Publishes `draft` unless its name is taken by now, and says whether it did: of two that publish, the second sees the
/// first's file.
#[expect(clippy::needless_pass_by_value, reason = "a draft that is published is used up")]
pub fn publish_new(draft: Draft) -> Result<bool> {
    File::open(&draft.temporary).and_then(|file| file.sync_all()).map_err(Error::at("sync", &draft.temporary))?;
    match fs::hard_link(&draft.temporary, &draft.target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(Error::at("link to its name", &draft.target)(error)),
    }
    if let Some(folder) = draft.target.parent() {
        dirs::sync(folder)?;
    }
    Ok(true)
}
