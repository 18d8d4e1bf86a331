//! Folders: made durably, synced, and listed although others change them meanwhile.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fault;
use crate::name::Name;
use crate::paths::{Area, Tree, depth};

/// Makes `path` and the folders above it that are missing, each of them durable in its parent.
pub(crate) fn create(path: &Path) -> Result<()> {
    retry(|| make_missing(path)?.into_iter().try_for_each(sync))
}

/// Creates a file and its folder, which housekeep then keeps. [`sync_names`] is called when there is something in the file.
pub(crate) fn create_file(path: &Path) -> Result<File> {
    retry(|| {
        make_missing(path.parent().unwrap_or(path))?;
        // For reading too, so that who holds the descriptor can copy the content after the name was removed.
        OpenOptions::new().read(true).append(true).create_new(true).open(path).map_err(Error::at("create", path))
    })
}

/// Makes `path` and the folders above it that are missing. Returns the folders that got a new entry, to be synced.
fn make_missing(path: &Path) -> Result<Vec<&Path>> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.is_dir();
    let missing: Vec<_> = path.ancestors().take_while(is_missing).collect();
    let mut changed = Vec::new();
    for folder in missing.into_iter().rev() {
        match fs::create_dir(folder) {
            Ok(()) => {
                fault::point("folder.made");
                changed.extend(folder.parent());
            }
            // Another process has just made it, and housekeep may have removed it; a file or a link to nothing is an error.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let there = fs::symlink_metadata(folder).map_err(Error::at("look at", folder))?;
                if !there.is_dir() && !folder.is_dir() {
                    return Err(Error::at("create the folder", folder)(error));
                }
            }
            Err(error) => return Err(Error::at("create the folder", folder)(error)),
        }
    }
    Ok(changed)
}

/// Repeats what failed because housekeep removed an empty folder in between.
pub(crate) fn retry<T>(make: impl Fn() -> Result<T>) -> Result<T> {
    // After so many attempts housekeep cannot be the reason.
    let mut attempts = 1..10_000;
    loop {
        match make() {
            Err(error) if error.is_not_found() && attempts.next().is_some() => {}
            done => return done,
        }
    }
}

/// Makes the names of `files` durable, and those of the folders above: who made one may have died before it was synced.
pub(crate) fn sync_names<'p>(files: impl IntoIterator<Item = &'p Path>) -> Result<()> {
    folders_above(files).into_iter().try_for_each(sync)
}

fn folders_above<'p>(files: impl IntoIterator<Item = &'p Path>) -> BTreeSet<&'p Path> {
    files.into_iter().flat_map(|file| file.ancestors().skip(1).take(depth(file))).collect()
}

/// The first step of [`sync_names`]. Only after a failure of the second, [`sync_all`], it is unknown what is durable.
pub(crate) fn open_folders<'p>(files: impl IntoIterator<Item = &'p Path>) -> Result<Vec<(PathBuf, File)>> {
    folders_above(files).into_iter().map(|path| Ok((path.to_owned(), open(path)?))).collect()
}

pub(crate) fn sync_all(folders: &[(PathBuf, File)]) -> Result<()> {
    for (path, folder) in folders {
        let synced = fault::fails("folder.sync").and_then(|()| folder.sync_all());
        synced.map_err(Error::at("sync the folder", path))?;
        fault::point("folder.synced");
    }
    Ok(())
}

fn sync(path: &Path) -> Result<()> {
    sync_all(&[(path.to_owned(), open(path)?)])
}

fn open(path: &Path) -> Result<File> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).map_err(Error::at("open the folder", path))
}

/// What a name in a folder stands for. A link counts as what it points to: a stream may be put on another disk by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Folder,
    /// A regular file, or a link to nothing.
    File,
    /// A FIFO, a socket, a device.
    Other,
}

/// The names in `path` in order, with what they stand for. A folder that is not there has none.
pub(crate) fn list(path: &Path) -> Result<Vec<(OsString, Kind)>> {
    let entries = match fault::fails("folder.list").and_then(|()| fs::read_dir(path)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::at("list the folder", path)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::at("list the folder", path))?;
        let file_type = match entry.file_type() {
            Ok(link) if link.is_symlink() => fs::metadata(entry.path()).ok().map(|target| target.file_type()),
            Ok(file_type) => Some(file_type),
            Err(_) => continue,
        };
        let kind = match file_type {
            Some(file_type) if file_type.is_dir() => Kind::Folder,
            Some(file_type) if !file_type.is_file() => Kind::Other,
            _ => Kind::File,
        };
        names.push((entry.file_name(), kind));
    }
    names.sort_unstable();
    fault::point("folder.listed");
    Ok(names)
}

impl Tree {
    /// Fails unless this process may create files in the folder of `name`. A full disk is no failure: it can be emptied.
    pub fn check_writable(&self, area: Area, name: &Name) -> Result<()> {
        let folder = self.folder(area, name);
        match create(&folder) {
            Err(error) if error.io().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull) => return Ok(()),
            result => result?,
        }
        rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
            .map_err(Error::at("create files in", &folder))
    }
}
