//! `segments(id)`: a table function that reads sealed segments with the decoder that validated their lines at arrival.
//!
//! DuckDB's own JSON reader accepts other lines than the decoder does, and turns what it cannot read into rows of NULLs. So
//! rows come from [`models::Decoder`], on as many threads as there are pieces to read, and every line is counted: accepted
//! and in the rows, or damaged and not in them. A line whose time is in another hour than its segment is damaged: its row
//! would be counted in the wrong hour.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::ThreadId;

use duckdb::Connection;
use duckdb::core::{DataChunkHandle, LogicalTypeHandle, LogicalTypeId};
use duckdb::vtab::{BindInfo, InitInfo, TableFunctionInfo, VTab};
use models::{Decoder, Model};

use crate::line_count::{Counted, unreadable};
use crate::lines::{Block, Limits, LineReader, lines};
use crate::pieces::{Piece, Untaken};
use crate::vectors::{Columns, RowType};

/// The sources that queries can name, by their places in a list: a table function has only values for arguments.
#[derive(Debug)]
pub(crate) struct Sources {
    all: Mutex<Vec<Weak<Source>>>,
    row_types: Mutex<Vec<(Arc<Model>, Arc<RowType>)>>,
}

/// Segments of one version of their stream, to be read once, and what was found in them.
#[derive(Debug)]
pub(crate) struct Source {
    number: usize,
    model: Arc<Model>,
    row_type: Arc<RowType>,
    segments: Vec<(Counted, LineCounts)>,
    pieces: Vec<Piece>,
    untaken: Mutex<Untaken>,
}

/// The lines of a segment that were read.
#[derive(Debug, Default)]
struct LineCounts {
    accepted: AtomicU64,
    damaged: AtomicU64,
}

impl Sources {
    /// Sources for the queries of `connection` and of those cloned from it.
    pub(crate) fn register(connection: &Connection) -> duckdb::Result<Arc<Self>> {
        let sources = Arc::new(Self { all: Mutex::default(), row_types: Mutex::default() });
        connection.register_table_function_with_extra_info::<Segments, _>("segments", &sources)?;
        Ok(sources)
    }

    /// Makes `segments` readable as rows of `model`, until what is returned is dropped.
    pub(crate) fn add(
        &self,
        connection: &Connection,
        model: &Arc<Model>,
        segments: Vec<Counted>,
    ) -> duckdb::Result<Arc<Source>> {
        let row_type = self.row_type(connection, model)?;
        let pieces: Vec<_> = segments.iter().flat_map(|segment| &segment.pieces).cloned().collect();
        let segments = segments.into_iter().map(|segment| (segment, LineCounts::default())).collect();
        let untaken = Mutex::new(Untaken::all(pieces.len()));
        let mut all = locked(&self.all);
        let model = Arc::clone(model);
        let source = Arc::new(Source { number: all.len(), model, row_type, segments, pieces, untaken });
        all.push(Arc::downgrade(&source));
        Ok(source)
    }

    fn row_type(&self, connection: &Connection, model: &Arc<Model>) -> duckdb::Result<Arc<RowType>> {
        let mut known = locked(&self.row_types);
        if let Some((_, row_type)) = known.iter().find(|(other, _)| Arc::ptr_eq(other, model)) {
            return Ok(Arc::clone(row_type));
        }
        let row_type = Arc::new(RowType::new(connection, &model.columns)?);
        known.push((Arc::clone(model), Arc::clone(&row_type)));
        Ok(row_type)
    }
}

impl Source {
    /// The rows as a table expression. A query must use it once.
    pub(crate) fn table(&self) -> String {
        format!("segments(CAST({} AS UBIGINT))", self.number)
    }

    /// Each segment with the numbers of accepted and of damaged lines that were read.
    pub(crate) fn line_counts(&self) -> impl Iterator<Item = (&Counted, u64, u64)> {
        self.segments.iter().map(|(segment, counts)| {
            (segment, counts.accepted.load(Ordering::Relaxed), counts.damaged.load(Ordering::Relaxed))
        })
    }
}

/// The rows that were read so far, and the part of the lines, from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn progress(sources: &[Arc<Source>]) -> (u64, f64) {
    let [mut rows, mut read, mut lines] = [0, 0, 0];
    for (segment, accepted, damaged) in sources.iter().flat_map(|source| source.line_counts()) {
        rows += accepted;
        read += accepted + damaged;
        lines += segment.lines;
    }
    (rows, read as f64 / lines.max(1) as f64)
}

/// A piece that is being read.
struct Cursor {
    /// The index of the piece.
    piece: usize,
    segment: usize,
    lines: LineReader,
    decoder: Decoder,
}

impl Cursor {
    /// Adds rows behind the first `rows` until the piece is done or the columns are full; returns how many there are then.
    fn fill(&mut self, source: &Source, columns: &mut Columns<'_>, mut rows: usize) -> Result<usize, Box<dyn Error>> {
        let Some((segment, counts)) = source.segments.get(self.segment) else { return Err("no such segment".into()) };
        let (hour, placed_by) = (segment.segment.hour, source.model.placed_by);
        let before = rows;
        let mut damaged = 0;
        while !columns.is_full(rows) {
            let block = self.lines.block().map_err(|error| unreadable(&segment.segment, &error))?;
            let used = match block {
                Block::End => break,
                Block::Part { bytes, first } => {
                    damaged += u64::from(first);
                    bytes.len()
                }
                Block::Lines(block) => {
                    let mut used = 0;
                    for line in lines(block) {
                        let Some(mut row) = columns.row(rows) else { break };
                        used += line.len();
                        let line = line.strip_suffix(b"\n").unwrap_or(line);
                        if self.decoder.record_into(line, &mut row).is_ok() && row.finish(placed_by, hour)? {
                            rows += 1;
                        } else {
                            damaged += 1;
                        }
                    }
                    used
                }
            };
            self.lines.consume(used);
        }
        counts.accepted.fetch_add((rows - before) as u64, Ordering::Relaxed);
        counts.damaged.fetch_add(damaged, Ordering::Relaxed);
        Ok(rows)
    }
}

/// The table function.
struct Segments;

/// A scan of a source by several threads.
struct Scan {
    source: Arc<Source>,
    /// Pieces that are read in part, with the thread that did. A thread goes on with its own, so that the rows that it
    /// writes are neighbours; whatever is left when there is no new piece is anybody's.
    begun: Mutex<Vec<(ThreadId, Cursor)>>,
}

impl Scan {
    /// What the calling thread reads next, after the piece `after`.
    fn next(&self, after: Option<usize>) -> Result<Option<Cursor>, layout::Error> {
        let me = std::thread::current().id();
        let mut begun = locked(&self.begun);
        if let Some(mine) = begun.iter().position(|(thread, _)| *thread == me) {
            return Ok(Some(begun.swap_remove(mine).1));
        }
        let Some(taken) = locked(&self.source.untaken).take(after) else {
            return Ok(begun.pop().map(|(_, cursor)| cursor));
        };
        drop(begun);
        let Source { model, segments, pieces, .. } = &*self.source;
        let Some(Piece { segment, range }) = pieces.get(taken) else { return Ok(None) };
        let Some((counted, _)) = segments.get(*segment) else { return Ok(None) };
        let lines = LineReader::new(counted.segment.open()?, range.clone(), Limits::DEFAULT);
        Ok(Some(Cursor { piece: taken, segment: *segment, lines, decoder: Decoder::new(Arc::clone(model)) }))
    }

    /// Fills a chunk; zero rows mean that all is read.
    fn fill(&self, columns: &mut Columns<'_>) -> Result<usize, Box<dyn Error>> {
        let (mut rows, mut last) = (0, None);
        while let Some(mut cursor) = self.next(last)? {
            last = Some(cursor.piece);
            rows = cursor.fill(&self.source, columns, rows)?;
            if columns.is_full(rows) {
                locked(&self.begun).push((std::thread::current().id(), cursor));
                break;
            }
        }
        Ok(rows)
    }
}

impl VTab for Segments {
    type InitData = Scan;
    type BindData = Arc<Source>;

    fn parameters() -> Option<Vec<LogicalTypeHandle>> {
        Some(vec![LogicalTypeHandle::from(LogicalTypeId::UBigint)])
    }

    fn bind(bind: &BindInfo) -> Result<Self::BindData, Box<dyn Error>> {
        // SAFETY: registered with an `Arc<Sources>`, which DuckDB keeps as long as the function.
        let sources = unsafe { &*bind.get_extra_info::<Arc<Sources>>() };
        let number = usize::try_from(bind.get_parameter(0).to_uint64())?;
        let source = locked(&sources.all).get(number).and_then(Weak::upgrade).ok_or("no such source")?;
        for (index, column) in source.model.columns.iter().enumerate() {
            bind.add_result_column(&column.name, source.row_type.column(index));
        }
        // A join must not take a large hour for the smaller side, which it would hold in memory.
        bind.set_cardinality(source.segments.iter().map(|(segment, _)| segment.lines).sum(), false);
        Ok(source)
    }

    fn init(init: &InitInfo) -> Result<Self::InitData, Box<dyn Error>> {
        // SAFETY: the bind data of this function is an `Arc<Source>`.
        let source = unsafe { &*init.get_bind_data::<Arc<Source>>() };
        init.set_max_threads(source.pieces.len().max(1) as u64);
        Ok(Scan { source: Arc::clone(source), begun: Mutex::default() })
    }

    fn func(func: &TableFunctionInfo<Self>, output: &mut DataChunkHandle) -> Result<(), Box<dyn Error>> {
        let scan = func.get_init_data();
        let mut columns = Columns::new(output, scan.source.model.columns.iter().map(|column| &column.column_type));
        let rows = scan.fill(&mut columns)?;
        output.set_len(rows);
        Ok(())
    }
}

/// What a panic elsewhere left is sound: each change of these collections is one call, and lines that were lost with a
/// panicking thread show up as a difference of counts.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
