//! What the work on all hours of a stream shares, and how far it is, on a terminal: hours, rows, MB/s and the time left,
//! also inside a large hour.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use cli::count;
use indicatif::ProgressBar;
use layout::{DatasetLock, Name, SealedSegment, Tree};
use models::{Model, Streams};

use crate::listing::Listing;
use crate::plan::HourPlan;
use crate::segment_table::{Source, progress};

/// A stream that is being compacted by this process, and by no other.
#[derive(Debug)]
pub(crate) struct Stream<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) name: &'t Name,
    pub(crate) streams: &'t Streams,
    pub(crate) lock: DatasetLock,
    pub(crate) now: DateTime<Utc>,
    /// Whether rows that are equal to another row of their hour are removed.
    pub(crate) dedup: bool,
    pub(crate) progress: StreamProgress,
    pub(crate) listing: &'t Listing,
}

impl Stream<'_> {
    /// The version of the stream file by which the lines of a segment were accepted.
    pub(crate) fn model(&self, segment: &SealedSegment) -> anyhow::Result<&Arc<Model>> {
        let version = self.streams.version(self.name.as_str(), &segment.name.version().to_string());
        let version = version.with_context(|| format!("there is no stream {}", self.name))?;
        Ok(version.map_err(Clone::clone)?)
    }
}

/// A progress bar over the bytes of a stream's segments.
#[derive(Debug)]
pub(crate) struct StreamProgress {
    bar: ProgressBar,
    hours: usize,
    done: Mutex<Done>,
}

/// What is done with.
#[derive(Debug, Default)]
struct Done {
    hours: usize,
    rows: u64,
    bytes: u64,
}

impl StreamProgress {
    /// A bar over the work of `plans`.
    pub(crate) fn new(plans: &[HourPlan]) -> Self {
        let bytes = plans.iter().map(|plan| plan.bytes).sum();
        let progress = Self { bar: cli::progress_of_bytes(bytes), hours: plans.len(), done: Mutex::default() };
        progress.show(&progress.lock(), 0, 0.0);
        progress
    }

    /// An hour is done with, well or not.
    pub(crate) fn hour(&self, plan: &HourPlan, rows: u64) {
        let mut done = self.lock();
        // An hour that failed with its batch is tried again by itself.
        done.hours = self.hours.min(done.hours + 1);
        done.rows += rows;
        done.bytes += plan.bytes;
        self.show(&done, 0, 0.0);
    }

    /// Runs `work`, which reads an hour's `sources` and is the part `share` of the work on it; shows how far a large hour is.
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub(crate) fn reading<T>(
        &self,
        plan: &HourPlan,
        sources: &[Arc<Source>],
        share: Range<f64>,
        work: impl FnOnce() -> T,
    ) -> T {
        if self.bar.is_hidden() || !plan.is_large() {
            return work();
        }
        std::thread::scope(|scope| {
            let (end, ended) = mpsc::channel::<()>();
            scope.spawn(move || {
                while ended.recv_timeout(Duration::from_millis(100)) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let (rows, part) = progress(sources);
                    let part = share.start + part * (share.end - share.start);
                    self.show(&self.lock(), rows, part * plan.bytes as f64);
                }
            });
            let result = work();
            drop(end);
            result
        })
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Shows what is done, and beside it the rows and bytes of an hour that is worked on.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the length of files")]
    fn show(&self, done: &Done, rows: u64, bytes: f64) {
        let hours = count(self.hours, "hour");
        self.bar.set_message(format!("{}/{hours}, {}", done.hours, count(done.rows + rows, "row")));
        self.bar.set_position(done.bytes + bytes as u64);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
