//! Errors of the tree: what was tried, on which path, and what the system said.

use std::io;
use std::path::{Path, PathBuf};

/// A result whose error names its path.
pub type Result<T> = std::result::Result<T, Error>;

/// Something in the tree could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused an operation on a path.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was tried, as an infinitive.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
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
        move |source| Self::Io { action, path: path.to_owned(), source: source.into() }
    }

    pub(crate) fn invalid(path: &Path, detail: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), detail: detail.into() }
    }

    /// The system's error, if it was one.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Invalid { .. } => None,
        }
    }

    /// Whether the path was not there.
    pub fn is_not_found(&self) -> bool {
        self.io().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    }
}
