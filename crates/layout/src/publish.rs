//! Publishing: a name shows a whole file or nothing.
//!
//! A [`Draft`] is written under `.<name>.<unique>.tmp` in its target's own folder. [`publish`] syncs the drafts, renames
//! each to its target and syncs the folders. Whoever dies before the rename leaves an orphan, which nobody reads; whoever
//! dies after it has published.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// Makes an empty file beside `target`, in its folder, for the caller to write: it keeps the folder from being tidied
    /// away.
    pub(crate) fn new(target: PathBuf) -> Result<Self> {
        let draft = Self::unmade(target)?;
        dirs::create_file(&draft.temporary)?;
        fault::point("draft.made");
        Ok(draft)
    }

    /// As [`Draft::new`], for whoever wants to make the file as well: the folder is there, the file is not.
    pub(crate) fn unmade(target: PathBuf) -> Result<Self> {
        let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(Error::invalid(&target, "not the path of a file"));
        };
        // The file of a name alone is in the working directory.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        dirs::create(folder)?;
        let temporary = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), Ulid::generate()));
        drafts().insert(temporary.clone());
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

    /// Syncs what was written. Nothing at all is a caller's mistake, and no file of the tree.
    fn sync(&self) -> Result<()> {
        let file = File::open(&self.temporary).map_err(Error::at("open", &self.temporary))?;
        if file.metadata().map_err(Error::at("look at", &self.temporary))?.len() == 0 {
            return Err(Error::invalid(&self.temporary, "nothing was written to it: it is not published"));
        }
        let synced = fault::fails("draft.sync").and_then(|()| file.sync_all());
        synced.map_err(Error::at("sync", &self.temporary))?;
        fault::point("draft.synced");
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
        drafts().remove(&self.temporary);
    }
}

/// The drafts of this process.
static DRAFTS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn drafts() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    DRAFTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the drafts of this process, which is about to end in the middle of its work: it cannot make or drop one any
/// more. To end so is as sound as to be killed, and leaves nothing to tidy up.
pub fn abandon_drafts() {
    let drafts = drafts();
    for draft in &*drafts {
        let _ = fs::remove_file(draft);
    }
    std::mem::forget(drafts);
}

/// Publishes `drafts`, all of them durable on return. On an error some may be published and others not; none is half.
#[expect(clippy::needless_pass_by_value, reason = "a draft that is published is used up")]
pub fn publish(drafts: Vec<Draft>) -> Result<()> {
    fault::point("publish.written");
    for draft in &drafts {
        draft.sync()?;
    }
    fault::point("publish.synced");
    for draft in &drafts {
        let renamed = fault::fails("publish.rename").and_then(|()| fs::rename(&draft.temporary, &draft.target));
        renamed.map_err(Error::at("rename to its name", &draft.target))?;
        fault::point("publish.renamed");
    }
    dirs::sync_names(drafts.iter().map(Draft::target))?;
    fault::point("publish.done");
    Ok(())
}

/// Makes a published file durable whose publisher may have died between the rename and the sync of the folder.
pub fn sync_published(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::at("sync", path))?;
    dirs::sync_names([path])
}

/// Publishes `draft` unless its name is taken by now, and says whether it did: of two that publish, the second sees the
/// first's file.
#[expect(clippy::needless_pass_by_value, reason = "a draft that is published is used up")]
pub fn publish_new(draft: Draft) -> Result<bool> {
    draft.sync()?;
    match fs::hard_link(&draft.temporary, &draft.target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(Error::at("link to its name", &draft.target)(error)),
    }
    dirs::sync_names([draft.target()])?;
    Ok(true)
}
