//! Removing what retention and housekeep may remove: hours, rejected input, files that were never published, empty folders.
//!
//! Who made an hour again that retention removed would make it from a part, and that part would replace the whole downstream.
//! Therefore its commit record stays beside the place of the file, as `HH.expired.json`. An hour is *expired* when that is
//! there and its Parquet file is not. To delete the record by hand opens the hour again.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::fault;
use crate::files;
use crate::folders::{Kind, list};
use crate::hour::Hour;
use crate::lock::DatasetLock;
use crate::name::Name;
use crate::paths::{Area, Tree, is_date_part, is_draft};
use crate::publish::{Draft, publish};

impl Tree {
    /// Removes published hours for good. Their records are durable before the first file is removed.
    pub fn expire_parquet(&self, _: &DatasetLock, dataset: &Name, hours: &[(Hour, Commit)]) -> Result<()> {
        let mut records = Vec::with_capacity(hours.len());
        for (hour, commit) in hours {
            let draft = Draft::new(self.expired(dataset, *hour))?;
            fs::write(draft.path(), commit.to_json() + "\n").map_err(Error::at("write", draft.path()))?;
            records.push(draft);
        }
        publish(records)?;
        fault::point("expire.recorded");
        hours.iter().try_for_each(|(hour, _)| remove(&self.parquet(dataset, *hour)))
    }

    /// The commit record of what was removed of an expired hour; its `rows` are not known.
    pub fn expired_record(&self, dataset: &Name, hour: Hour) -> Result<Commit> {
        let path = self.expired(dataset, hour);
        serde_json::from_slice(&files::read(&path)?).map_err(|error| {
            let detail = format!("is not the record of an expired hour: {error}");
            Error::invalid(&path, detail, "put it back from a backup, or delete it to open the hour again")
        })
    }

    /// Whether an hour of `dataset` is expired.
    pub fn is_expired(&self, dataset: &Name, hour: Hour) -> Result<bool> {
        // The record is looked for first, because it is there before the file is removed.
        Ok(files::exists(&self.expired(dataset, hour))? && !files::exists(&self.parquet(dataset, hour))?)
    }

    /// Removes a file of the quarantine, or one that was never published; no other.
    pub fn remove_unneeded(&self, path: &Path) -> Result<()> {
        if is_draft(path) || path.starts_with(self.root().join(Area::Quarantine.as_str())) {
            return remove(path);
        }
        Err(Error::invalid(path, "is not in quarantine/ and is not removed", None))
    }

    /// The folders of dates of `name` in `area` that will be empty when the files `gone` are, deepest first. Not those of the
    /// hour `now`, because somebody may be about to create a file there.
    pub fn empty_folders(&self, area: Area, name: &Name, gone: &BTreeSet<PathBuf>, now: Hour) -> Result<Vec<PathBuf>> {
        let root = self.folder(area, name);
        let mut found = Vec::new();
        if root.is_dir() {
            find_empty(&root, 3, gone, &root.join(now.path()), &mut found)?;
        }
        Ok(found)
    }

    /// Removes a folder if it is (still) empty; says whether it did.
    pub fn remove_empty_folder(&self, path: &Path) -> Result<bool> {
        use ErrorKind::{DirectoryNotEmpty, NotADirectory, NotFound};
        match fs::remove_dir(path) {
            Ok(()) => Ok(true),
            // Filled again, removed already, or replaced by a link: somebody else uses it.
            Err(error) if [DirectoryNotEmpty, NotFound, NotADirectory].contains(&error.kind()) => Ok(false),
            Err(error) => Err(Error::at("remove the empty folder", path)(error)),
        }
    }

    /// Removes the empty folders of a data set, and its own if it is empty then. Nothing is done under the lock after this.
    pub fn remove_without_files(&self, _: &DatasetLock, dataset: &Name) -> Result<()> {
        let mut empty = self.empty_folders(Area::Parquet, dataset, &BTreeSet::new(), Hour::MIN)?;
        empty.push(self.folder(Area::Parquet, dataset));
        empty.iter().try_for_each(|folder| self.remove_empty_folder(folder).map(|_| ()))
    }
}

/// Adds the folders at and below `path` that will be empty to `found`; says whether `path` itself will be. The folders above
/// `kept` stay, and so does the folder of the stream or data set: that has 3 `levels` of dates below it.
fn find_empty(
    path: &Path,
    levels: usize,
    gone: &BTreeSet<PathBuf>,
    kept: &Path,
    found: &mut Vec<PathBuf>,
) -> Result<bool> {
    let mut is_empty = !kept.starts_with(path);
    for (name, kind) in list(path)? {
        let below = path.join(&name);
        is_empty &= match kind {
            Kind::Folder => levels > 0 && is_date_part(&name) && find_empty(&below, levels - 1, gone, kept, found)?,
            Kind::File | Kind::Other => gone.contains(&below),
        };
    }
    if is_empty && levels < 3 {
        found.push(path.to_owned());
    }
    Ok(is_empty)
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
