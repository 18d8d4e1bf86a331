//! Work on many items side by side.

use anyhow::Context as _;
use rayon::ThreadPoolBuilder;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

/// Calls `work` for each of `items` on up to `threads` threads; the results are in the order of the items. `state` makes what
/// a thread needs for itself, such as a connection; it may be called more than once for a thread.
pub fn in_parallel<'t, T: Sync, S, R: Send>(
    threads: usize,
    items: &'t [T],
    state: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, &'t T) -> R + Sync + Send,
) -> anyhow::Result<Vec<R>> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        let mut state = state();
        return Ok(items.iter().map(|item| work(&mut state, item)).collect());
    }
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().context("cannot start threads")?;
    // An item is an hour or a piece of a file, and worth a split: shares that are cut beforehand would end at different times.
    Ok(pool.install(|| items.par_iter().map_init(state, work).collect()))
}
