//! Errors of the tree: what was tried, on which path, and what the system said.

use std::io;
use std::path::{Path, PathBuf};

use crate::commit::DatasetHour;

/// A result whose error names its path.
pub type Result<T> = std::result::Result<T, Error>;

/// Something in the tree could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused an operation on a path.
    #[error("{}: cannot {action}: {error}", path.display())]
    Io {
        /// What was tried, as an infinitive.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said. Part of the message and so not its source, which a chain of causes would say again.
        error: io::Error,
    },
    /// A Parquet file that was made for another place than the one where it is.
    #[error("{}: was made for {place}", path.display())]
    Misplaced {
        /// Where it is.
        path: PathBuf,
        /// Where it belongs.
        place: DatasetHour,
    },
    /// A file of the tree is not what its name says.
    #[error("{}: {detail}", path.display())]
    Invalid {
        /// Where.
        path: PathBuf,
        /// What is wrong and what to do about it.
        detail: String,
    },
}

impl Error {
    /// Makes a closure that puts the place to an [`io::Error`].
    pub(crate) fn at<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |error| Self::Io { action, path: path.to_owned(), error: error.into() }
    }

    pub(crate) fn invalid(path: &Path, detail: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), detail: detail.into() }
    }

    /// The system's error, if it was one.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Misplaced { .. } | Self::Invalid { .. } => None,
        }
    }

    /// Whether the path was not there.
    pub fn is_not_found(&self) -> bool {
        self.io().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_the_system_said_is_said_once() {
        let error = Error::at("open", Path::new("x"))(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(error.to_string(), "x: cannot open: entity not found");
        assert!(error.source().is_none() && error.is_not_found());
    }
}
