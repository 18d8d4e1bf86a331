//! Removing what retention and housekeep may remove: hours, rejected input, files that were never published, empty folders.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::fault;
use crate::folders::{Kind, list};
use crate::hour::Hour;
use crate::lock::DatasetLock;
use crate::name::Name;
use crate::paths::{Area, SealedSegment, Tree, is_date_part};

/// A file that was never published, with the time of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpublishedFile {
    /// Where it is.
    pub path: PathBuf,
    /// When it was last written to.
    pub modified: SystemTime,
}

impl Tree {
    /// Removes a published hour. Only who holds the data set's lock does.
    pub fn remove_parquet(&self, _: &DatasetLock, dataset: &Name, hour: Hour) -> Result<()> {
        remove(&self.parquet(dataset, hour))
    }

    /// Removes a file of the quarantine.
    pub fn remove_quarantined(&self, segment: &SealedSegment) -> Result<()> {
        if segment.path.starts_with(self.root().join(Area::Quarantine.as_str())) {
            remove(&segment.path)
        } else {
            Err(Error::invalid(&segment.path, "is not in quarantine/ and is not removed", None))
        }
    }

    /// Removes a file that was never published.
    pub fn remove_unpublished(&self, file: &UnpublishedFile) -> Result<()> {
        remove(&file.path)
    }

    /// The folders of years, months and days of `name` in `area` that will be empty when the files `removed` are gone,
    /// deepest first. A folder that holds only such folders is one as well. Folders of the hour `current` are not among
    /// them, because somebody may be about to create a file there.
    pub fn empty_folders(
        &self,
        area: Area,
        name: &Name,
        removed: &BTreeSet<PathBuf>,
        current: Hour,
    ) -> Result<Vec<PathBuf>> {
        let root = self.folder(area, name);
        let mut search = EmptyFolders { removed, kept: &root.join(current.folder()), found: Vec::new() };
        if root.is_dir() {
            search.visit(&root, 3)?;
        }
        Ok(search.found)
    }

    /// Removes a folder if it is (still) empty; says whether it did.
    pub fn remove_empty_folder(&self, path: &Path) -> Result<bool> {
        match fs::remove_dir(path) {
            Ok(()) => Ok(true),
            // Filled again, removed already, or replaced by a link: somebody else uses it.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound | ErrorKind::NotADirectory
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(Error::at("remove the empty folder", path)(error)),
        }
    }

    /// Removes the folder of a data set if there is no file in it. Only who holds the data set's lock does, and nothing
    /// after it.
    pub fn remove_without_files(&self, _: &DatasetLock, dataset: &Name) -> Result<()> {
        self.remove_folder_without_files(&self.folder(Area::Parquet, dataset)).map(|_| ())
    }

    fn remove_folder_without_files(&self, path: &Path) -> Result<bool> {
        for (name, kind) in list(path)? {
            if kind != Kind::Folder || !self.remove_folder_without_files(&path.join(name))? {
                return Ok(false);
            }
        }
        self.remove_empty_folder(path)
    }
}

/// The search for folders that will be empty.
struct EmptyFolders<'s> {
    removed: &'s BTreeSet<PathBuf>,
    /// A folder that stays, with those above it.
    kept: &'s Path,
    found: Vec<PathBuf>,
}

impl EmptyFolders<'_> {
    /// Adds the folders at and below `path` that will be empty; says whether `path` itself will be. There are `levels`
    /// levels of dates below it; the folder of the stream or data set, which has 3, stays in any case.
    fn visit(&mut self, path: &Path, levels: usize) -> Result<bool> {
        let mut is_empty = !self.kept.starts_with(path);
        for (name, kind) in list(path)? {
            let below = path.join(&name);
            is_empty &= match kind {
                Kind::Folder => levels > 0 && is_date_part(&name) && self.visit(&below, levels - 1)?,
                Kind::File | Kind::Other => self.removed.contains(&below),
            };
        }
        if is_empty && levels < 3 {
            self.found.push(path.to_owned());
        }
        Ok(is_empty)
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::at("remove", path)(error)),
        _ => {
            fault::point("removed");
            Ok(())
        }
    }
}
