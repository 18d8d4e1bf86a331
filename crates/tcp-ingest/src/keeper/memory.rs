//! Which process the kernel is to kill when memory runs out: the worker, which can be had again, and not the keeper,
//! whose connections cannot.

use std::fs;
use std::sync::OnceLock;

const SCORE: &str = "/proc/self/oom_score_adj";

/// How much sooner a worker is to go than it would have been, and the keeper later if the system allows it.
const DIFFERENCE: i32 = 300;

static ORIGINAL: OnceLock<i32> = OnceLock::new();

fn read() -> i32 {
    fs::read_to_string(SCORE).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Puts the keeper out of the way; `original` is what it was before an earlier keeper did so.
pub(super) fn spare_keeper(original: Option<i32>) {
    let original = *ORIGINAL.get_or_init(|| original.unwrap_or_else(read));
    if original > -1000 {
        // Only a privileged process may; the worker's higher score is what counts.
        let _ = fs::write(SCORE, (original - DIFFERENCE).max(-999).to_string());
    }
}

/// What the score of this process was at first.
pub(super) fn original() -> i32 {
    *ORIGINAL.get_or_init(read)
}

/// The score of a worker.
pub(super) fn worker_score() -> String {
    (original() + DIFFERENCE).min(1000).to_string()
}

/// Gives this process, a worker, its score.
pub(crate) fn offer_worker(score: &str) {
    if let Err(error) = fs::write(SCORE, score) {
        log::debug!("{SCORE}: {error}");
    }
}
