//! One hour: its segments to a draft of its Parquet file, every line accounted for. Nothing is published or removed here.

use std::path::Path;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use duckdb::Connection;
use layout::{Commit, DatasetLock, Draft, Name, SealedSegment, SegmentCount, Tree, fault};
use models::Model;

use crate::count::{Counted, count};
use crate::damage::{Damaged, collect};
use crate::plan::{HourPlan, Published, lineage};
use crate::reader::{Source, Sources};

/// A stream that is being compacted by this process, and by no other.
#[derive(Debug)]
pub(crate) struct Stream<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) name: &'t Name,
    pub(crate) model: &'static Model,
    pub(crate) lock: DatasetLock,
    pub(crate) now: DateTime<Utc>,
}

/// An hour that is ready to be published.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Records of damaged lines, to be published first.
    pub(crate) quarantine: Vec<Draft>,
    /// The hour's Parquet file; none when it has one that lists everything.
    pub(crate) parquet: Option<Draft>,
    /// The segments to remove when both are durable.
    pub(crate) remove: Vec<SealedSegment>,
    /// Rows added.
    pub(crate) rows: u64,
    /// Damaged lines.
    pub(crate) damaged: u64,
}

impl Ready {
    /// An hour whose Parquet file lists all its segments: they only have to go.
    pub(crate) fn listed(plan: &HourPlan) -> Self {
        Self { remove: plan.listed.clone(), ..Self::default() }
    }
}

/// One try at the Parquet file.
struct Attempt {
    draft: Draft,
    /// Damaged lines by segment, in the order of the segments.
    damaged: Vec<u64>,
}

/// Makes an hour's drafts. `threads` are for counting; reading takes DuckDB's.
pub(crate) fn prepare(
    stream: &Stream<'_>,
    connection: &Connection,
    sources: &Sources,
    plan: &HourPlan,
    threads: usize,
) -> anyhow::Result<Ready> {
    if plan.fresh.is_empty() {
        return Ok(Ready::listed(plan));
    }
    let segments = count(&plan.fresh, threads)?;
    fault::point("compact.counted");
    let copy = |damaged: &[u64]| attempt(stream, connection, sources, plan, &segments, damaged);

    // Damage is rare: the first try assumes that there is none. The footer is written with the first row group, so
    // when there is some, the file is made again with the numbers that are known then.
    let supposed = vec![0; segments.len()];
    let mut made = copy(&supposed)?;
    let mut quarantine = Vec::new();
    if made.damaged != supposed {
        let damaged = made.damaged;
        quarantine = collect_damaged(stream, &segments, &damaged)?;
        made = copy(&damaged)?;
        ensure!(made.damaged == damaged, "two readings of the same segments differ in their damaged lines");
    }
    fault::point("compact.copied");
    for segment in &segments {
        segment.unchanged()?;
    }
    let damaged = made.damaged.iter().sum();
    let lines: u64 = segments.iter().map(|segment| segment.lines).sum();
    Ok(Ready {
        quarantine,
        parquet: Some(made.draft),
        remove: plan.fresh.iter().chain(&plan.listed).cloned().collect(),
        rows: lines - damaged,
        damaged,
    })
}

/// Writes the Parquet file on the supposition that `damaged` lines of each segment are damaged. If the reading agrees,
/// the file has been checked; if not, the draft is good for nothing but being dropped.
fn attempt(
    stream: &Stream<'_>,
    connection: &Connection,
    sources: &Sources,
    plan: &HourPlan,
    segments: &[Counted],
    damaged: &[u64],
) -> anyhow::Result<Attempt> {
    let counts: Vec<_> = segments
        .iter()
        .zip(damaged)
        .map(|(counted, damaged)| SegmentCount {
            name: counted.segment.name.clone(),
            lines: counted.lines,
            damaged: *damaged,
        })
        .collect();
    let commit = Commit::new(lineage(plan.published.as_ref(), &counts));
    let draft = stream.tree.draft_parquet(&stream.lock, stream.name, plan.hour)?;
    let registered = sources.add(stream.model, segments.to_vec());
    let old = plan.published.as_ref().map(|_| draft.target());
    engine::copy_to_draft(connection, &select(old, &registered.table()), &draft, &commit)?;
    let found = tallies(&registered.source)?;
    if found == damaged {
        reconcile(&draft, &commit, plan.published.as_ref(), &counts)?;
    }
    Ok(Attempt { draft, damaged: found })
}

/// The rows of the hour: those of its Parquet file, if it has one, and those of the segments.
fn select(old: Option<&Path>, segments: &str) -> String {
    match old {
        None => format!("SELECT * FROM {segments}"),
        Some(old) => {
            format!("SELECT * FROM {} UNION ALL BY NAME SELECT * FROM {segments}", engine::read_parquet([old]))
        }
    }
}

/// The damaged lines by segment, when all lines of each were read.
fn tallies(source: &Source) -> anyhow::Result<Vec<u64>> {
    source
        .tallies()
        .map(|(counted, accepted, damaged)| {
            ensure!(
                accepted + damaged == counted.lines,
                "{}: has {}, but {accepted} read and {damaged} found damaged; nothing was removed",
                counted.segment.path.display(),
                cli::count(counted.lines, "line")
            );
            Ok(damaged)
        })
        .collect()
}

/// Reads the draft's footer back: it must say what was meant, and the rows must be all that were accepted.
fn reconcile(
    draft: &Draft,
    commit: &Commit,
    published: Option<&Published>,
    counts: &[SegmentCount],
) -> anyhow::Result<()> {
    let written = Commit::read(draft.path())?;
    ensure!(
        (&written.lineage, &written.fingerprint) == (&commit.lineage, &commit.fingerprint),
        "{}: the commit record reads back differently than it was written; nothing was removed",
        draft.target().display()
    );
    let old = published.map_or(0, |file| file.rows);
    let added: u64 = counts.iter().map(|count| count.lines - count.damaged).sum();
    ensure!(
        written.rows == old + added,
        "{}: would have {}, but {old} from before and {added} accepted; nothing was removed",
        draft.target().display(),
        cli::count(written.rows, "row")
    );
    Ok(())
}

/// Drafts of the quarantine for the segments with damaged lines; each segment is named with its first.
fn collect_damaged(stream: &Stream<'_>, segments: &[Counted], damaged: &[u64]) -> anyhow::Result<Vec<Draft>> {
    let mut drafts = Vec::new();
    for (segment, expected) in segments.iter().zip(damaged).filter(|(_, damaged)| **damaged > 0) {
        let path = segment.segment.path.display();
        let Damaged { draft, lines, first } = collect(stream.tree, stream.name, stream.model, segment, stream.now)
            .with_context(|| format!("{path}: its damaged lines cannot go to quarantine"))?;
        ensure!(
            lines == *expected,
            "{path}: one reading found {expected} damaged, another {lines}; nothing was removed"
        );
        let lines = cli::count(lines, "damaged line");
        log::warn!("{path}: {lines} to quarantine, in {}; {first}", draft.target().display());
        drafts.push(draft);
    }
    Ok(drafts)
}
