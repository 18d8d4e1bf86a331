//! Work on many items side by side.

use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, scope};

use anyhow::Context as _;

/// Calls `work` for each of `items` on up to `threads` threads; the results are in the order of the items. `state` makes what
/// a thread needs for itself, such as a connection: once for each.
pub fn in_parallel<'t, T: Sync, S, R: Send>(
    threads: usize,
    items: &'t [T],
    state: impl FnMut() -> anyhow::Result<S> + Send,
    work: impl Fn(&mut S, &'t T) -> R + Sync,
) -> anyhow::Result<Vec<R>> {
    let (state, next) = (Mutex::new(state), AtomicUsize::new(0));
    let run = || {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner)()?;
        let mut done = Vec::new();
        // An item is an hour or a piece of a file: shares that are cut beforehand would end at different times.
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return anyhow::Ok(done) };
            done.push((number, work(&mut state, item)));
        }
    };
    let threads = threads.min(items.len());
    let mut done = if threads <= 1 {
        run()?
    } else {
        let all = scope(|scope| {
            let threads = (0..threads).map(|_| Builder::new().spawn_scoped(scope, run));
            let threads = threads.collect::<io::Result<Vec<_>>>().context("cannot start threads")?;
            let done = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            done.collect::<anyhow::Result<Vec<_>>>()
        })?;
        all.into_iter().flatten().collect()
    };
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
