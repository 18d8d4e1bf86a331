//! What is in the tree. Names that no program gives are passed over.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::path::PathBuf;

use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};

use crate::commit::Commit;
use crate::error::Result;
use crate::files::warn_of_irregular;
use crate::folders::{Kind, list};
use crate::hour::{Hour, HourRange};
use crate::name::{Name, SegmentName};
use crate::paths::{Area, EXPIRED, PARQUET, SealedSegment, Tree, is_date_part, is_draft, may_hold};

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

impl Tree {
    /// The streams or data sets that have a folder in `area`.
    pub fn names(&self, area: Area) -> Result<Vec<Name>> {
        let folders = list(&self.root().join(area.as_str()))?.into_iter().filter(|(_, kind)| *kind == Kind::Folder);
        Ok(folders.filter_map(|(name, _)| name.to_str()?.parse().ok()).collect())
    }

    /// The sealed segments of `stream` in raw/ or quarantine/, by hour and age.
    pub fn sealed_segments(&self, area: Area, stream: &Name, range: HourRange) -> Result<Vec<SealedSegment>> {
        let files = self.files(area, stream, range, |rest| segment_name(area, rest, ".json"))?;
        let mut segments: Vec<_> =
            files.into_iter().map(|(hour, name, path)| SealedSegment { hour, name, path }).collect();
        segments.sort_by(|a, b| (a.hour, &a.name).cmp(&(b.hour, &b.name)));
        Ok(segments)
    }

    /// The segments of `stream` that are open, with a living writer or not, as they will be when they are sealed.
    pub fn open_segments(&self, area: Area, stream: &Name) -> Result<Vec<SealedSegment>> {
        let files = self.files(area, stream, HourRange::ALL, |rest| segment_name(area, rest, ".json.open"))?;
        Ok(files.into_iter().map(|(hour, name, _)| self.segment(area, stream, hour, name)).collect())
    }

    /// The published hours of `dataset`, in order.
    pub fn parquet_files(&self, dataset: &Name, range: HourRange) -> Result<Vec<ParquetFile>> {
        Ok(self.parquet_and_expired(dataset, range)?.0)
    }

    /// What there is of `dataset`: the published hours with their commit records, and the expired ones.
    pub fn hours(&self, dataset: &Name, range: HourRange) -> Result<Hours> {
        let (files, mut records) = self.parquet_and_expired(dataset, range)?;
        let commit = |file: &ParquetFile| self.commit(dataset, file.hour).transpose();
        let commits: Vec<_> = files.par_iter().with_min_len(64).map(commit).collect();
        let mut published = Vec::with_capacity(files.len());
        for (file, commit) in files.into_iter().zip(commits) {
            match commit {
                Some(commit) => published.push((file, commit)),
                // Removed since the listing. Retention wrote its record before, but perhaps after the listing.
                None => records.push(file.hour),
            }
        }
        let expired = records.into_iter().filter(|hour| self.is_expired(dataset, *hour).unwrap_or(true)).collect();
        Ok(Hours { published, expired })
    }

    /// As `hours`, without reading records. One listing for both, because it takes as long as reading the commit records.
    fn parquet_and_expired(&self, dataset: &Name, range: HourRange) -> Result<(Vec<ParquetFile>, Vec<Hour>)> {
        let (mut files, mut records) = (Vec::new(), Vec::new());
        let is_record = |rest: &str| [PARQUET, EXPIRED].contains(&rest).then_some(rest == EXPIRED);
        for (hour, is_record, path) in self.files(Area::Parquet, dataset, range, is_record)? {
            if is_record { records.push(hour) } else { files.push(ParquetFile { hour, path }) }
        }
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
    pub fn unpublished(&self, area: Area, name: &Name) -> Result<Vec<(PathBuf, Metadata)>> {
        let mut files = Vec::new();
        for (_, day) in self.days(area, name, HourRange::ALL)? {
            for (file, kind) in list(&day)? {
                let path = day.join(&file);
                if kind == Kind::File && is_draft(&path) {
                    // One that is gone was published or removed meanwhile.
                    files.extend(fs::metadata(&path).ok().map(|metadata| (path, metadata)));
                }
            }
        }
        Ok(files)
    }

    /// The files of `name` in `area` with their hours, and with what `parse` makes of their names after `HH.`, if anything.
    fn files<T>(
        &self,
        area: Area,
        name: &Name,
        range: HourRange,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<(Hour, T, PathBuf)>> {
        let mut files = Vec::new();
        for (folder, day) in self.days(area, name, range)? {
            for (file, kind) in list(&day)? {
                let Some((prefix, rest)) = file.to_str().and_then(|file| file.split_once('.')) else { continue };
                if let Some(parsed) = parse(rest)
                    && let Some(hour) = Hour::from_parts(&folder, prefix)
                    && range.contains(hour)
                {
                    let path = day.join(&file);
                    if kind == Kind::File { files.push((hour, parsed, path)) } else { warn_of_irregular(&path) }
                }
            }
        }
        Ok(files)
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

fn segment_name(area: Area, rest: &str, suffix: &str) -> Option<SegmentName> {
    if area == Area::Parquet { None } else { rest.strip_suffix(suffix)?.parse().ok() }
}
