//! When memory runs out the kernel is to kill the worker, which can be started again, and not the keeper.

use std::fs;
use std::sync::OnceLock;

const SCORE: &str = "/proc/self/oom_score_adj";

/// By how much the score of a worker is raised, and that of the keeper lowered where the system allows it.
const DIFFERENCE: i32 = 300;

static ORIGINAL: OnceLock<i32> = OnceLock::new();

/// What the score of this process was at the start.
pub(crate) fn original() -> i32 {
    let read = || fs::read_to_string(SCORE).ok()?.trim().parse().ok();
    *ORIGINAL.get_or_init(|| read().unwrap_or(0))
}

/// Makes the keeper less likely to be killed; `inherited` is what the score was before an earlier keeper did so.
pub(crate) fn lower_for_keeper(inherited: Option<i32>) {
    let original = inherited.map_or_else(original, |score| *ORIGINAL.get_or_init(|| score));
    if original > -1000 {
        // Only a privileged process may; the worker's higher score is what counts.
        let _ = fs::write(SCORE, (original - DIFFERENCE).max(-999).to_string());
    }
}

pub(crate) fn worker_score() -> String {
    (original() + DIFFERENCE).min(1000).to_string()
}

pub(crate) fn set_for_worker(score: &str) {
    if let Err(error) = fs::write(SCORE, score) {
        log::debug!("{SCORE}: {error}");
    }
}
