//! The intent log: memory that keeper and worker share, in which a worker records what it is about to write before it does.
//!
//! It outlives the worker, since the keeper holds it. From it, the lengths of the files and the positions of the sockets
//! the next worker learns for each byte whether it is written and whether it is consumed ([`resume`](crate::worker)).
//!
//! For each connection (a *slot*): how many bytes were consumed, whether the next one is inside a line that is too long, and
//! how many workers died at this position. For each thread of the worker (a *row*): which connection has its turn, and the
//! intent: these bytes of this connection are appended to these segments at these lengths. One thread writes a row; the next
//! worker reads it when the writer is dead. So a store needs no more than its place in the order of the program.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail};
use memmap2::{MmapOptions, MmapRaw};

/// Names this arrangement of words. Another version of the program may know another one: change it with the arrangement.
const FORMAT: u64 = u64::from_le_bytes(*b"ingest\x02\x00");

// Words of the header.
const ROWS: usize = 1;
const WRITES: usize = 2;
const SLOTS: usize = 3;
const HEADER: usize = 8;

// Words of a slot.
const CONSUMED: usize = 0;
const INSIDE_TOO_LONG: usize = 1;
const DEATHS: usize = 2;
const DIED_AT: usize = 3;
const SLOT: usize = 4;

// Words of a row, before its writes.
const TURN: usize = 0;
const BEGUN: usize = 1;
const INTENT_SLOT: usize = 2;
const INTENT_POSITION: usize = 3;
const INTENT_TAKEN: usize = 4;
const INTENT_INSIDE_TOO_LONG: usize = 5;
const INTENT_WRITES: usize = 6;
const ROW: usize = 8;
/// Words of a write: the segment's number (two), its length before, the bytes to append.
const WRITE: usize = 4;

/// What is known of a connection, besides what the kernel knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// How many bytes were consumed.
    pub(crate) consumed: u64,
    /// The next one is inside a line that is longer than allowed.
    pub(crate) inside_too_long: bool,
}

/// What a thread is about to append to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Write {
    /// The segment ([`layout::SegmentName::number`]).
    pub(crate) segment: u128,
    /// Its length in bytes before.
    pub(crate) before: u64,
    /// How many bytes are appended.
    pub(crate) bytes: u64,
}

/// What a thread is about to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    /// The connection.
    pub(crate) slot: u32,
    /// How many bytes of it were consumed before.
    pub(crate) position: u64,
    /// How many bytes are consumed when all is written.
    pub(crate) taken: u64,
    /// What holds for the connection then.
    pub(crate) inside_too_long: bool,
    /// What is appended where.
    pub(crate) writes: Vec<Write>,
}

/// The shared memory.
#[derive(Debug)]
pub(crate) struct IntentLog {
    memory: OwnedFd,
    map: MmapRaw,
    rows: usize,
    writes: usize,
    slots: usize,
}

impl IntentLog {
    /// A log for so many threads, each with so many writes in one intent, and so many connections.
    pub(crate) fn new(rows: usize, writes: usize, slots: usize) -> io::Result<Self> {
        let memory = rustix::fs::memfd_create("tcp-ingest", rustix::fs::MemfdFlags::CLOEXEC)?;
        let words = HEADER + slots * SLOT + rows * (ROW + writes * WRITE);
        rustix::fs::ftruncate(&memory, (words * 8) as u64)?;
        let map = MmapOptions::new().map_raw(&File::from(memory.try_clone()?))?;
        let log = Self { memory, map, rows, writes, slots };
        for (word, value) in [(0, FORMAT), (ROWS, rows as u64), (WRITES, writes as u64), (SLOTS, slots as u64)] {
            log.word(word).store(value, Ordering::Relaxed);
        }
        Ok(log)
    }

    /// The log that another process made.
    pub(crate) fn open(memory: OwnedFd) -> anyhow::Result<Self> {
        let map = MmapOptions::new().map_raw(&File::from(memory.try_clone()?)).context("cannot map the intent log")?;
        let mut log = Self { memory, map, rows: 0, writes: 0, slots: 0 };
        if log.words().len() < HEADER || log.get(0) != FORMAT {
            bail!("the keeper runs another version, whose intent log this one cannot read: restart the service");
        }
        let size = |word| usize::try_from(log.get(word)).unwrap_or(usize::MAX);
        (log.rows, log.writes, log.slots) = (size(ROWS), size(WRITES), size(SLOTS));
        Ok(log)
    }

    /// How many threads may write to it.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins at a page")]
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping lives as long as `self`, is aligned to a page and holds so many words; all processes
        // access them as atomics only.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), self.map.len() / 8) }
    }

    #[expect(clippy::indexing_slicing, reason = "the words of the rows and slots that the log was made for are there")]
    fn word(&self, at: usize) -> &AtomicU64 {
        &self.words()[at]
    }

    fn get(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Acquire)
    }

    fn set(&self, at: usize, value: u64) {
        self.word(at).store(value, Ordering::Release);
    }

    fn row(&self, row: usize) -> usize {
        HEADER + self.slots * SLOT + row * (ROW + self.writes * WRITE)
    }

    /// Prepares a slot for a new connection.
    pub(crate) fn clear(&self, slot: u32) {
        (0..SLOT).for_each(|word| self.set(slot_at(slot) + word, 0));
    }

    /// How far a connection is.
    pub(crate) fn progress(&self, slot: u32) -> Progress {
        let at = slot_at(slot);
        Progress { consumed: self.get(at + CONSUMED), inside_too_long: self.get(at + INSIDE_TOO_LONG) != 0 }
    }

    /// How many workers died in a row in a turn of this connection, at this position.
    pub(crate) fn deaths(&self, slot: u32) -> u64 {
        let at = slot_at(slot);
        if self.get(at + DIED_AT) == self.get(at + CONSUMED) { self.get(at + DEATHS) } else { 0 }
    }

    /// What a dead worker's thread was about to do.
    pub(crate) fn intent(&self, row: usize) -> Option<Intent> {
        let at = self.row(row);
        let write = |number: usize| {
            let at = at + ROW + number * WRITE;
            let segment = (u128::from(self.get(at)) << 64) | u128::from(self.get(at + 1));
            Write { segment, before: self.get(at + 2), bytes: self.get(at + 3) }
        };
        (self.get(at + BEGUN) != 0).then(|| Intent {
            slot: u32::try_from(self.get(at + INTENT_SLOT)).unwrap_or(u32::MAX),
            position: self.get(at + INTENT_POSITION),
            taken: self.get(at + INTENT_TAKEN),
            inside_too_long: self.get(at + INTENT_INSIDE_TOO_LONG) != 0,
            writes: (0..usize::try_from(self.get(at + INTENT_WRITES)).unwrap_or(0)).map(write).collect(),
        })
    }

    /// The intent of a row is carried out: the connection is that much further.
    pub(crate) fn commit(&self, row: usize) {
        let at = self.row(row);
        let slot = slot_at(u32::try_from(self.get(at + INTENT_SLOT)).unwrap_or(u32::MAX));
        self.set(slot + CONSUMED, self.get(at + INTENT_POSITION) + self.get(at + INTENT_TAKEN));
        self.set(slot + INSIDE_TOO_LONG, self.get(at + INTENT_INSIDE_TOO_LONG));
        self.set(at + BEGUN, 0);
    }

    /// The intent of a row is given up; nothing of it is done.
    pub(crate) fn abort(&self, row: usize) {
        self.set(self.row(row) + BEGUN, 0);
    }

    /// No connection has its turn: the worker ended by itself, and did not die of what it read.
    pub(crate) fn clear_turns(&self) {
        (0..self.rows).for_each(|row| self.set(self.row(row) + TURN, 0));
    }

    /// Counts the death of a worker against the connection whose turn it was, and clears the row for the next.
    pub(crate) fn count_death(&self, row: usize) {
        let turn = self.row(row) + TURN;
        if let Some(slot) = self.get(turn).checked_sub(1).and_then(|slot| u32::try_from(slot).ok()) {
            let (at, deaths) = (slot_at(slot), self.deaths(slot));
            self.set(at + DIED_AT, self.get(at + CONSUMED));
            self.set(at + DEATHS, deaths + 1);
        }
        self.set(turn, 0);
    }
}

/// Where the words of a slot begin.
fn slot_at(slot: u32) -> usize {
    HEADER + slot as usize * SLOT
}

impl AsFd for IntentLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

/// A thread's part of the log.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    log: Arc<IntentLog>,
    row: usize,
}

impl Row {
    pub(crate) fn new(log: Arc<IntentLog>, row: usize) -> Self {
        Self { log, row }
    }

    /// How many segments one intent may write to.
    pub(crate) fn writes(&self) -> usize {
        self.log.writes
    }

    /// A connection has its turn, until what is returned is dropped.
    pub(crate) fn turn(&self, slot: u32) -> Turn<'_> {
        self.log.set(self.log.row(self.row) + TURN, u64::from(slot) + 1);
        Turn(self)
    }

    /// Records what is about to be done: `taken` bytes of a connection go to `writes`, no more than the log has room for.
    pub(crate) fn begin(&self, slot: u32, taken: usize, inside_too_long: bool, writes: impl Iterator<Item = Write>) {
        let (log, at) = (&*self.log, self.log.row(self.row));
        let mut count = 0;
        for Write { segment, before, bytes } in writes.take(log.writes) {
            let at = at + ROW + count * WRITE;
            #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
            let halves = [(segment >> 64) as u64, segment as u64];
            for (word, value) in halves.into_iter().chain([before, bytes]).enumerate() {
                log.set(at + word, value);
            }
            count += 1;
        }
        log.set(at + INTENT_SLOT, u64::from(slot));
        log.set(at + INTENT_POSITION, log.progress(slot).consumed);
        log.set(at + INTENT_TAKEN, taken as u64);
        log.set(at + INTENT_INSIDE_TOO_LONG, u64::from(inside_too_long));
        log.set(at + INTENT_WRITES, count as u64);
        log.set(at + BEGUN, 1);
    }

    /// What was begun is done: all is written and consumed.
    pub(crate) fn commit(&self) {
        self.log.commit(self.row);
    }

    /// What was begun is given up: nothing is written, nothing is consumed.
    pub(crate) fn abort(&self) {
        self.log.abort(self.row);
    }
}

/// The turn of a connection.
#[derive(Debug)]
pub(crate) struct Turn<'r>(&'r Row);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.log.set(self.0.log.row(self.0.row) + TURN, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_survives_its_writer_and_moves_the_connection_when_committed() {
        let log = Arc::new(IntentLog::new(2, 3, 4).unwrap());
        let writes = [Write { segment: (5 << 64) | 6, before: 7, bytes: 8 }, Write { segment: 9, before: 0, bytes: 1 }];
        let row = Row::new(Arc::clone(&log), 1);
        let _turn = row.turn(3);
        row.begin(3, 10, true, writes.into_iter());
        let successor = IntentLog::open(log.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!((successor.rows, successor.writes), (2, 3));
        assert_eq!(successor.intent(0), None);
        let intent = Intent { slot: 3, position: 0, taken: 10, inside_too_long: true, writes: writes.to_vec() };
        assert_eq!(successor.intent(1), Some(intent));
        successor.commit(1);
        assert_eq!(log.progress(3), Progress { consumed: 10, inside_too_long: true });
        assert_eq!(log.intent(1), None);
        log.clear(3);
        assert_eq!(log.progress(3), Progress { consumed: 0, inside_too_long: false });
    }

    #[test]
    fn deaths_are_counted_only_while_nothing_moves() {
        let log = Arc::new(IntentLog::new(1, 1, 1).unwrap());
        let row = Row::new(Arc::clone(&log), 0);
        for deaths in 1..4 {
            std::mem::forget(row.turn(0));
            log.count_death(0);
            assert_eq!(log.deaths(0), deaths);
        }
        log.count_death(0);
        assert_eq!(log.deaths(0), 3, "it was nobody's turn");
        row.begin(0, 1, false, std::iter::empty());
        row.commit();
        assert_eq!(log.deaths(0), 0);
    }
}
