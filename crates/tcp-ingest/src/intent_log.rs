//! The intent log: memory that keeper and worker share, in which a worker records what it is about to write before it does.
//!
//! It outlives the worker, since the keeper holds it. From it, the lengths of the files and the positions of the sockets
//! the next worker learns for each byte whether it is written and whether it is consumed ([`resume`](crate::worker)).
//!
//! It has a *slot* for each connection and a *row* for each thread of the worker. One thread writes a row; the next worker
//! reads it when the writer is dead. So a store needs no more than its place in the order of the program.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
const DEATHS: usize = 2; // With the next word set by `count_death`.
const DIED_AT: usize = 3;
const SLOT: usize = 4;

// Words of a row, before its writes.
const TURN: usize = 0;
const BEGUN: usize = 1;
const INTENT_SLOT: usize = 2; // From here on in the order in which `begin` sets them.
const INTENT_POSITION: usize = 3;
const INTENT_TAKEN: usize = 4;
const INTENT_INSIDE_TOO_LONG: usize = 5;
const INTENT_WRITES: usize = 6;
const ROW: usize = 8;
/// Words of a write: the segment's number (two), its length before, the bytes to append.
const WRITE: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Write {
    /// The segment ([`layout::SegmentName::number`]).
    pub(crate) segment: u128,
    pub(crate) before: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) slot: u32,
    /// How many bytes of it were consumed before.
    pub(crate) position: u64,
    /// How many bytes are consumed when all is written.
    pub(crate) taken: u64,
    /// What holds for the connection then.
    pub(crate) inside_too_long: bool,
    pub(crate) writes: Vec<Write>,
}

#[derive(Debug)]
pub(crate) struct IntentLog {
    memory: OwnedFd,
    map: MmapRaw,
    /// How many threads may write to it.
    pub(crate) rows: usize,
    /// How many segments one intent may write to.
    pub(crate) writes: usize,
    slots: usize,
}

impl IntentLog {
    /// A log for so many threads, each with so many writes in one intent, and so many connections.
    pub(crate) fn new(rows: usize, writes: usize, slots: usize) -> anyhow::Result<Self> {
        let memory = rustix::fs::memfd_create("tcp-ingest", rustix::fs::MemfdFlags::CLOEXEC)
            .context("cannot make the memory that keeper and worker share")?;
        let words = HEADER + slots * SLOT + rows * (ROW + writes * WRITE);
        rustix::fs::ftruncate(&memory, (words * 8) as u64).context("no memory for the intent log")?;
        let log = Self::map(memory)?;
        for (word, value) in [(0, FORMAT), (ROWS, rows as u64), (WRITES, writes as u64), (SLOTS, slots as u64)] {
            log.set(word, value);
        }
        Ok(Self { rows, writes, slots, ..log })
    }

    pub(crate) fn open(memory: OwnedFd) -> anyhow::Result<Self> {
        let log = Self::map(memory)?;
        if log.words().len() < HEADER || log.get(0) != FORMAT {
            bail!("the keeper runs another version, whose intent log this one cannot read: restart the service");
        }
        let size = |word| usize::try_from(log.get(word)).unwrap_or(usize::MAX);
        Ok(Self { rows: size(ROWS), writes: size(WRITES), slots: size(SLOTS), ..log })
    }

    fn map(memory: OwnedFd) -> anyhow::Result<Self> {
        let map = MmapOptions::new().map_raw(&File::from(memory.try_clone()?)).context("cannot map the intent log")?;
        Ok(Self { memory, map, rows: 0, writes: 0, slots: 0 })
    }

    #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins at a page")]
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping lives as long as `self`, begins at a page, and all processes access its words as atomics only.
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

    fn set_all<const N: usize>(&self, at: usize, values: [u64; N]) {
        (at..).zip(values).for_each(|(word, value)| self.set(word, value));
    }

    fn row(&self, row: usize) -> usize {
        HEADER + self.slots * SLOT + row * (ROW + self.writes * WRITE)
    }

    pub(crate) fn clear(&self, slot: u32) {
        (0..SLOT).for_each(|word| self.set(slot_at(slot) + word, 0));
    }

    fn consumed(&self, slot: u32) -> u64 {
        self.get(slot_at(slot) + CONSUMED)
    }

    /// Whether the next byte of a connection is inside a line that is longer than allowed.
    pub(crate) fn inside_too_long(&self, slot: u32) -> bool {
        self.get(slot_at(slot) + INSIDE_TOO_LONG) != 0
    }

    /// How many workers died in a row in a turn of this connection, at this position.
    pub(crate) fn deaths(&self, slot: u32) -> u64 {
        let at = slot_at(slot);
        if self.get(at + DIED_AT) == self.get(at + CONSUMED) { self.get(at + DEATHS) } else { 0 }
    }

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

    /// A connection has its turn, until what is returned is dropped.
    pub(crate) fn turn(&self, row: usize, slot: u32) -> Turn<'_> {
        let turn = self.word(self.row(row) + TURN);
        turn.store(u64::from(slot) + 1, Ordering::Release);
        Turn(turn)
    }

    /// Records what is about to be done: `taken` bytes of a connection go to `writes`, no more than the log has room for.
    pub(crate) fn begin(
        &self,
        row: usize,
        slot: u32,
        taken: usize,
        inside_too_long: bool,
        writes: impl Iterator<Item = Write>,
    ) {
        let at = self.row(row);
        let mut count = 0;
        for Write { segment, before, bytes } in writes.take(self.writes) {
            #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
            let words = [(segment >> 64) as u64, segment as u64, before, bytes];
            self.set_all(at + ROW + count * WRITE, words);
            count += 1;
        }
        let intent = [slot.into(), self.consumed(slot), taken as u64, inside_too_long.into(), count as u64];
        self.set_all(at + INTENT_SLOT, intent);
        self.set(at + BEGUN, 1);
    }

    /// The intent of a row is carried out, all is written and consumed: the connection is that much further.
    pub(crate) fn commit(&self, row: usize) {
        let at = self.row(row);
        let slot = slot_at(u32::try_from(self.get(at + INTENT_SLOT)).unwrap_or(u32::MAX));
        self.set(slot + CONSUMED, self.get(at + INTENT_POSITION) + self.get(at + INTENT_TAKEN));
        self.set(slot + INSIDE_TOO_LONG, self.get(at + INTENT_INSIDE_TOO_LONG));
        self.set(at + BEGUN, 0);
    }

    /// The intent of a row is given up: nothing is written, nothing is consumed.
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
            self.set_all(slot_at(slot) + DEATHS, [self.deaths(slot) + 1, self.consumed(slot)]);
        }
        self.set(turn, 0);
    }
}

fn slot_at(slot: u32) -> usize {
    HEADER + slot as usize * SLOT
}

impl AsFd for IntentLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

#[derive(Debug)]
pub(crate) struct Turn<'l>(&'l AtomicU64);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_survives_its_writer_and_moves_the_connection_when_committed() {
        let log = IntentLog::new(2, 3, 4).unwrap();
        let writes = [Write { segment: (5 << 64) | 6, before: 7, bytes: 8 }, Write { segment: 9, before: 0, bytes: 1 }];
        let _turn = log.turn(1, 3);
        log.begin(1, 3, 10, true, writes.into_iter());
        let successor = IntentLog::open(log.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!((successor.rows, successor.writes), (2, 3));
        assert_eq!(successor.intent(0), None);
        let intent = Intent { slot: 3, position: 0, taken: 10, inside_too_long: true, writes: writes.to_vec() };
        assert_eq!(successor.intent(1), Some(intent));
        successor.commit(1);
        assert_eq!((log.consumed(3), log.inside_too_long(3)), (10, true));
        assert_eq!(log.intent(1), None);
        log.clear(3);
        assert_eq!((log.consumed(3), log.inside_too_long(3)), (0, false));
    }

    #[test]
    fn deaths_are_counted_only_while_nothing_moves() {
        let log = IntentLog::new(1, 1, 1).unwrap();
        for deaths in 1..4 {
            std::mem::forget(log.turn(0, 0));
            log.count_death(0);
            assert_eq!(log.deaths(0), deaths);
        }
        log.count_death(0);
        assert_eq!(log.deaths(0), 3, "it was nobody's turn");
        log.begin(0, 0, 1, false, std::iter::empty());
        log.commit(0);
        assert_eq!(log.deaths(0), 0);
    }
}
