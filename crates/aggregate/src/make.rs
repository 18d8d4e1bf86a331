//! Making the windows of a plan: side by side, published many at a time.
//!
//! They are published beside the work: to sync a file is to wait for the disk, and disks take many syncs at once.

mod batch;
mod window;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use cli::Failure;
use layout::{DatasetLock, Draft, Hour, Recipe};

use self::window::{Maker, made_of};
use crate::plan::Step;
use crate::session::Session;

/// How many windows a thread makes at a time, if one by one; and how many are published at a time: they sync a folder once.
const AT_A_TIME: usize = 32;
/// How many batches a thread has on their way to be published before it waits for the first: the disk sets the pace.
const UNDER_WAY: usize = 8;
/// For how long windows wait to be published.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of the windows of a plan.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Published.
    pub(crate) windows: usize,
    /// Not made, and why.
    pub(crate) failed: Vec<Failure>,
    /// Kept as they were, because an input was removed meanwhile.
    pub(crate) removed: usize,
}

/// Makes `steps` on `workers` threads, each with a fork of `session`.
pub(crate) fn make(
    session: Session<'_>,
    lock: &DatasetLock,
    recipe: &Recipe,
    steps: &[Step],
    workers: usize,
) -> anyhow::Result<Made> {
    let shares = if session.batch.is_some() {
        batch::shares(session.tree, steps, workers)
    } else {
        // Neighbours go to the same thread, which syncs their folder once; but no thread is to be left without work.
        steps.chunks((steps.len() / (workers * 4)).clamp(1, AT_A_TIME)).collect()
    };
    let bar = cli::progress("windows", steps.len() as u64);
    let all_made = Mutex::default();
    let made = &all_made;
    std::thread::scope(|scope| {
        let fork = move || {
            let publisher = Publisher { scope, made, under_way: VecDeque::new() };
            Ok((Maker { session: session.fork()?, lock, recipe }, publisher))
        };
        cli::in_parallel(workers, &shares, fork, |(maker, publisher), share| {
            make_share(maker, share, publisher);
            bar.inc(share.len() as u64);
        })
    })?;
    bar.finish_and_clear();
    Ok(all_made.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn make_share(maker: &Maker<'_>, share: &[Step], publisher: &mut Publisher<'_, '_>) {
    let mut batch = Vec::new();
    let mut made_at_once = maker.make_batch(share).unwrap_or_default();
    let mut since = Instant::now();
    for (number, step) in share.iter().enumerate() {
        let hour = step.window.hour();
        if let Some(draft) = made_at_once.get_mut(number).and_then(Option::take) {
            batch.push((hour, draft));
            continue;
        }
        match maker.make_window(step) {
            Ok(Some(draft)) => batch.push((hour, draft)),
            Ok(None) => publisher.made().removed += 1,
            Err(error) => {
                let place = made_of(maker.session.tree, &step.inputs);
                publisher.made().failed.push(Failure::of_error(hour, &engine::explain(&error), &place));
            }
        }
        if since.elapsed() > PATIENCE {
            publisher.publish(&mut batch);
            since = Instant::now();
        }
    }
    publisher.publish(&mut batch);
}

/// Publishes the windows that one thread has made, on threads of their own, which the scope waits for.
struct Publisher<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    made: &'env Mutex<Made>,
    under_way: VecDeque<ScopedJoinHandle<'scope, ()>>,
}

impl Publisher<'_, '_> {
    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes all of `batch`.
    fn publish(&mut self, batch: &mut Vec<(Hour, Draft)>) {
        while !batch.is_empty() {
            if self.under_way.len() == UNDER_WAY
                && let Some(first) = self.under_way.pop_front()
            {
                first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
            let (hours, drafts): (Vec<_>, Vec<_>) = batch.drain(..batch.len().min(AT_A_TIME)).unzip();
            let made = self.made;
            self.under_way.push_back(self.scope.spawn(move || {
                let published = layout::publish(drafts);
                let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
                match published {
                    Ok(()) => made.windows += hours.len(),
                    Err(error) => {
                        let failure = |hour| Failure::of_error(hour, &error.to_string(), "");
                        made.failed.extend(hours.into_iter().map(failure));
                    }
                }
            }));
        }
    }
}
