//! The open segments of one thread, and writing to them: a batch is written whole or not at all.
//!
//! Writing does not check whether the tree is where it was: that would cost a call for each file. It is checked as often as
//! segments are synced, and whenever one is opened or sealed. What was written in between to a file that is gone is put in
//! its place again from the descriptor; what goes to a disk that was unmounted lazily is on that disk. Only if worker and
//! keeper die in that time is it gone, with the file.

use std::collections::HashMap;
use std::io::IoSlice;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use layout::{Area, Hour, OpenSegment, Result, SegmentId};
use models::Decoder;

use crate::batch::Batch;
use crate::channel::ToKeeper;
use crate::intent_log::Write;
use crate::sealer::Sealer;
use crate::shared::Shared;
use crate::streams::Stream;
use crate::validator::{Bounds, Validator};

/// How much is taken at once. The kernel does some work each time that bytes are taken (it offers the sender a window,
/// and the sender goes on in our time): 1 MiB costs a quarter less processor time than 256 KiB, and still fits into a
/// processor's own cache.
const BLOCK: usize = 1 << 20;

/// What a thread reads one batch after the other into, validates it with, and writes it with.
pub(crate) struct Intake {
    pub(crate) buffer: Vec<u8>,
    pub(crate) batch: Batch,
    /// One for each stream.
    pub(crate) validators: Vec<Validator>,
    pub(crate) writer: Writer,
}

impl Intake {
    pub(crate) fn new(shared: &Arc<Shared>, sealer: Sealer, row: usize) -> Self {
        let config = &shared.config;
        let bounds = Bounds {
            earliest: config.settings.earliest.start_micros(),
            ahead: i64::try_from(config.settings.max_ahead.as_micros()).unwrap_or(i64::MAX),
            hours: (shared.intent_log.writes - 1).min(config.max_hours()),
        };
        let validators = config.streams.iter().map(|stream| Validator::new(Decoder::new(stream.model.clone()), bounds));
        Self {
            buffer: vec![0; BLOCK.max(2 * config.settings.max_line)],
            batch: Batch::default(),
            validators: validators.collect(),
            writer: Writer {
                misplaced: false,
                shared: Arc::clone(shared),
                sealer,
                row,
                open: HashMap::new(),
                written: Vec::new(),
                writes: 0,
                syncing: Arc::default(),
                maintained: Instant::now(),
            },
        }
    }
}

/// Which segment: of raw/ or quarantine/, by the stream's index and the hour.
type Key = (Area, usize, Hour);

struct Open {
    segment: OpenSegment,
    /// The write that went to it last.
    used: u64,
}

/// Where a batch comes from, and what holds for the connection when the batch is consumed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) stream: usize,
    pub(crate) slot: u32,
    pub(crate) inside_too_long: bool,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    sealer: Sealer,
    /// Which row of the intent log is its own.
    row: usize,
    /// The data directory, or an open segment, was not where it was when that was checked last.
    misplaced: bool,
    open: HashMap<Key, Open>,
    /// The segments of the last batch.
    written: Vec<Key>,
    writes: u64,
    syncing: Arc<AtomicBool>,
    maintained: Instant,
}

impl Writer {
    /// Writes `batch`, which was made of `block`. On an error nothing of it is written; after one that
    /// [is not rolled back](layout::Error::is_not_rolled_back) the writer must not be used any more. Nothing that was written
    /// to is sealed before [`commit`](Self::commit), which is called when the batch is consumed.
    pub(crate) fn write(&mut self, block: &[u8], batch: &Batch, now: DateTime<Utc>, origin: Origin) -> Result<()> {
        let Origin { stream, slot, inside_too_long } = origin;
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
        let intended = writes.iter().filter_map(|(key, pieces)| {
            let segment = &self.open.get(key)?.segment;
            let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
            Some(Write { segment: segment.name().number(), before: segment.len(), bytes })
        });
        self.shared.intent_log.begin(self.row, slot, batch.taken, inside_too_long, intended);
        layout::fault::point("ingest.begun");
        let mut lengths = Vec::with_capacity(writes.len());
        for (key, pieces) in &mut writes {
            let Some(open) = self.open.get_mut(key) else { continue };
            let before = open.segment.len();
            open.used = self.writes;
            if let Err(error) = open.segment.append(pieces) {
                if !error.is_not_rolled_back {
                    for (key, before) in lengths {
                        self.open.get_mut(&key).map_or(Ok(()), |open| open.segment.rollback(before))?;
                    }
                    self.shared.intent_log.abort(self.row);
                }
                return Err(error);
            }
            lengths.push((*key, before));
            layout::fault::point("ingest.part");
        }
        layout::fault::point("ingest.written");
        self.shared.stats.written(stream, batch);
        self.written = lengths.into_iter().map(|(key, _)| key).collect();
        Ok(())
    }

    /// The last batch is consumed: records that, and seals those of its segments that are large enough.
    pub(crate) fn commit(&mut self) {
        self.shared.intent_log.commit(self.row);
        layout::fault::point("ingest.committed");
        let limit = self.shared.config.settings.seal_size.0;
        let mut large = std::mem::take(&mut self.written);
        large.retain(|key| self.open.get(key).is_some_and(|open| open.segment.len() >= limit));
        self.seal(&large);
    }

    /// Opens the segments that `writes` needs; seals those used longest ago when there would be too many.
    fn make_room(&mut self, writes: &[(Key, Vec<IoSlice<'_>>)]) -> Result<()> {
        let missing: Vec<_> = writes.iter().map(|(key, _)| *key).filter(|key| !self.open.contains_key(key)).collect();
        let max_open = self.shared.config.max_open_each();
        if self.open.len() + missing.len() > max_open {
            let unneeded = self.open.iter().filter(|(key, _)| !writes.iter().any(|(needed, _)| needed == *key));
            let mut candidates: Vec<_> = unneeded.map(|(key, open)| (open.used, *key)).collect();
            candidates.sort_unstable();
            // A quarter at a time: sealing many together costs fewer syncs.
            let surplus = self.open.len() + missing.len() - max_open;
            candidates.truncate(surplus.max(max_open / 4));
            let keys: Vec<_> = candidates.into_iter().map(|(_, key)| key).collect();
            self.seal(&keys);
        }
        if !missing.is_empty() {
            self.shared.data_dir.check()?;
        }
        for key @ (area, stream, hour) in missing {
            let Some(Stream { name, model, version }) = self.shared.config.streams.get(stream) else { continue };
            let tree = &self.shared.config.tree;
            if area == Area::Raw {
                tree.keep_stream_version(name, &model.text)?;
            }
            let segment = OpenSegment::create(tree, area, name, hour, *version)?;
            let id = SegmentId { area, stream: name.clone(), hour, name: segment.name().clone() };
            let description = serde_json::to_value(&id).unwrap_or_default();
            let opened = ToKeeper::Opened { name: id.name.to_string(), segment: description };
            self.shared.tell_keeper(&opened, Some(segment.as_fd()));
            layout::fault::point("ingest.opened");
            self.shared.stats.open_segments.fetch_add(1, Relaxed);
            self.open.insert(key, Open { segment, used: self.writes });
        }
        Ok(())
    }

    /// Checks whether the data directory and the open segments are where they were, and puts back what was removed or moved
    /// away. Fails while that cannot be done, and so does every write; returns whether it failed the last time.
    pub(crate) fn check_place(&mut self) -> Result<bool> {
        let was = std::mem::replace(&mut self.misplaced, true);
        self.shared.data_dir.check()?;
        self.open.values_mut().try_for_each(|open| self.shared.keep(&mut open.segment))?;
        self.misplaced = false;
        Ok(was)
    }

    /// Seals the segments of this age, or older.
    pub(crate) fn seal_from(&mut self, age: Duration) {
        let due = self.open.extract_if(|_, open| open.segment.created().elapsed() >= age);
        self.sealer.seal(due.map(|(_, open)| open.segment).collect());
    }

    /// Seals what is old enough, and has synced what was written since the last time, unless that is still under way.
    pub(crate) fn seal_and_sync(&mut self) {
        self.seal_from(*self.shared.config.settings.seal_after);
        if !self.syncing.load(Relaxed) {
            let syncs: Vec<_> = self.open.values_mut().filter_map(|open| open.segment.to_sync()).collect();
            if !syncs.is_empty() {
                self.sealer.sync(syncs, &self.syncing);
            }
        }
    }

    /// Checks, seals and syncs what is due, for a caller that has no timer for it.
    pub(crate) fn maintain(&mut self) {
        if self.maintained.elapsed() >= *self.shared.config.settings.sync_every {
            self.maintained = Instant::now();
            // What fails here fails in the next write too, which reports it.
            let _ = self.check_place();
            self.seal_and_sync();
        }
    }

    fn seal(&mut self, keys: &[Key]) {
        let segments = keys.iter().filter_map(|key| self.open.remove(key)).map(|open| open.segment);
        self.sealer.seal(segments.collect());
    }
}
