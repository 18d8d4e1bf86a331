//! What is in the tree. Names that no program gives are passed over.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::files::warn_of_irregular;
use crate::folders::{Kind, list};
use crate::hour::{Hour, HourRange};
use crate::name::Name;
use crate::paths::{Area, FileKind, SealedSegment, Tree, is_date_part, may_hold};
use crate::removal::UnpublishedFile;
use crate::segment_name::SegmentName;

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

/// A segment that is not sealed: its writer is writing it, or has died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    /// The hour its lines belong to.
    pub hour: Hour,
    /// Its name.
    pub name: SegmentName,
    /// Where it is.
    pub path: PathBuf,
}

impl Tree {
    /// The streams or data sets that have a folder in `area`.
    pub fn names(&self, area: Area) -> Result<Vec<Name>> {
        let names = list(&self.root().join(area.as_str()))?;
        Ok(names
            .into_iter()
            .filter_map(|(name, kind)| if kind == Kind::Folder { name.to_str()?.parse().ok() } else { None })
            .collect())
    }

    /// The sealed segments of `stream` in raw/ or quarantine/, by hour and age.
    pub fn sealed_segments(&self, area: Area, stream: &Name, range: HourRange) -> Result<Vec<SealedSegment>> {
        let mut segments = Vec::new();
        self.each_file(area, stream, range, |hour, kind, path| {
            if let FileKind::Sealed(name) = kind {
                segments.push(SealedSegment { hour, name, path });
            }
        })?;
        segments.sort_by(|a, b| (a.hour, &a.name).cmp(&(b.hour, &b.name)));
        Ok(segments)
    }

    /// The segments of `stream` that are open, with a living writer or not.
    pub fn open_files(&self, area: Area, stream: &Name) -> Result<Vec<OpenFile>> {
        let mut open = Vec::new();
        self.each_file(area, stream, HourRange::ALL, |hour, kind, path| {
            if let FileKind::Open(name) = kind {
                open.push(OpenFile { hour, name, path });
            }
        })?;
        Ok(open)
    }

    /// The published hours of `dataset`, in order.
    pub fn parquet_files(&self, dataset: &Name, range: HourRange) -> Result<Vec<ParquetFile>> {
        Ok(self.parquet_and_expired(dataset, range)?.0)
    }

    /// What there is of `dataset`: the published hours with their commit records, and the expired ones.
    pub fn hours(&self, dataset: &Name, range: HourRange) -> Result<Hours> {
        let (files, mut records) = self.parquet_and_expired(dataset, range)?;
        let commits: Vec<_> =
            files.par_iter().with_min_len(64).map(|file| Commit::read_at(&file.path, dataset, file.hour)).collect();
        let mut published = Vec::with_capacity(files.len());
        for (file, commit) in files.into_iter().zip(commits) {
            match commit {
                // Removed since the listing. Retention wrote its record before, but perhaps after the listing.
                Err(error) if error.is_not_found() && !file.path.is_symlink() => records.push(file.hour),
                commit => published.push((file, commit)),
            }
        }
        let expired = records.into_iter().filter(|hour| self.is_expired(dataset, *hour).unwrap_or(true)).collect();
        Ok(Hours { published, expired })
    }

    /// The published hours of `dataset`, in order, and those that have a record of an expired hour. Both come from one
    /// listing, because listing takes as long as reading the commit records.
    fn parquet_and_expired(&self, dataset: &Name, range: HourRange) -> Result<(Vec<ParquetFile>, Vec<Hour>)> {
        let (mut files, mut records) = (Vec::new(), Vec::new());
        self.each_file(Area::Parquet, dataset, range, |hour, kind, path| match kind {
            FileKind::Parquet => files.push(ParquetFile { hour, path }),
            FileKind::Expired => records.push(hour),
            FileKind::Sealed(_) | FileKind::Open(_) => {}
        })?;
        files.sort_unstable_by_key(|file| file.hour);
        Ok((files, records))
    }

    /// The commit record of an hour; none if there is no such file. A link to a disk that is not there is an error.
    pub fn commit(&self, dataset: &Name, hour: Hour) -> Result<Option<Commit>> {
        let path = self.parquet(dataset, hour);
        match Commit::read_at(&path, dataset, hour) {
            Ok(commit) => Ok(Some(commit)),
            Err(error) if error.is_not_found() && !path.is_symlink() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The files of `name` in `area` that were begun and not published: by a living process, or by one that died.
    pub fn unpublished(&self, area: Area, name: &Name) -> Result<Vec<UnpublishedFile>> {
        let mut files = Vec::new();
        for (_, day) in self.days(area, name, HourRange::ALL)? {
            for (file, kind) in list(&day)? {
                let text = file.as_encoded_bytes();
                if kind != Kind::File || !text.starts_with(b".") || !text.ends_with(b".tmp") {
                    continue;
                }
                let path = day.join(&file);
                // One that is gone was published or removed meanwhile.
                if let Ok(metadata) = fs::metadata(&path) {
                    let modified = metadata.modified().map_err(Error::at("look at", &path))?;
                    files.push(UnpublishedFile { path, modified });
                }
            }
        }
        Ok(files)
    }

    /// Calls `each` for every file of `name` in `area` with its hour, what it is by its name, and its path.
    fn each_file(
        &self,
        area: Area,
        name: &Name,
        range: HourRange,
        mut each: impl FnMut(Hour, FileKind, PathBuf),
    ) -> Result<()> {
        for (folder, day) in self.days(area, name, range)? {
            for (file, kind) in list(&day)? {
                let Some((prefix, rest)) = file.to_str().and_then(|file| file.split_once('.')) else { continue };
                if let Some(file_kind) = FileKind::parse(area, rest)
                    && let Some(hour) = Hour::from_parts(&folder, prefix)
                    && range.contains(hour)
                {
                    let path = day.join(&file);
                    if kind == Kind::File { each(hour, file_kind, path) } else { warn_of_irregular(&path) }
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
                for (name, kind) in list(&root.join(&folder))? {
                    let below = folder.join(&name);
                    if kind == Kind::Folder && is_date_part(&name) && may_hold(&below, range) {
                        next.push(below);
                    }
                }
            }
            level = next;
        }
        Ok(level.into_iter().map(|folder| (folder.clone(), root.join(folder))).collect())
    }
}
