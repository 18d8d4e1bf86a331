//! Folders: made durably, synced, and listed although others change them meanwhile.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fault;
use crate::tree::Area;

/// How often to make what somebody tidies away at the same moment. More often than that, it is something else.
const ATTEMPTS: u32 = 10_000;

/// Makes `path` and the folders above it that are missing, each of them durable in its parent.
pub(crate) fn create(path: &Path) -> Result<()> {
    again(|| make_missing(path)?.into_iter().try_for_each(sync))
}

/// Creates the file `path`, and its folder if that is missing; while it is there, nobody tidies the folder away. Neither
/// name is durable: [`sync_names`] does that when there is something in the file.
pub(crate) fn create_file(path: &Path) -> Result<File> {
    again(|| {
        make_missing(path.parent().unwrap_or(path))?;
        // For reading too: whoever holds the descriptor can copy what is in it, whatever becomes of the name.
        OpenOptions::new().read(true).append(true).create_new(true).open(path).map_err(Error::at("create", path))
    })
}

/// Makes `path` and the folders above it that are missing. Returns the folders that got a new entry, to be synced.
fn make_missing(path: &Path) -> Result<Vec<&Path>> {
    if path.is_dir() {
        return Ok(Vec::new());
    }
    let parent = path.parent().unwrap_or(path);
    let mut changed = if parent.as_os_str().is_empty() { Vec::new() } else { make_missing(parent)? };
    match fs::create_dir(path) {
        Ok(()) => {
            fault::point("folder.made");
            changed.push(parent);
        }
        // By another process just now; or it is a file, or a link to nothing, which stays in the way.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::symlink_metadata(path) {
            Ok(there) if there.is_dir() || (there.is_symlink() && path.is_dir()) => {}
            Ok(_) => return Err(Error::at("create the folder", path)(error)),
            Err(error) => return Err(Error::at("look at", path)(error)),
        },
        Err(error) => return Err(Error::at("create the folder", path)(error)),
    }
    Ok(changed)
}

/// Does again what failed because somebody tidied an empty folder away in between.
pub(crate) fn again<T>(make: impl Fn() -> Result<T>) -> Result<T> {
    let mut attempts = 1..ATTEMPTS;
    loop {
        match make() {
            Err(error) if error.is_not_found() && attempts.next().is_some() => {}
            done => return done,
        }
    }
}

/// Makes the name of `file` durable, and the names of the folders that lead to it: another process may have made one of
/// them a moment ago and died before it was synced.
pub(crate) fn sync_names<'p>(files: impl IntoIterator<Item = &'p Path>) -> Result<()> {
    folders(files).into_iter().try_for_each(sync)
}

/// The folders that [`sync_names`] syncs.
fn folders<'p>(files: impl IntoIterator<Item = &'p Path>) -> BTreeSet<&'p Path> {
    files.into_iter().flat_map(|file| file.ancestors().skip(1).take(depth(file))).collect()
}

/// Opens the folders whose sync makes the names of `files` durable, to be synced by [`sync_all`]: [`sync_names`] in two
/// steps, of which only the second can leave a folder in an unknown state.
pub(crate) fn open_folders<'p>(files: impl IntoIterator<Item = &'p Path>) -> Result<Vec<(PathBuf, File)>> {
    folders(files).into_iter().map(|path| Ok((path.to_owned(), open(path)?))).collect()
}

/// Makes the entries of `folders` durable.
pub(crate) fn sync_all(folders: &[(PathBuf, File)]) -> Result<()> {
    folders.iter().try_for_each(|(path, folder)| flush(path, folder))
}

/// How many folders lead from the data directory, itself counted, to `file`.
fn depth(file: &Path) -> usize {
    // <data directory>/<area>/<name>/YYYY/MM/DD/<file>
    let area = file.ancestors().nth(5).and_then(Path::file_name);
    if area.is_some_and(|name| Area::ALL.iter().any(|area| name == area.as_str())) { 6 } else { 1 }
}

/// Makes the entries of `path` durable.
pub(crate) fn sync(path: &Path) -> Result<()> {
    flush(path, &open(path)?)
}

fn flush(path: &Path, folder: &File) -> Result<()> {
    let synced = fault::fails("folder.sync").and_then(|()| folder.sync_all());
    synced.map_err(Error::at("sync the folder", path))?;
    fault::point("folder.synced");
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).map_err(Error::at("open the folder", path))
}

/// The names in `path` in order, with whether each is a folder. A folder that is not there has none.
pub(crate) fn list(path: &Path) -> Result<Vec<(OsString, bool)>> {
    let entries = match fault::fails("folder.list").and_then(|()| fs::read_dir(path)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::at("list the folder", path)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::at("list the folder", path))?;
        // A link counts as what it points to: a stream may be put on another disk by one.
        let folder = match entry.file_type() {
            Ok(kind) if kind.is_symlink() => entry.path().is_dir(),
            Ok(kind) => kind.is_dir(),
            Err(_) => continue,
        };
        names.push((entry.file_name(), folder));
    }
    names.sort_unstable();
    fault::point("folder.listed");
    Ok(names)
}
