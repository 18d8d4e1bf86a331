//! Compacts the hours of one stream: large ones with all threads each, small ones side by side and published in batches.
//!
//! The order is: quarantine durable, then the Parquet file durable, then the segments removed. If the process dies in
//! between, the next run does the rest, because the Parquet file lists what is in it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use duckdb::Connection;
use engine::SessionArgs;
use layout::{Draft, Hour, HourRange, fault, remove_segments, sync_published};
use models::Model;

use crate::hour::{Ready, prepare, prepare_without_rows};
use crate::plan::{Action, HourPlan, plan};
use crate::report::Summary;
use crate::scan::scan;
use crate::segment_table::Sources;
use crate::stream::Stream;

/// Hours that are published together.
const BATCH: usize = 32;

/// A connection to DuckDB, from whose queries segments can be read.
struct Reader {
    connection: Connection,
    sources: Arc<Sources>,
}

impl Reader {
    fn open(args: &SessionArgs, model: &'static Model) -> anyhow::Result<Self> {
        let connection = engine::open(args)?;
        let sources = Sources::register(&connection, model)?;
        Ok(Self { connection, sources })
    }

    fn for_thread(&self) -> anyhow::Result<Self> {
        Ok(Self { connection: self.connection.try_clone()?, sources: Arc::clone(&self.sources) })
    }
}

/// Does the work on the hours of a stream. Hours fail by themselves; an error is one of the stream.
pub(crate) fn compact_hours(
    stream: &Stream<'_>,
    plans: Vec<HourPlan>,
    args: &SessionArgs,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let (fresh, others): (Vec<_>, Vec<_>) = plans.into_iter().partition(HourPlan::has_rows_to_make);
    for plans in others.chunks(BATCH) {
        summary.add(batch(stream, plans, &|plan| prepare_without_rows(stream, plan)));
    }
    if !fresh.is_empty() {
        // No work, no DuckDB: starting it takes longer than looking through a year.
        let reader = Reader::open(args, stream.model)?;
        let (large, small): (Vec<_>, Vec<_>) = fresh.into_iter().partition(HourPlan::is_large);
        for plan in &large {
            let prepare = |plan: &_| prepare(stream, &reader.connection, &reader.sources, plan, args.threads());
            summary.add(batch(stream, std::slice::from_ref(plan), &prepare));
        }
        side_by_side(stream, reader, &small, args.threads(), summary)?;
    }
    stream.progress.finish();
    Ok(())
}

/// Compacts small hours on up to `threads` threads, a batch at a time.
fn side_by_side(
    stream: &Stream<'_>,
    reader: Reader,
    plans: &[HourPlan],
    threads: usize,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let batches: Vec<_> = plans.chunks(BATCH).collect();
    let reader = Mutex::new(reader);
    let connect = || reader.lock().unwrap_or_else(PoisonError::into_inner).for_thread();
    let done = cli::in_parallel(threads, &batches, connect, |reader, plans| {
        let prepare = |plan: &HourPlan| match &*reader {
            Ok(reader) => prepare(stream, &reader.connection, &reader.sources, plan, 1),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        batch(stream, plans, &prepare)
    })?;
    for done in done {
        summary.add(done);
    }
    Ok(())
}

/// Makes the hours of a batch and finishes together those that succeed. If that fails, each is tried by itself.
fn batch(stream: &Stream<'_>, plans: &[HourPlan], prepare: &dyn Fn(&HourPlan) -> anyhow::Result<Ready>) -> Summary {
    let mut summary = Summary::default();
    let mut made = Vec::new();
    let mut ready = Vec::new();
    for plan in plans {
        let prepared = prepare(plan);
        stream.progress.hour(plan, prepared.as_ref().map_or(0, |hour| hour.accepted));
        match prepared {
            Ok(hour) => {
                made.push((plan, Summary::of(plan, &hour)));
                ready.push(hour);
            }
            Err(error) => summary.fail(plan.hour, &error),
        }
    }
    match finish(stream, &made, ready) {
        Ok(()) => made.into_iter().for_each(|(plan, done)| {
            log::debug!("{} {}: {}, {done}", stream.name, plan.hour, plan.action().as_str());
            summary.add(done);
        }),
        Err(error) => match &*made {
            [(plan, _)] => summary.fail(plan.hour, &error),
            _ => made.into_iter().for_each(|(plan, done)| summary.add(alone(stream, plan.hour, done, prepare))),
        },
    }
    summary
}

/// Does an hour again by itself, from what its batch left of it. `done` is what the batch would have done.
fn alone(
    stream: &Stream<'_>,
    hour: Hour,
    done: Summary,
    prepare: &dyn Fn(&HourPlan) -> anyhow::Result<Ready>,
) -> Summary {
    let mut summary = Summary::default();
    let found = scan(stream.tree, stream.name, HourRange::only(hour));
    let plans = found.and_then(|found| Ok(found.into_iter().map(plan).collect::<Result<Vec<_>, _>>()?));
    match plans.as_deref() {
        Err(error) => summary.fail(hour, error),
        Ok([plan]) if plan.action() != Action::DeleteListed => {
            summary.add(batch(stream, std::slice::from_ref(plan), prepare));
        }
        // The batch got as far as publishing it.
        Ok(plans) => {
            let rest = batch(stream, plans, &|plan| prepare_without_rows(stream, plan));
            summary.add(if rest.failed == 0 { done } else { rest });
        }
    }
    summary
}

/// Publishes and then, when all of it is durable, removes the segments.
fn finish(stream: &Stream<'_>, plans: &[(&HourPlan, Summary)], hours: Vec<Ready>) -> anyhow::Result<()> {
    let (mut quarantine, mut parquet, mut remove) = (Vec::new(), Vec::new(), Vec::new());
    for hour in hours {
        quarantine.extend(hour.quarantine);
        parquet.extend(hour.parquet);
        remove.extend(hour.remove);
    }
    publish(quarantine)?;
    fault::point("compact.quarantined");
    publish(parquet)?;
    for (plan, _) in plans.iter().filter(|(plan, _)| plan.action() == Action::DeleteListed) {
        sync_published(&stream.tree.parquet(stream.name, plan.hour))?;
    }
    // Also what an earlier run published, which may have died before it printed it: while segments are left, the path may
    // be missing from all lists.
    let published = plans.iter().filter(|(plan, _)| !plan.closed);
    let published: Vec<_> = published.map(|(plan, _)| stream.tree.parquet(stream.name, plan.hour)).collect();
    stream.listing.add(published.iter().map(PathBuf::as_path));
    fault::point("compact.published");
    for segment in plans.iter().flat_map(|(plan, _)| &plan.listed) {
        log::info!("{}: is in the Parquet file already, and is removed", segment.path.display());
    }
    Ok(remove_segments(&remove)?)
}

/// Publishes what there is: with nothing to publish there is nothing to sync.
fn publish(drafts: Vec<Draft>) -> layout::Result<()> {
    if drafts.is_empty() { Ok(()) } else { layout::publish(drafts) }
}
