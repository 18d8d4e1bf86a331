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
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error that goes away by itself: exit status 75.
#[derive(Debug)]
pub struct TryAgain(pub String);

impl std::fmt::Display for TryAgain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TryAgain {}

/// An error that was logged already, where it happened: exit status 1.
#[derive(Debug)]
pub struct Reported;

impl std::fmt::Display for Reported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("see the message before")
    }
}

impl std::error::Error for Reported {}
