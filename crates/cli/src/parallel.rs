//! Work on many items side by side.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use rayon::ThreadPoolBuilder;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

/// Calls `work` for each of `items` on up to `threads` threads; the results are in the order of the items. `state` makes what
/// a thread needs for itself, such as a connection; it may be called more than once for a thread.
pub fn in_parallel<'t, T: Sync, S, R: Send>(
    threads: usize,
    items: &'t [T],
    mut state: impl FnMut() -> anyhow::Result<S> + Send,
    work: impl Fn(&mut S, &'t T) -> R + Sync + Send,
) -> anyhow::Result<Vec<R>> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        let mut state = state()?;
        return Ok(items.iter().map(|item| work(&mut state, item)).collect());
    }
    let state = Mutex::new(state);
    let state = || state.lock().unwrap_or_else(PoisonError::into_inner)();
    let work = |state: &mut anyhow::Result<S>, item| match state {
        Ok(state) => Ok(work(state, item)),
        Err(error) => Err(anyhow!("{error:#}")),
    };
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().context("cannot start threads")?;
    // An item is an hour or a piece of a file, and worth a split: shares that are cut beforehand would end at different times.
    pool.install(|| items.par_iter().map_init(state, work).collect())
}
