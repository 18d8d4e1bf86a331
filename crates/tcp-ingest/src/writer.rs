//! The open segments of one thread, and the commit: a batch is written whole or not at all.

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use chrono::{DateTime, Utc};
use layout::{Area, Error, Hour, OpenSegment, Result, Tree};

use crate::args::Config;
use crate::batch::Batch;
use crate::files::Files;
use crate::stats::Stats;

/// Which segment: of raw/ or quarantine/, by the stream's index and the hour.
type Key = (Area, usize, Hour);

struct Slot {
    segment: OpenSegment,
    /// The commit that wrote to it last.
    used: u64,
}

/// Writes batches to segments of its own.
pub(crate) struct Writer {
    tree: Tree,
    config: Arc<Config>,
    stats: Arc<Stats>,
    files: Files,
    open: HashMap<Key, Slot>,
    /// The segments of the last batch.
    written: Vec<Key>,
    max_open: usize,
    commits: u64,
    syncing: Arc<AtomicBool>,
    tended: Instant,
}

impl Writer {
    pub(crate) fn new(config: Arc<Config>, stats: Arc<Stats>, files: Files) -> Self {
        Self {
            tree: config.args.common.tree(),
            max_open: max_open(&config),
            config,
            stats,
            files,
            open: HashMap::new(),
            written: Vec::new(),
            commits: 0,
            syncing: Arc::default(),
            tended: Instant::now(),
        }
    }

    /// Writes `batch`, which was judged from `block` of the stream with index `stream`. On an error nothing of it is
    /// written; after [`layout::Error::Invalid`] the writer must not be used any more. Nothing that it wrote to is sealed
    /// before [`seal_large`](Self::seal_large), which is for when the source has let go of the batch.
    pub(crate) fn commit(&mut self, stream: usize, block: &[u8], batch: &Batch, now: DateTime<Utc>) -> Result<()> {
        self.commits += 1;
        let bytes = batch.bytes(block);
        let slice = |range| IoSlice::new(bytes.get(range).unwrap_or_default());
        let mut writes: Vec<(Key, Vec<IoSlice<'_>>)> = batch
            .runs
            .iter()
            .map(|run| ((Area::Raw, stream, run.hour), run.pieces.iter().cloned().map(slice).collect()))
            .collect();
        if !batch.rejected.is_empty() {
            writes.push(((Area::Quarantine, stream, Hour::of(now)), vec![IoSlice::new(&batch.rejected)]));
        }
        self.make_room(&writes)?;
        let mut lengths = Vec::with_capacity(writes.len());
        for (key, pieces) in &mut writes {
            let Some(slot) = self.open.get_mut(key) else { continue };
            let before = slot.segment.len();
            slot.used = self.commits;
            if let Err(error) = slot.segment.append(pieces) {
                if matches!(error, Error::Invalid { .. }) {
                    self.abandon(key);
                }
                self.rollback(&lengths)?;
                return Err(error);
            }
            lengths.push((*key, before));
            layout::fault::point("ingest.part");
        }
        layout::fault::point("ingest.written");
        self.stats.written(stream, batch);
        self.written = lengths.into_iter().map(|(key, _)| key).collect();
        Ok(())
    }

    /// Seals those segments of the last batch that are large enough.
    pub(crate) fn seal_large(&mut self) {
        let limit = self.config.args.seal_size.0;
        let written = std::mem::take(&mut self.written).into_iter();
        let large = written.filter(|key| self.open.get(key).is_some_and(|slot| slot.segment.len() >= limit));
        let large: Vec<_> = large.collect();
        self.seal(&large);
    }

    /// Cuts the segments of a batch that failed back to what they were before it.
    fn rollback(&mut self, lengths: &[(Key, u64)]) -> Result<()> {
        let mut undone = Ok(());
        for (key, before) in lengths {
            if let Some(slot) = self.open.get_mut(key)
                && let Err(error) = slot.segment.rollback(*before)
            {
                self.abandon(key);
                undone = Err(error);
            }
        }
        undone
    }

    /// Leaves a segment that cannot be cut back as it is: not sealed, but for the next start to recover.
    fn abandon(&mut self, key: &Key) {
        self.open.remove(key);
        self.stats.open_segments.fetch_sub(1, Relaxed);
    }

    /// Opens the segments that `writes` needs; seals those used longest ago when there would be too many.
    fn make_room(&mut self, writes: &[(Key, Vec<IoSlice<'_>>)]) -> Result<()> {
        let missing: Vec<_> = writes.iter().map(|(key, _)| *key).filter(|key| !self.open.contains_key(key)).collect();
        if self.open.len() + missing.len() > self.max_open {
            let mut candidates: Vec<_> = self
                .open
                .iter()
                .filter(|(key, _)| !writes.iter().any(|(needed, _)| needed == *key))
                .map(|(key, slot)| (slot.used, *key))
                .collect();
            candidates.sort_unstable();
            // A quarter at a time: sealing many together costs fewer syncs.
            let surplus = self.open.len() + missing.len() - self.max_open;
            candidates.truncate(surplus.max(self.max_open / 4));
            let keys: Vec<_> = candidates.into_iter().map(|(_, key)| key).collect();
            self.seal(&keys);
        }
        for key @ (area, stream, hour) in missing {
            let Some(name) = self.config.streams.get(stream).map(|stream| &stream.name) else { continue };
            let segment = OpenSegment::create(&self.tree, area, name, hour)?;
            self.stats.open_segments.fetch_add(1, Relaxed);
            self.open.insert(key, Slot { segment, used: self.commits });
        }
        Ok(())
    }

    /// Seals the segments that are old enough.
    pub(crate) fn seal_old(&mut self) {
        let age = self.config.seal_after;
        let old = self.open.iter().filter(|(_, slot)| slot.segment.created().elapsed() >= age);
        let old: Vec<_> = old.map(|(key, _)| *key).collect();
        self.seal(&old);
    }

    /// Seals and syncs what is due; for who has no clock of its own.
    pub(crate) fn tend(&mut self) {
        if self.tended.elapsed() >= self.config.sync_every {
            self.tended = Instant::now();
            self.seal_old();
            self.sync();
        }
    }

    /// Seals all segments.
    pub(crate) fn seal_all(&mut self) {
        let all: Vec<_> = self.open.keys().copied().collect();
        self.seal(&all);
    }

    fn seal(&mut self, keys: &[Key]) {
        let segments = keys.iter().filter_map(|key| self.open.remove(key)).map(|slot| slot.segment);
        self.files.seal(segments.collect());
    }

    /// Has everything synced that was written since the last time, unless that is still under way.
    pub(crate) fn sync(&mut self) {
        if !self.syncing.load(Relaxed) {
            let syncs: Vec<_> = self.open.values_mut().filter_map(|slot| slot.segment.take_sync()).collect();
            if !syncs.is_empty() {
                self.files.sync(syncs, &self.syncing);
            }
        }
    }
}

/// How many segments each thread may have open.
fn max_open(config: &Config) -> usize {
    (usize::try_from(config.args.max_open).unwrap_or(usize::MAX) / config.workers).max(8)
}

/// How many hours one batch may touch, so that its segments and the quarantine's can be open together.
pub(crate) fn max_hours(config: &Config) -> usize {
    max_open(config) / 2
}
