//! Work on many items side by side.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, ScopedJoinHandle, scope};

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
            let Some(item) = items.get(number) else { return Ok(done) };
            done.push((number, work(&mut state, item)));
        }
    };
    let threads = threads.min(items.len());
    let all = if threads <= 1 {
        vec![run()]
    } else {
        scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| Builder::new().spawn_scoped(scope, run)).collect();
            let join = |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            threads.into_iter().map(|thread| join(thread.context("cannot start threads")?)).collect()
        })
    };
    // Where a thread could not work, the others did all there was.
    let (mut done, mut failed) = (Vec::new(), None);
    for each in all {
        each.map_or_else(|error| failed = Some(error), |each| done.extend(each));
    }
    if let Some(error) = failed.filter(|_| done.len() < items.len()) {
        return Err(error);
    }
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
