//! What can have become of a transaction that failed.

use cli::TryAgain;

/// The warehouse was asked to commit and did not say that it has: only its load log knows.
#[derive(Debug, thiserror::Error)]
#[error("the warehouse was asked to commit, and did not say that it has")]
pub struct Unanswered;

/// The warehouse stopped taking rows in the middle of them: the process has to [`give_up`](cli::give_up), for it can neither
/// go on with the warehouse nor let go of it.
#[derive(Debug, thiserror::Error)]
#[error("the rows broke off")]
pub struct BrokenOff;

/// Whether a transaction that failed has left no trace, and may succeed later.
pub(crate) fn is_undone(error: &anyhow::Error) -> bool {
    error.is::<TryAgain>() && !error.is::<Unanswered>() && !error.is::<BrokenOff>()
}
