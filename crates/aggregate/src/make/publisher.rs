//! Publishing beside the work: to sync a file is to wait for the disk, and disks take many syncs at once.

use std::collections::VecDeque;
use std::thread::{Scope, ScopedJoinHandle};

use cli::Failure;
use layout::{Draft, Hour};

/// How many windows are published at a time: they sync their folder once.
const AT_A_TIME: usize = 32;
/// How many such batches a thread has under way before it waits for the first: the disk sets the pace.
const UNDER_WAY: usize = 8;

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

impl Made {
    pub(super) fn add(&mut self, other: Self) {
        self.windows += other.windows;
        self.failed.extend(other.failed);
        self.removed += other.removed;
    }
}

/// The windows that one thread has made, on their way to their names.
pub(super) struct Publisher<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    under_way: VecDeque<ScopedJoinHandle<'scope, Made>>,
    made: Made,
}

impl<'scope, 'env> Publisher<'scope, 'env> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>) -> Self {
        Self { scope, under_way: VecDeque::new(), made: Made::default() }
    }

    /// Publishes all of `batch`.
    pub(super) fn publish(&mut self, batch: &mut Vec<(Hour, Draft)>) {
        let mut rest = std::mem::take(batch);
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(AT_A_TIME));
            let batch = std::mem::replace(&mut rest, later);
            if self.under_way.len() == UNDER_WAY {
                self.wait_for_first();
            }
            self.under_way.push_back(self.scope.spawn(move || publish(batch)));
        }
    }

    /// Waits until all is published, and says what became of it.
    pub(super) fn finish(mut self) -> Made {
        while !self.under_way.is_empty() {
            self.wait_for_first();
        }
        self.made
    }

    fn wait_for_first(&mut self) {
        if let Some(first) = self.under_way.pop_front() {
            self.made.add(first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    }
}

fn publish(batch: Vec<(Hour, Draft)>) -> Made {
    let (hours, drafts): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    match layout::publish(drafts) {
        Ok(()) => Made { windows: hours.len(), ..Made::default() },
        Err(error) => {
            let failed = hours.into_iter().map(|hour| Failure::of_error(hour, &error.to_string(), "")).collect();
            Made { failed, ..Made::default() }
        }
    }
}
