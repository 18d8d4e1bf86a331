//! Publishing: a name shows a whole file or nothing.
//!
//! A [`Draft`] is `.<name>.<unique>.tmp` beside its target. [`publish`] syncs the drafts, renames each and syncs the folders.
//! A process that dies before the rename leaves a file that nobody reads and housekeep removes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ulid::Ulid;

use crate::error::{Error, Result};
use crate::fault;
use crate::files::{self, check_regular};
use crate::folders;
use crate::hour::Hour;
use crate::lock::DatasetLock;
use crate::name::Name;
use crate::paths::{Area, SealedSegment, Tree};

/// A file on its way to a name in the tree. Dropped unpublished, it is removed.
#[derive(Debug)]
pub struct Draft {
    temporary: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// Makes an empty file beside `target` for the caller to write, which also keeps housekeep from removing the folder.
    pub(crate) fn new(target: PathBuf) -> Result<Self> {
        let draft = Self::unmade(target)?;
        folders::create_file(&draft.temporary)?;
        fault::point("draft.made");
        Ok(draft)
    }

    /// As `Draft::new`, but only the folder is made; the caller makes the file, here or elsewhere.
    pub fn unmade(target: PathBuf) -> Result<Self> {
        let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(Error::invalid(&target, "is not the path of a file", None));
        };
        check_regular(&target)?;
        // The file of a name alone is in the working directory.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        folders::create(folder)?;
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

    /// Syncs what was written. An empty draft is a mistake of the caller: no file of the tree is empty.
    fn sync(&self) -> Result<()> {
        let file = File::open(&self.temporary).map_err(Error::at("open", &self.temporary))?;
        if file.metadata().map_err(Error::at("look at", &self.temporary))?.len() == 0 {
            return Err(Error::invalid(&self.temporary, "nothing was written to it: it is not published", None));
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

impl Tree {
    /// A draft of an hour of a data set. Only who holds the data set's lock publishes it.
    pub fn draft_parquet(&self, _: &DatasetLock, dataset: &Name, hour: Hour) -> Result<Draft> {
        Draft::new(self.parquet(dataset, hour))
    }

    /// A draft of the quarantine file for what is found wrong in a sealed segment; `what` is the word in its name: `damaged`.
    /// It has the same name each time, and the segment's hour in it, because a copy in another hour has the segment's name.
    pub fn draft_quarantine(&self, stream: &Name, segment: &SealedSegment, what: &str) -> Result<Draft> {
        let (arrival, name) = (Hour::of(segment.name.created()), segment.name.derived(what, segment.hour));
        Draft::new(self.segment(Area::Quarantine, stream, arrival, name).path)
    }
}

static DRAFTS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn drafts() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    DRAFTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the drafts of this process, which is about to end: after this it cannot make or drop a draft any more.
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
    drafts.iter().try_for_each(Draft::sync)?;
    fault::point("publish.synced");
    for draft in &drafts {
        let renamed = fault::fails("publish.rename").and_then(|()| fs::rename(&draft.temporary, &draft.target));
        renamed.map_err(Error::at("rename to its name", &draft.target))?;
        fault::point("publish.renamed");
    }
    folders::sync_names(drafts.iter().map(Draft::target))?;
    fault::point("publish.done");
    Ok(())
}

/// Makes a published file durable whose publisher may have died between the rename and the sync of the folder.
pub fn sync_published(path: &Path) -> Result<()> {
    files::open(path)?.0.sync_all().map_err(Error::at("sync", path))?;
    folders::sync_names([path])
}

/// Publishes `draft` unless its name is taken by now, so that the first of two stays; says whether it did.
#[expect(clippy::needless_pass_by_value, reason = "a draft that is published is used up")]
pub fn publish_new(draft: Draft) -> Result<bool> {
    draft.sync()?;
    match fs::hard_link(&draft.temporary, &draft.target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(Error::at("link to its name", &draft.target)(error)),
    }
    folders::sync_names([draft.target()])?;
    Ok(true)
}
