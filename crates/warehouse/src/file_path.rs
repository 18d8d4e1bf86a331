//! The path of a warehouse that is a file, checked before anything is made: DuckDB takes much more than paths, and makes what
//! is not there.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use anyhow::Context as _;
use cli::Usage;

use crate::args::WarehouseArgs;

/// How long to wait for another process that has the file open or locked.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What the files of a database begin with, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    name: &'static str,
    target: &'static str,
    at: usize,
    magic: &'static [u8],
}

pub(crate) const DUCKDB: Format = Format { name: "DuckDB", target: "duckdb", at: 8, magic: b"DUCK" };
pub(crate) const SQLITE: Format = Format { name: "SQLite", target: "sqlite", at: 0, magic: b"SQLite format 3\0" };

/// The file that the arguments or the environment name, else `default`; an absolute path, which nothing can take for
/// anything else.
pub(crate) fn path(args: &WarehouseArgs, default: PathBuf) -> anyhow::Result<PathBuf> {
    let Some(path) = args.file() else { return Ok(absolute(default)?) };
    let text = path.to_string_lossy();
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if text.split_once(':').is_some_and(|(before, _)| is_word(before)) {
        let text = format!("--file {text}: a warehouse is a file of this machine; if this is its name, write ./{text}");
        return Err(Usage(text).into());
    }
    Ok(absolute(&path)?)
}

/// Whether there is a file of this format; none if there is no file yet, but could be.
pub(crate) fn exists(path: &Path, format: Format) -> anyhow::Result<bool> {
    let place = path.display();
    let cannot = || format!("{place}: cannot be opened");
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => anyhow::bail!("{place}: is a folder: --file takes the path of a file"),
        Ok(metadata) if !metadata.is_file() => anyhow::bail!("{place}: is not a regular file: name another one"),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match path.parent() {
                Some(folder) if !folder.is_dir() => {
                    anyhow::bail!("{place}: there is no folder {}: make it, or name another file", folder.display())
                }
                _ => Ok(false),
            };
        }
        Err(error) => return Err(error).with_context(cannot),
    }
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(16).read_to_end(&mut head)).with_context(cannot)?;
    let is = |format: Format| head.get(format.at..).is_some_and(|bytes| bytes.starts_with(format.magic));
    match [DUCKDB, SQLITE].into_iter().find(|format| is(*format)) {
        Some(found) if found == format => Ok(true),
        Some(found) => anyhow::bail!(
            "{place}: cannot be opened: it is a {} file, and not one of {}: name another file, or say --target {}",
            found.name,
            format.name,
            found.target
        ),
        // SQLite makes its files like that.
        None if head.is_empty() && format == SQLITE => Ok(true),
        None => anyhow::bail!(
            "{place}: cannot be opened: it is not a {} file: name another one, or move it away",
            format.name
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(file: &str) -> anyhow::Result<PathBuf> {
        path(&WarehouseArgs { file: Some(file.into()), ..WarehouseArgs::default() }, PathBuf::new())
    }

    #[test]
    fn what_is_no_path_is_wrong_usage() {
        for file in ["md:foo", "md:", ":memory:", "http://plant/x.duckdb", "s3://bucket/x", "file:x?mode=ro"] {
            assert!(named(file).unwrap_err().is::<Usage>(), "{file}");
        }
        for file in ["/var/a:b", "./md:foo", "it's a: name.duckdb", "x?.duckdb"] {
            assert!(named(file).unwrap().is_absolute(), "{file}");
        }
    }
}
