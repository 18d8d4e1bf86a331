//! The tree: where each file is, and what is there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::commit::Commit;
use crate::dirs;
use crate::error::{Error, Result};
use crate::expired;
use crate::fault;
use crate::hour::{Hour, HourRange};
use crate::lock::DatasetLock;
use crate::name::Name;
use crate::publish::Draft;
use crate::recover::derived_quarantine;
use crate::segment::{SealedSegment, SegmentName};

/// The three parts of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// What sources sent, accepted.
    Raw,
    /// What sources sent, rejected.
    Quarantine,
    /// Data sets.
    Parquet,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Quarantine, Self::Parquet];

    /// The folder's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Quarantine => "quarantine",
            Self::Parquet => "parquet",
        }
    }
}

/// The data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: PathBuf,
}

/// A published hour of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParquetFile {
    /// The hour.
    pub hour: Hour,
    /// Where it is.
    pub path: PathBuf,
}

/// What there is of a data set, in order of the hours. What cannot be read is an error in its place.
#[derive(Debug)]
pub struct Hours {
    /// The published hours with their commit records.
    pub published: Vec<(ParquetFile, Result<Commit>)>,
    /// The expired hours, and those of which that cannot be told.
    pub expired: BTreeSet<Hour>,
}

/// A segment that is open, or was when its writer died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    /// The hour its lines belong to.
    pub hour: Hour,
    /// Its name.
    pub name: SegmentName,
    /// Where it is.
    pub path: PathBuf,
}

/// A file that was never published, with the time of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Where it is.
    pub path: PathBuf,
    /// When it was last written to.
    pub modified: SystemTime,
}

impl Tree {
    /// The tree in the folder `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The embedded warehouse.
    pub fn warehouse(&self) -> PathBuf {
        self.root.join("warehouse.duckdb")
    }

    /// The embedded warehouse as a file of SQLite.
    pub fn sqlite_warehouse(&self) -> PathBuf {
        self.root.join("warehouse.sqlite")
    }

    /// A draft of an embedded warehouse, here or elsewhere, which [`publish_new`](crate::publish_new) publishes.
    pub fn draft_warehouse(path: &Path) -> Result<Draft> {
        Draft::unmade(path.to_owned())
    }

    /// `path` without the data directory, for messages and records.
    pub fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// The folder of a stream or data set.
    pub fn folder(&self, area: Area, name: &Name) -> PathBuf {
        self.root.join(area.as_str()).join(name.as_str())
    }

    pub(crate) fn segment(&self, area: Area, stream: &Name, hour: Hour, name: SegmentName) -> SealedSegment {
        let file = format!("{}.{name}.json", hour.prefix());
        let path = self.folder(area, stream).join(hour.folder()).join(file);
        SealedSegment { hour, name, path }
    }

    /// Where a sealed segment is, or would be.
    pub fn raw_segment(&self, stream: &Name, hour: Hour, name: &SegmentName) -> PathBuf {
        self.segment(Area::Raw, stream, hour, name.clone()).path
    }

    /// Where an hour of a data set is, or would be.
    pub fn parquet(&self, dataset: &Name, hour: Hour) -> PathBuf {
        let file = format!("{}.parquet", hour.prefix());
        self.folder(Area::Parquet, dataset).join(hour.folder()).join(file)
    }

    /// A draft of an hour of a data set. Only who holds the data set's lock publishes it.
    pub fn draft_parquet(&self, _: &DatasetLock, dataset: &Name, hour: Hour) -> Result<Draft> {
        Draft::new(self.parquet(dataset, hour))
    }

    /// A draft of the quarantine file for lines of a sealed segment that turn out to be damaged. It has the same name
    /// each time: rejecting the same lines again replaces their records.
    pub fn draft_damaged(&self, stream: &Name, segment: &SealedSegment) -> Result<Draft> {
        Draft::new(derived_quarantine(self, stream, segment, "damaged"))
    }

    /// Makes the folder of `name` in `area`, and fails unless we may create files in it. A full disk is no failure.
    pub fn check_writable(&self, area: Area, name: &Name) -> Result<()> {
        let folder = self.folder(area, name);
        match dirs::create(&folder) {
            Err(error) if error.io().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull) => return Ok(()),
            result => result?,
        }
        rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
            .map_err(Error::at("create files in", &folder))
    }

    /// The streams or data sets that have a folder in `area`.
    pub fn names(&self, area: Area) -> Result<Vec<Name>> {
        let names = dirs::list(&self.root.join(area.as_str()))?;
        Ok(names
            .into_iter()
            .filter_map(|(name, folder)| if folder { name.to_str()?.parse().ok() } else { None })
            .collect())
    }

    /// The sealed segments of `stream` in raw/ or quarantine/, by hour and age.
    pub fn sealed_segments(&self, area: Area, stream: &Name, range: HourRange) -> Result<Vec<SealedSegment>> {
        let mut segments = Vec::new();
        self.each_file(area, stream, range, |hour, name, path| {
            if let Some(name) = name.strip_suffix(".json").and_then(|name| name.parse().ok()) {
                segments.push(SealedSegment { hour, name, path });
            }
        })?;
        segments.sort_by(|a, b| (a.hour, &a.name).cmp(&(b.hour, &b.name)));
        Ok(segments)
    }

    /// The segments of `stream` that are open, with a living writer or not.
    pub fn open_files(&self, area: Area, stream: &Name) -> Result<Vec<OpenFile>> {
        let mut open = Vec::new();
        self.each_file(area, stream, HourRange::ALL, |hour, name, path| {
            if let Some(name) = name.strip_suffix(".json.open").and_then(|name| name.parse().ok()) {
                open.push(OpenFile { hour, name, path });
            }
        })?;
        Ok(open)
    }

    /// The published hours of `dataset`, in order.
    pub fn parquet_files(&self, dataset: &Name, range: HourRange) -> Result<Vec<ParquetFile>> {
        let mut files = Vec::new();
        self.each_file(Area::Parquet, dataset, range, |hour, name, path| {
            if name == "parquet" {
                files.push(ParquetFile { hour, path });
            }
        })?;
        files.sort_by_key(|file| file.hour);
        Ok(files)
    }

    /// What there is of `dataset`: the published hours with their commit records, and the expired ones.
    pub fn hours(&self, dataset: &Name, range: HourRange) -> Result<Hours> {
        let (mut files, mut records) = (Vec::new(), Vec::new());
        // In one walk, which costs as much as reading the records.
        self.each_file(Area::Parquet, dataset, range, |hour, name, path| match name {
            "parquet" => files.push(ParquetFile { hour, path }),
            expired::SUFFIX => records.push(hour),
            _ => {}
        })?;
        files.sort_unstable_by_key(|file| file.hour);
        let (published, removed) = read_commits(dataset, files);
        // Retention wrote a record, perhaps after the walk, before it removed the file.
        records.extend(removed.iter().map(|file| file.hour));
        let expired = records.into_iter().filter(|hour| self.is_expired(dataset, *hour).unwrap_or(true)).collect();
        Ok(Hours { published, expired })
    }

    /// The commit record of an hour; none if there is no such file. A link to a disk that is not there is an error.
    pub fn commit(&self, dataset: &Name, hour: Hour) -> Result<Option<Commit>> {
        let path = self.parquet(dataset, hour);
        match Commit::read_at(&path, dataset, hour) {
            Ok(commit) => Ok(Some(commit)),
            Err(error) if error.is_not_found() && path.symlink_metadata().is_err() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a published hour. Only who holds the data set's lock does.
    pub fn remove_parquet(&self, _: &DatasetLock, dataset: &Name, hour: Hour) -> Result<()> {
        remove(&self.parquet(dataset, hour))
    }

    /// Removes a file of the quarantine.
    pub fn remove_quarantined(&self, segment: &SealedSegment) -> Result<()> {
        if segment.path.starts_with(self.root.join(Area::Quarantine.as_str())) {
            remove(&segment.path)
        } else {
            Err(Error::invalid(&segment.path, "is not in quarantine/ and is not removed"))
        }
    }

    /// The files of `name` in `area` that were begun and not published: by a living process, or orphans of a dead one.
    pub fn unpublished(&self, area: Area, name: &Name) -> Result<Vec<Orphan>> {
        let mut orphans = Vec::new();
        for (_, day) in self.days(area, name, HourRange::ALL)? {
            for (file, folder) in dirs::list(&day)? {
                let text = file.as_encoded_bytes();
                if folder || !text.starts_with(b".") || !text.ends_with(b".tmp") {
                    continue;
                }
                let path = day.join(&file);
                // Published or removed meanwhile: not an orphan.
                if let Ok(metadata) = fs::metadata(&path) {
                    let modified = metadata.modified().map_err(Error::at("look at", &path))?;
                    orphans.push(Orphan { path, modified });
                }
            }
        }
        Ok(orphans)
    }

    /// Removes a file that was never published.
    pub fn remove_orphan(&self, orphan: &Orphan) -> Result<()> {
        remove(&orphan.path)
    }

    /// The folders of years, months and days of `name` that hold nothing but the files `removed` (in thought), deepest
    /// first: a folder that holds nothing but such folders is one as well. Those of the hour `current`, in which
    /// somebody may be about to create a file, do not count.
    pub fn empty_folders(
        &self,
        area: Area,
        name: &Name,
        removed: &BTreeSet<PathBuf>,
        current: Hour,
    ) -> Result<Vec<PathBuf>> {
        let root = self.folder(area, name);
        let kept = root.join(current.folder());
        let mut empty = Vec::new();
        if root.is_dir() {
            find_empty(&root, 3, removed, &kept, &mut empty)?;
        }
        Ok(empty)
    }

    /// Removes a folder if it is (still) empty; says whether it did.
    pub fn remove_empty_folder(&self, path: &Path) -> Result<bool> {
        match fs::remove_dir(path) {
            Ok(()) => Ok(true),
            // Somebody else's now: filled again, removed already, or replaced by a link.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
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
        for (name, is_folder) in dirs::list(path)? {
            if !is_folder || !self.remove_folder_without_files(&path.join(name))? {
                return Ok(false);
            }
        }
        self.remove_empty_folder(path)
    }

    /// Calls `each` for every file `HH.<rest>` of `name` in `area` with its hour, `<rest>` and its path.
    pub(crate) fn each_file(
        &self,
        area: Area,
        name: &Name,
        range: HourRange,
        mut each: impl FnMut(Hour, &str, PathBuf),
    ) -> Result<()> {
        for (folder, day) in self.days(area, name, range)? {
            for (file, is_folder) in dirs::list(&day)? {
                let Some((prefix, rest)) = file.to_str().and_then(|file| file.split_once('.')) else { continue };
                if let Some(hour) = Hour::from_parts(&folder, prefix)
                    && !is_folder
                    && range.contains(hour)
                {
                    each(hour, rest, day.join(&file));
                }
            }
        }
        Ok(())
    }

    /// The folders of days of `name` in `area` that may hold hours of `range`, as `YYYY/MM/DD` and as a path.
    fn days(&self, area: Area, name: &Name, range: HourRange) -> Result<Vec<(PathBuf, PathBuf)>> {
        let root = self.folder(area, name);
        let mut level = vec![PathBuf::new()];
        for _ in 0..3 {
            let mut next = Vec::new();
            for folder in level {
                for (name, is_folder) in dirs::list(&root.join(&folder))? {
                    let below = folder.join(&name);
                    if is_folder && is_number(&name) && may_hold(&below, range) {
                        next.push(below);
                    }
                }
            }
            level = next;
        }
        Ok(level.into_iter().map(|folder| (folder.clone(), root.join(folder))).collect())
    }
}

/// Reads the commit records of `files`, each one that cannot be read as an error in its place. Also returns the files
/// that were removed meanwhile.
fn read_commits(dataset: &Name, files: Vec<ParquetFile>) -> (Vec<(ParquetFile, Result<Commit>)>, Vec<ParquetFile>) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = files.len().div_ceil(threads).max(64);
    let mut commits = Vec::with_capacity(files.len());
    let read = |file: &ParquetFile| Commit::read_at(&file.path, dataset, file.hour);
    std::thread::scope(|scope| {
        let readers: Vec<_> =
            files.chunks(share).map(|files| scope.spawn(|| files.iter().map(read).collect::<Vec<_>>())).collect();
        for reader in readers {
            // A share that was missing would give each file after it the record of another.
            commits.extend(reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    let (mut published, mut removed) = (Vec::with_capacity(files.len()), Vec::new());
    for (file, commit) in files.into_iter().zip(commits) {
        match commit {
            // A link to nothing, though, is an hour on a disk that is not there.
            Err(error) if error.is_not_found() && file.path.symlink_metadata().is_err() => removed.push(file),
            commit => published.push((file, commit)),
        }
    }
    (published, removed)
}

/// Adds the folders at and below `path` that count as empty; says whether it is one itself. The folder of the stream or
/// data set, at depth 3, stays in any case.
fn find_empty(
    path: &Path,
    depth: usize,
    removed: &BTreeSet<PathBuf>,
    kept: &Path,
    empty: &mut Vec<PathBuf>,
) -> Result<bool> {
    let mut holds_nothing = !kept.starts_with(path);
    for (name, folder) in dirs::list(path)? {
        let below = path.join(&name);
        let goes = if folder {
            depth > 0 && is_number(&name) && find_empty(&below, depth - 1, removed, kept, empty)?
        } else {
            removed.contains(&below)
        };
        holds_nothing &= goes;
    }
    if holds_nothing && depth < 3 {
        empty.push(path.to_owned());
    }
    Ok(holds_nothing)
}

fn is_number(name: &OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

/// Whether the folder `YYYY[/MM[/DD]]` may hold hours of `range`.
fn may_hold(folder: &Path, range: HourRange) -> bool {
    let Some(first) = folder.to_str().and_then(|text| text.replace('/', "-").parse::<Hour>().ok()) else {
        return false;
    };
    let hours = match folder.components().count() {
        1 => 366 * 24,
        2 => 31 * 24,
        _ => 24,
    };
    range.overlaps(first, first.plus(hours - 1))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::at("remove", path)(error)),
        _ => {
            fault::point("removed");
            Ok(())
        }
    }
}
