//! One hour: its segments to a draft of its Parquet file, every line accounted for. Nothing is published or removed here.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use duckdb::Connection;
use layout::{Commit, Draft, SealedSegment, SegmentCount, fault};
use models::Model;

use crate::dedup;
use crate::line_count::{Counted, count};
use crate::plan::{Action, HourPlan, lineage};
use crate::quarantine::{Quarantined, damaged_lines, late_lines};
use crate::report::{Summary, explain};
use crate::segment_table::{Source, Sources};
use crate::stream::Stream;

/// An hour that is ready to be published.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Records of damaged or late lines, to be published first.
    pub(crate) quarantine: Vec<Draft>,
    /// The hour's Parquet file; none when it has one that lists everything.
    pub(crate) parquet: Option<Draft>,
    /// The segments to remove when both are durable.
    pub(crate) remove: Vec<SealedSegment>,
    /// What is done when all that succeeds.
    pub(crate) done: Summary,
}

/// An hour of which no rows are to be made: listed segments only have to go, and those of a closed hour go to quarantine.
pub(crate) fn prepare_without_rows(stream: &Stream<'_>, plan: &HourPlan) -> anyhow::Result<Ready> {
    let mut ready = Ready { remove: plan.listed.clone(), ..Ready::default() };
    let mut late = 0;
    if plan.action() == Action::Quarantine {
        for segment in count(&plan.fresh, 1)? {
            let path = segment.segment.path.display();
            let Quarantined { draft, lines, .. } = late_lines(stream, &segment)
                .with_context(|| format!("{path}: its late lines cannot go to quarantine"))?;
            segment.unchanged()?;
            // Of a segment without a line there is nothing to publish.
            ready.quarantine.extend((lines > 0).then_some(draft));
            late += lines;
            ready.remove.push(segment.segment);
        }
    }
    ready.done = Summary { hours: 1, bytes: plan.bytes, ..Summary::late(plan.hour, late) };
    Ok(ready)
}

/// What a reading of an hour's segments finds beside rows; or what is supposed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Findings {
    /// Damaged lines by segment, in the order of the segments.
    damaged: Vec<u64>,
    /// How many rows are removed. Which ones stands in the temporary table of repeated rows.
    duplicates: u64,
}

/// What making an hour takes.
struct Work<'w> {
    stream: &'w Stream<'w>,
    connection: &'w Connection,
    sources: &'w Sources,
    plan: &'w HourPlan,
    /// In the order of `models`.
    segments: Vec<Counted>,
    /// The versions of the stream that accepted the segments, each with the number of its segments.
    models: Vec<(Arc<Model>, usize)>,
}

/// Makes an hour's drafts. `threads` are for counting; reading takes DuckDB's.
pub(crate) fn prepare(
    stream: &Stream<'_>,
    connection: &Connection,
    sources: &Sources,
    plan: &HourPlan,
    threads: usize,
) -> anyhow::Result<Ready> {
    if !plan.has_rows_to_make() {
        return prepare_without_rows(stream, plan);
    }
    let mut models: Vec<(Arc<Model>, usize)> = Vec::new();
    let mut segments = Vec::new();
    for segment in count(&plan.fresh, threads)? {
        let model = stream.model(&segment.segment)?;
        let known = models.iter().position(|(known, _)| Arc::ptr_eq(known, model)).unwrap_or(models.len());
        match models.get_mut(known) {
            Some((_, count)) => *count += 1,
            None => models.push((Arc::clone(model), 1)),
        }
        segments.push((known, segment));
    }
    segments.sort_by_key(|(model, _)| *model);
    let segments = segments.into_iter().map(|(_, segment)| segment).collect();
    fault::point("compact.counted");
    let work = Work { stream, connection, sources, plan, segments, models };
    let (draft, quarantine, findings) = work.make()?;
    fault::point("compact.copied");
    for segment in &work.segments {
        segment.unchanged()?;
    }
    // Of the duplicates some may be rows of the old file.
    let rows = work.accepted(&findings).saturating_sub(findings.duplicates);
    let (damaged, duplicates) = (findings.damaged.iter().sum(), findings.duplicates);
    Ok(Ready {
        quarantine,
        parquet: Some(draft),
        remove: plan.fresh.iter().chain(&plan.listed).cloned().collect(),
        done: Summary { hours: 1, rows, bytes: plan.bytes, damaged, duplicates, ..Summary::default() },
    })
}

impl Work<'_> {
    /// The draft of the Parquet file, those of the quarantine, and what was found.
    ///
    /// The footer is written with the first row group and needs the numbers before. Damage is rare: the first try supposes
    /// that there is none, and if there is some, the file is made again with the numbers that are known then. Duplicates are
    /// looked for before, in a reading of its own that finds the damage as well.
    fn make(&self) -> anyhow::Result<(Draft, Vec<Draft>, Findings)> {
        let mut findings = Findings { damaged: vec![0; self.segments.len()], duplicates: 0 };
        if self.stream.dedup {
            findings = self.look_for_duplicates()?;
        } else {
            let (draft, damaged) = self.attempt(&findings)?;
            if damaged == findings.damaged {
                return Ok((draft, Vec::new(), findings));
            }
            findings.damaged = damaged;
        }
        let quarantine = self.collect_damaged(&findings.damaged)?;
        let (draft, damaged) = self.attempt(&findings)?;
        ensure!(damaged == findings.damaged, "two readings of the same segments differ in their damaged lines");
        Ok((draft, quarantine, findings))
    }

    /// Reads everything and writes nothing but the table of repeated rows.
    fn look_for_duplicates(&self) -> anyhow::Result<Findings> {
        let sources = self.sources()?;
        let rows = self.rows(&sources);
        let find = || dedup::find_repeated(self.connection, self.models.first().map(|(model, _)| &**model), &rows);
        let duplicates = self.stream.progress.reading(self.plan, &sources, 0.0..0.5, find);
        let duplicates = duplicates.context("its duplicates cannot be looked for")?;
        Ok(Findings { damaged: line_counts(&sources)?, duplicates })
    }

    /// The rows of the hour: those of its Parquet file, if it has one, and those of the segments.
    fn rows(&self, sources: &[Arc<Source>]) -> String {
        let old = self
            .plan
            .published
            .iter()
            .map(|_| engine::read_parquet([self.stream.tree.parquet(self.stream.name, self.plan.hour)]));
        let all = old.chain(sources.iter().map(|source| source.table())).map(|table| format!("SELECT * FROM {table}"));
        all.collect::<Vec<_>>().join(" UNION ALL BY NAME ")
    }

    /// The segments to be read once, by the versions that accepted them.
    fn sources(&self) -> anyhow::Result<Vec<Arc<Source>>> {
        let mut rest = self.segments.as_slice();
        let add = |(model, count): &(Arc<Model>, usize)| {
            let (segments, others) = rest.split_at_checked(*count).unwrap_or((rest, &[]));
            rest = others;
            Ok(self.sources.add(self.connection, model, segments.to_vec())?)
        };
        self.models.iter().map(add).collect()
    }

    /// How many lines of the segments are rows.
    fn accepted(&self, findings: &Findings) -> u64 {
        let lines: u64 = self.segments.iter().map(|segment| segment.lines).sum();
        lines - findings.damaged.iter().sum::<u64>()
    }

    /// Writes the Parquet file on the supposition of `supposed`; returns the damaged lines that were found. If they are
    /// the same, the file has been checked; if not, the draft is good for nothing but being dropped.
    fn attempt(&self, supposed: &Findings) -> anyhow::Result<(Draft, Vec<u64>)> {
        let published = self.plan.published.as_ref();
        let counts = self.segments.iter().zip(&supposed.damaged).map(|(counted, damaged)| SegmentCount {
            name: counted.segment.name.clone(),
            lines: counted.lines,
            damaged: *damaged,
        });
        let counts: Vec<_> = counts.collect();
        let left_out = published.map_or(0, |file| file.duplicates) + supposed.duplicates;
        let commit = Commit::deduplicated(lineage(published, &counts), left_out).at(self.stream.name, self.plan.hour);
        let draft = self.stream.tree.draft_parquet(&self.stream.lock, self.stream.name, self.plan.hour)?;
        let sources = self.sources()?;
        let mut rows = self.rows(&sources);
        if supposed.duplicates > 0 {
            rows = dedup::without_repeated(self.connection, &rows)?;
        }
        let copy = || engine::copy_to_draft(self.connection, &rows, &draft, &commit);
        let share = if self.stream.dedup { 0.5..1.0 } else { 0.0..1.0 };
        let copied = self.stream.progress.reading(self.plan, &sources, share, copy);
        if self.stream.dedup {
            dedup::forget_repeated(self.connection)?;
        }
        copied.map_err(|error| match (published, explain(&error).1) {
            (Some(_), None) => error.context(
                "its old file and the new segments cannot be put together (--verify tells whether it is damaged)",
            ),
            _ => error,
        })?;
        let damaged = line_counts(&sources)?;
        if damaged == supposed.damaged {
            self.reconcile(&draft, &commit, supposed)?;
        }
        Ok((draft, damaged))
    }

    /// Reads the draft's footer back: it must say what was meant, and the rows must be all that were accepted, less the
    /// duplicates that another query has counted.
    fn reconcile(&self, draft: &Draft, commit: &Commit, supposed: &Findings) -> anyhow::Result<()> {
        let (written, target) = (Commit::read(draft.path())?, draft.target().display());
        let (rows, duplicates, added) = (written.rows, supposed.duplicates, self.accepted(supposed));
        ensure!(
            Commit { rows: 0, ..written } == *commit,
            "{target}: the commit record reads back differently than it was written; nothing was removed"
        );
        let old = self.plan.published.as_ref().map_or(0, |file| file.rows);
        ensure!(
            rows + duplicates == old + added,
            "{target}: would have {}, but {old} from before and {added} accepted less {}; nothing was removed",
            cli::count(rows, "row"),
            cli::count(duplicates, "duplicate")
        );
        Ok(())
    }

    /// Drafts of the quarantine for the segments with damaged lines; each segment is named with its first.
    fn collect_damaged(&self, damaged: &[u64]) -> anyhow::Result<Vec<Draft>> {
        let mut drafts = Vec::new();
        for (segment, expected) in self.segments.iter().zip(damaged).filter(|(_, damaged)| **damaged > 0) {
            let path = segment.segment.path.display();
            let Quarantined { draft, lines, first } = damaged_lines(self.stream, segment)
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
}

/// The damaged lines by segment, when all lines of each were read.
fn line_counts(sources: &[Arc<Source>]) -> anyhow::Result<Vec<u64>> {
    let all = sources.iter().flat_map(|source| source.line_counts());
    all.map(|(counted, accepted, damaged)| {
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
