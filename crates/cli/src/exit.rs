//! What a run ends with, and the errors that have an exit status of their own.

/// How a run ended that did not fail outright.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is done, or there was nothing to do.
    Done,
    /// Some of it is done; what failed was named on stderr.
    Partial,
    /// A signal ended it before its time; what was begun is finished, nothing is half done.
    Interrupted,
}

/// An error of the command line that only shows when it is looked at as a whole: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// An error that goes away by itself: exit status 75.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TryAgain(pub String);

/// An error that was logged already, where it happened: exit status 1.
#[derive(Debug, thiserror::Error)]
#[error("see the message before")]
pub struct Reported;
