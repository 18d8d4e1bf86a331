//! Errors of the tree: what was tried, on which path, what the system said, and what to do about it.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::io::Errno;

use crate::paths::{DatasetHour, Tree};

/// A result whose error names its path.
pub type Result<T> = std::result::Result<T, Error>;

/// What to do about a Parquet file that is damaged, or that is not what its name in the tree says.
pub const RESTORE: &str = "put it back from a backup, or move it out of the tree, and aggregate makes it again if none of \
                           its inputs has expired; an hour of a stream is lost then";

/// What to say of a Parquet file whose rows cannot be read, before what the reader said.
pub fn unreadable_rows() -> String {
    format!("cannot be read to its end; if it is damaged, {RESTORE}")
}

/// Something in the tree could not be done. As text it is one sentence with its remedy.
#[derive(Debug, thiserror::Error)]
#[error("{problem}{}", remedy.as_ref().map(|remedy| format!(": {remedy}")).unwrap_or_default())]
pub struct Error {
    /// What is wrong and where, without the remedy.
    pub problem: String,
    /// What to do about it, as an order; none where the problem says it.
    pub remedy: Option<String>,
    /// What the system said. Part of the problem and so not the source, which a chain of causes would say again.
    io: Option<io::Error>,
    /// Whether what a failed write left in a segment could not be removed: the segment must not be written again.
    pub is_not_rolled_back: bool,
}

impl Error {
    /// What is wrong with a part of the tree, and what to do about it.
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: Some(remedy.into()), io: None, is_not_rolled_back: false }
    }

    /// Makes a closure that adds the path and what was tried, an infinitive, to an [`io::Error`].
    pub(crate) fn at<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |error| {
            let error = error.into();
            let problem = format!("{}: cannot {action}: {error}", path.display());
            let remedy = of_system(action, &error).map(str::to_owned);
            Self { problem, remedy, io: Some(error), is_not_rolled_back: false }
        }
    }

    /// A file of the tree is not what its name says. There is no remedy for a mistake of the program.
    pub(crate) fn invalid<'r>(path: &Path, detail: impl Display, remedy: impl Into<Option<&'r str>>) -> Self {
        let problem = format!("{}: {detail}", path.display());
        Self { problem, remedy: remedy.into().map(str::to_owned), io: None, is_not_rolled_back: false }
    }

    /// A Parquet file that was made for another hour or data set than its path says.
    pub(crate) fn misplaced(path: &Path, DatasetHour { dataset, hour }: &DatasetHour) -> Self {
        let belongs = Tree::new("").parquet(dataset, *hour);
        let remedy = format!("move it to {} if there is no such file, else out of the tree", belongs.display());
        Self::invalid(path, format_args!("was made for {dataset} {hour}"), remedy.as_str())
    }

    /// The segment at `path` could not be cut back to `len` bytes, the length that it had before a failed write.
    pub(crate) fn not_rolled_back(path: &Path, len: u64, error: &io::Error) -> Self {
        let detail = format!("cannot be cut back to {len} bytes after a failed write: {error}");
        Self { is_not_rolled_back: true, ..Self::invalid(path, detail, "mend the disk") }
    }

    /// The system's error, if it was one.
    pub fn io(&self) -> Option<&io::Error> {
        self.io.as_ref()
    }

    /// Whether the path was not there.
    pub fn is_not_found(&self) -> bool {
        self.io().is_some_and(|error| error.kind() == ErrorKind::NotFound)
    }
}

fn of_system(action: &str, error: &io::Error) -> Option<&'static str> {
    let reads = ["open", "read", "read the footer", "look at", "open the folder", "list the folder"].contains(&action);
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some("make room"),
        ErrorKind::PermissionDenied if reads => Some("make it readable"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Some("make it writable"),
        ErrorKind::NotFound => Some("bring back the disk or folder that it is on"),
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            Some("move what is in its place out of the tree")
        }
        _ => match Errno::from_io_error(error)? {
            Errno::LOOP => Some("mend the link"),
            Errno::MFILE | Errno::NFILE => Some("raise the limit of open files (ulimit -n)"),
            _ => Some("mend the disk"),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_the_system_said_is_said_once() {
        let error = Error::at("open", Path::new("x"))(io::Error::from(ErrorKind::PermissionDenied));
        assert_eq!(error.to_string(), "x: cannot open: permission denied: make it readable");
        assert!(error.source().is_none() && !error.is_not_found());
    }

    #[test]
    fn the_remedy_is_that_of_the_cause() {
        let remedy = |action, errno: Errno| Error::at(action, Path::new("x"))(errno).remedy.unwrap();
        assert_eq!(remedy("write", Errno::NOSPC), "make room");
        assert_eq!(remedy("create", Errno::ROFS), "make it writable");
        assert_eq!(remedy("create", Errno::ACCESS), "make it writable");
        assert_eq!(remedy("create", Errno::MFILE), "raise the limit of open files (ulimit -n)");
        assert_eq!(remedy("sync", Errno::IO), "mend the disk");
        let belongs = DatasetHour { dataset: "telemetry".parse().unwrap(), hour: "2025-09-02T10".parse().unwrap() };
        let misplaced = Error::misplaced(Path::new("parquet/telemetry/2025/09/02/11.parquet"), &belongs);
        assert!(misplaced.to_string().contains(
            "was made for telemetry 2025-09-02T10: move it to parquet/telemetry/2025/09/02/10.parquet if there is no such"
        ));
    }
}
