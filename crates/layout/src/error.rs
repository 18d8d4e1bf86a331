//! Errors of the tree: what was tried, on which path, what the system said, and what to do about it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::paths::DatasetHour;

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
#[derive(Debug)]
pub enum Error {
    /// The system refused an operation on a path.
    Io {
        /// What was tried, as an infinitive.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said. Part of the message and so not its source, which a chain of causes would say again.
        error: io::Error,
    },
    /// A Parquet file that was made for another hour or data set than its path says.
    Misplaced {
        /// Where it is.
        path: PathBuf,
        /// Where it belongs.
        belongs: DatasetHour,
    },
    /// A file of the tree is not what its name says.
    Invalid {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        detail: String,
        /// What to do about it; none for a mistake of the program.
        remedy: Option<&'static str>,
    },
    /// A write to a segment failed, and what it left behind could not be removed. The segment must not be written again.
    NotRolledBack {
        /// The segment.
        path: PathBuf,
        /// The length that it had before, in bytes.
        len: u64,
        /// What the system said.
        error: io::Error,
    },
}

impl Error {
    /// Makes a closure that adds the path to an [`io::Error`].
    pub(crate) fn at<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |error| Self::Io { action, path: path.to_owned(), error: error.into() }
    }

    pub(crate) fn invalid(path: &Path, detail: impl Into<String>, remedy: impl Into<Option<&'static str>>) -> Self {
        Self::Invalid { path: path.to_owned(), detail: detail.into(), remedy: remedy.into() }
    }

    /// The system's error, if it was one.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Misplaced { .. } | Self::Invalid { .. } | Self::NotRolledBack { .. } => None,
        }
    }

    /// Whether the path was not there.
    pub fn is_not_found(&self) -> bool {
        self.io().is_some_and(|error| error.kind() == ErrorKind::NotFound)
    }

    /// What is wrong, without the remedy.
    pub fn problem(&self) -> String {
        match self {
            Self::Io { action, path, error } => format!("{}: cannot {action}: {error}", path.display()),
            Self::Misplaced { path, belongs } => format!("{}: was made for {belongs}", path.display()),
            Self::Invalid { path, detail, .. } => format!("{}: {detail}", path.display()),
            Self::NotRolledBack { path, len, error } => {
                format!("{}: cannot be cut back to {len} bytes after a failed write: {error}", path.display())
            }
        }
    }

    /// What to do about it, as an order; none where the problem says it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Io { action, error, .. } => of_system(action, error).map(str::to_owned),
            Self::Misplaced { belongs, .. } => {
                Some(format!("move it to {} if there is no such file, else out of the tree", belongs.file().display()))
            }
            Self::Invalid { remedy, .. } => remedy.map(str::to_owned),
            Self::NotRolledBack { .. } => Some("mend the disk".to_owned()),
        }
    }
}

/// What to do about an error of the system.
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem())?;
        self.remedy().map_or(Ok(()), |remedy| write!(f, ": {remedy}"))
    }
}

impl std::error::Error for Error {}

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
        let remedy = |action, errno: Errno| Error::at(action, Path::new("x"))(errno).remedy().unwrap();
        assert_eq!(remedy("write", Errno::NOSPC), "make room");
        assert_eq!(remedy("create", Errno::ROFS), "make it writable");
        assert_eq!(remedy("create", Errno::ACCESS), "make it writable");
        assert_eq!(remedy("create", Errno::MFILE), "raise the limit of open files (ulimit -n)");
        assert_eq!(remedy("sync", Errno::IO), "mend the disk");
        let misplaced = Error::Misplaced {
            path: "parquet/telemetry/2025/09/02/11.parquet".into(),
            belongs: DatasetHour { dataset: "telemetry".parse().unwrap(), hour: "2025-09-02T10".parse().unwrap() },
        };
        assert!(misplaced.to_string().contains(
            "was made for telemetry 2025-09-02T10: move it to parquet/telemetry/2025/09/02/10.parquet if there is no such"
        ));
    }
}
