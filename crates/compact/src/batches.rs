//! Compacts the hours of one stream: large ones with all threads each, small ones side by side and published in batches.
//!
//! The order is: quarantine durable, then the Parquet file durable, then the segments removed. If the process dies in
//! between, the next run does the rest, because the Parquet file lists what is in it.

use engine::SessionArgs;
use layout::{Hour, HourRange, fault, publish, remove_segments, sync_published};

use crate::hour::{Ready, prepare, prepare_without_rows};
use crate::plan::{Action, HourPlan, plan};
use crate::report::Summary;
use crate::scan::scan;
use crate::segment_table::Sources;
use crate::stream::Stream;

/// Hours that are published together.
const BATCH: usize = 32;

/// Makes an hour's drafts.
type Prepare<'p> = &'p dyn Fn(&HourPlan) -> anyhow::Result<Ready>;

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
        let connection = engine::open(args)?;
        let sources = Sources::register(&connection)?;
        let (large, small): (Vec<_>, Vec<_>) = fresh.into_iter().partition(HourPlan::is_large);
        for plan in &large {
            let prepare = |plan: &_| prepare(stream, &connection, &sources, plan, args.threads());
            summary.add(batch(stream, std::slice::from_ref(plan), &prepare));
        }
        let batches: Vec<_> = small.chunks(BATCH).collect();
        let connect = move || Ok(connection.try_clone()?);
        let done = cli::in_parallel(args.threads(), &batches, connect, |connection, plans| {
            batch(stream, plans, &|plan| prepare(stream, connection, &sources, plan, 1))
        })?;
        for done in done {
            summary.add(done);
        }
    }
    stream.progress.finish();
    Ok(())
}

/// Makes the hours of a batch and finishes together those that succeed. If that fails, each is tried by itself.
fn batch(stream: &Stream<'_>, plans: &[HourPlan], prepare: Prepare<'_>) -> Summary {
    let mut summary = Summary::default();
    let (mut made, mut ready) = (Vec::new(), Vec::new());
    for plan in plans {
        let prepared = prepare(plan);
        stream.progress.hour(plan, prepared.as_ref().map_or(0, |hour| hour.done.rows));
        match prepared {
            Ok(mut hour) => {
                made.push((plan, std::mem::take(&mut hour.done)));
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
fn alone(stream: &Stream<'_>, hour: Hour, done: Summary, prepare: Prepare<'_>) -> Summary {
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
    // With nothing to publish there is nothing to sync.
    if !quarantine.is_empty() {
        publish(quarantine)?;
    }
    fault::point("compact.quarantined");
    if !parquet.is_empty() {
        publish(parquet)?;
    }
    for (plan, _) in plans.iter().filter(|(plan, _)| plan.action() == Action::DeleteListed) {
        sync_published(&stream.tree.parquet(stream.name, plan.hour))?;
    }
    // Also what an earlier run published, which may have died before it printed it: segments that are left say so.
    let published = plans.iter().filter(|(plan, _)| !plan.closed);
    stream.listing.add(published.map(|(plan, _)| stream.tree.parquet(stream.name, plan.hour)));
    fault::point("compact.published");
    for segment in plans.iter().flat_map(|(plan, _)| &plan.listed) {
        log::info!("{}: is in the Parquet file already, and is removed", segment.path.display());
    }
    Ok(remove_segments(&remove)?)
}
