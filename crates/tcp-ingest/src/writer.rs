//! The open segments of one thread, and writing to them: a batch is written whole or not at all.
//!
//! Writing does not check whether the tree is where it was: that would cost a call for each file. It is checked as often as
//! segments are synced, and whenever one is opened or sealed. What is written in between, to a file that somebody has removed
//! or moved away, is not lost: we have the descriptor, and put all of it in its place again. Nor is what is written to a
//! disk that was unmounted lazily: it is on that disk, and reading stops at the next check. Only when the worker and the
//! keeper die in that time is it gone, with the file that was removed.

use std::collections::HashMap;
use std::io::IoSlice;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use chrono::{DateTime, Utc};
use layout::{Area, DataDirHandle, Error, Hour, OpenSegment, Result, SegmentId};

use crate::args::Config;
use crate::batch::Batch;
use crate::channel::KeeperSender;
use crate::intent_log::{Row, Write};
use crate::messages::ToKeeper;
use crate::sealer::{Sealer, report_put_back};
use crate::shared::Shared;
use crate::stats::Stats;

/// Which segment: of raw/ or quarantine/, by the stream's index and the hour.
type Key = (Area, usize, Hour);

struct Open {
    segment: OpenSegment,
    /// The write that went to it last.
    used: u64,
}

/// A thread's way to the keeper, and its part of the intent log.
pub(crate) struct Keeper {
    pub(crate) sender: KeeperSender,
    pub(crate) row: Row,
}

/// Where a batch comes from: a connection, and what holds for it when the batch is consumed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) slot: u32,
    pub(crate) inside_too_long: bool,
}

/// Writes batches to segments of its own.
pub(crate) struct Writer {
    data_dir: Arc<DataDirHandle>,
    /// The data directory, or an open segment, was not where it was when that was checked last.
    misplaced: bool,
    config: Arc<Config>,
    stats: Arc<Stats>,
    sealer: Sealer,
    /// Holds the files for the next worker.
    keeper: Option<Keeper>,
    open: HashMap<Key, Open>,
    /// The segments of the last batch.
    written: Vec<Key>,
    max_open: usize,
    writes: u64,
    syncing: Arc<AtomicBool>,
    maintained: Instant,
}

impl Writer {
    pub(crate) fn new(shared: &Shared, keeper: Option<Keeper>) -> Self {
        let Shared { config, data_dir, stats, sealer, .. } = shared.clone();
        Self {
            data_dir,
            misplaced: false,
            max_open: max_open(&config),
            keeper,
            config,
            stats,
            sealer,
            open: HashMap::new(),
            written: Vec::new(),
            writes: 0,
            syncing: Arc::default(),
            maintained: Instant::now(),
        }
    }

    /// Writes `batch`, which was made of `block` of the stream with index `stream`. On an error nothing of it is written; after
    /// [`layout::Error::NotRolledBack`] the writer must not be used any more. Nothing that was written to is sealed before
    /// [`commit`](Self::commit), which is called when the batch is consumed.
    pub(crate) fn write(
        &mut self,
        stream: usize,
        block: &[u8],
        batch: &Batch,
        now: DateTime<Utc>,
        origin: Option<Origin>,
    ) -> Result<()> {
        if self.misplaced {
            self.check_place()?;
        }
        self.writes += 1;
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
        if let (Some(keeper), Some(origin)) = (&self.keeper, origin) {
            let intended = writes.iter().filter_map(|(key, pieces)| {
                let segment = &self.open.get(key)?.segment;
                let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
                Some(Write { segment: segment.name().number(), before: segment.len(), bytes })
            });
            keeper.row.begin(origin.slot, batch.taken, origin.inside_too_long, intended);
            layout::fault::point("ingest.begun");
        }
        let mut lengths = Vec::with_capacity(writes.len());
        for (key, pieces) in &mut writes {
            let Some(slot) = self.open.get_mut(key) else { continue };
            let before = slot.segment.len();
            slot.used = self.writes;
            if let Err(error) = slot.segment.append(pieces) {
                if matches!(error, Error::NotRolledBack { .. }) {
                    return Err(error);
                }
                self.rollback(&lengths)?;
                if let Some(keeper) = &self.keeper {
                    keeper.row.abort();
                }
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

    /// The last batch is consumed: records that, and seals those of its segments that are large enough.
    pub(crate) fn commit(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.row.commit();
            layout::fault::point("ingest.committed");
        }
        let limit = self.config.seal_size;
        let written = std::mem::take(&mut self.written).into_iter();
        let large = written.filter(|key| self.open.get(key).is_some_and(|slot| slot.segment.len() >= limit));
        let large: Vec<_> = large.collect();
        self.seal(&large);
    }

    /// Cuts the segments of a batch that failed back to what they were before it.
    fn rollback(&mut self, lengths: &[(Key, u64)]) -> Result<()> {
        for (key, before) in lengths {
            if let Some(slot) = self.open.get_mut(key) {
                slot.segment.rollback(*before)?;
            }
        }
        Ok(())
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
        if !missing.is_empty() {
            self.data_dir.check()?;
        }
        for key @ (area, stream, hour) in missing {
            let Some(name) = self.config.streams.get(stream).map(|stream| &stream.name) else { continue };
            let segment = OpenSegment::create(&self.config.tree, area, name, hour)?;
            if let Some(keeper) = &self.keeper {
                let id = SegmentId { area, stream: name.clone(), hour, name: segment.name().clone() };
                let segment_json = serde_json::to_value(&id).unwrap_or_default();
                let opened = ToKeeper::Opened { name: id.name.to_string(), segment: segment_json };
                keeper.sender.send(&opened, Some(segment.as_fd()));
                layout::fault::point("ingest.opened");
            }
            self.stats.open_segments.fetch_add(1, Relaxed);
            self.open.insert(key, Open { segment, used: self.writes });
        }
        Ok(())
    }

    /// Checks whether the data directory and the open segments are where they were, and puts back what was removed or moved
    /// away. Fails while that cannot be done, and so does every write; returns whether it failed the last time.
    pub(crate) fn check_place(&mut self) -> Result<bool> {
        let was = std::mem::replace(&mut self.misplaced, true);
        self.data_dir.check()?;
        for slot in self.open.values_mut() {
            if self.data_dir.keep(&mut slot.segment)? {
                report_put_back(&slot.segment, self.keeper.as_ref().map(|keeper| &keeper.sender));
            }
        }
        self.misplaced = false;
        Ok(was)
    }

    /// Whether something was not where it was when that was checked last.
    pub(crate) fn is_misplaced(&self) -> bool {
        self.misplaced
    }

    /// Seals the segments that are old enough.
    pub(crate) fn seal_old(&mut self) {
        let age = self.config.seal_after;
        let old = self.open.iter().filter(|(_, slot)| slot.segment.created().elapsed() >= age);
        let old: Vec<_> = old.map(|(key, _)| *key).collect();
        self.seal(&old);
    }

    /// Checks, seals and syncs what is due, for a caller that has no timer for it.
    pub(crate) fn maintain(&mut self) {
        if self.maintained.elapsed() >= self.config.sync_every {
            self.maintained = Instant::now();
            // What fails here fails in the next write too, which reports it.
            let _ = self.check_place();
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
        self.sealer.seal(segments.collect());
    }

    /// Has everything synced that was written since the last time, unless that is still under way.
    pub(crate) fn sync(&mut self) {
        if !self.syncing.load(Relaxed) {
            let syncs: Vec<_> = self.open.values_mut().filter_map(|slot| slot.segment.take_sync()).collect();
            if !syncs.is_empty() {
                self.sealer.sync(syncs, &self.syncing);
            }
        }
    }
}

/// How many segments each thread may have open.
fn max_open(config: &Config) -> usize {
    (config.max_open / config.workers).max(8)
}

/// How many hours one batch may touch, so that its segments and the one of the quarantine can be open at once.
pub(crate) fn max_hours(config: &Config) -> usize {
    max_open(config) / 2
}
