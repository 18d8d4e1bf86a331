//! What can have become of a transaction that failed.

use cli::TryAgain;

/// The warehouse was asked to commit and did not say that it has: only its load log knows.
#[derive(Debug)]
pub struct Unanswered;

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the warehouse was asked to commit, and did not say that it has")
    }
}

/// The warehouse stopped taking rows in the middle of them: the process has to [`give_up`](cli::give_up), for it can neither
/// go on with the warehouse nor let go of it.
#[derive(Debug)]
pub struct BrokenOff;

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the rows broke off")
    }
}

/// Whether a transaction that failed has left no trace, and may succeed later.
pub(crate) fn is_undone(error: &anyhow::Error) -> bool {
    error.is::<TryAgain>() && !error.is::<Unanswered>() && !error.is::<BrokenOff>()
}
