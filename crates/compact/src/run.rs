//! The run as a whole: stream after stream, and what becomes of the exit status.

use std::time::Instant;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use cli::{Format, Outcome, TryAgain};
use layout::{Area, DatasetLock, Hour, HourRange, Name, Tree};
use models::Streams;

use crate::args::Args;
use crate::batches::compact_hours;
use crate::listing::Listing;
use crate::plan::{HourPlan, due, plan};
use crate::report::{Summary, print_plans};
use crate::scan::scan;
use crate::stream::{Stream, StreamProgress};
use crate::verify::verify;

/// Runs the program. The clock is read here, once.
#[expect(clippy::needless_pass_by_value, reason = "the signature of every program's run")]
pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let (args, now, started) = (&args, Utc::now(), Instant::now());
    let tree = args.common.existing_tree()?;
    if args.verify {
        return verify(args, &tree);
    }
    let mut summary = Summary::default();
    let streams = args.common.streams()?;
    let names = streams_of(&tree, &streams, args, &mut summary)?;
    let terminator = if args.print0 { Some(0) } else { args.print.then_some(b'\n') };
    let listing = Listing::new(terminator);
    let range = due(args.range.range()?, Hour::of(now), args.include_current);
    let run = Run { args, tree: &tree, streams: &streams, range, now, listing: &listing };
    if args.plan.dry_run {
        let mut plans = Vec::new();
        for name in names {
            let of_stream = run.plans(&name, &mut summary)?;
            summary.report_failures(&name);
            plans.push((name, of_stream));
        }
        if terminator.is_some() {
            for (name, plans) in &plans {
                let published = plans.iter().filter(|plan| plan.has_rows_to_make());
                listing.add(published.map(|plan| tree.parquet(name, plan.hour)));
            }
            listing.finish().context("cannot print")?;
        } else {
            print_plans(args.format.unwrap_or(Format::Table), &plans).context("cannot print")?;
        }
        return Ok(if summary.failed == 0 { Outcome::Done } else { Outcome::Partial });
    }
    let mut locked = Vec::new();
    let mut errors = Vec::new();
    for name in names {
        let done = run.compact(&name, &mut summary);
        summary.report_failures(&name);
        match done {
            Ok(true) => {}
            Ok(false) => locked.push(name),
            Err(error) => {
                let remedy =
                    cli::known_cause(&engine::explain(&error)).1.map_or(String::new(), |remedy| format!(" ({remedy})"));
                errors.push(error.context(format!("{name}: cannot be compacted{remedy}")));
            }
        }
    }
    summary.log(started.elapsed());
    if let Err(error) = listing.finish() {
        log::error!("the list of published files cannot be printed to its end: {error}; the files are published");
        summary.failed += 1;
    }
    outcome(&summary, &locked, errors)
}

/// The streams to look at. One that nothing describes is named and counted as failed.
fn streams_of(tree: &Tree, known: &Streams, args: &Args, summary: &mut Summary) -> anyhow::Result<Vec<Name>> {
    let there = tree.names(Area::Raw)?;
    cli::check_names(tree, known, Area::Raw, &args.streams)?;
    let names = if args.streams.is_empty() { &there } else { &args.streams };
    let mut streams = Vec::new();
    for name in names {
        if known.has(name.as_str()) {
            streams.push(name.clone());
        } else if there.contains(name) {
            log::error!(
                "raw/{name}: there is no stream of this name (there are {}): its files are left alone; give it a stream \
                 file (--streams), or move the folder out of raw/",
                cli::stream_names(known)
            );
            summary.failed += 1;
        }
    }
    Ok(streams)
}

/// What holds for all streams of a run.
struct Run<'r> {
    args: &'r Args,
    tree: &'r Tree,
    streams: &'r Streams,
    range: HourRange,
    now: DateTime<Utc>,
    listing: &'r Listing,
}

impl Run<'_> {
    /// The plans for a stream. An hour that cannot be planned is named and counted as failed.
    fn plans(&self, name: &Name, summary: &mut Summary) -> anyhow::Result<Vec<HourPlan>> {
        let mut plans = Vec::new();
        for found in scan(self.tree, name, self.range)? {
            let hour = found.hour;
            match plan(found) {
                Ok(plan) => plans.push(plan),
                Err(error) => summary.fail(hour, &error.into()),
            }
        }
        Ok(plans)
    }

    /// Compacts a stream; false if another process has its lock.
    fn compact(&self, name: &Name, summary: &mut Summary) -> anyhow::Result<bool> {
        let Self { args, tree, streams, listing, now, range } = *self;
        if tree.sealed_segments(Area::Raw, name, range)?.is_empty() {
            return Ok(true);
        }
        let Some(lock) = DatasetLock::try_acquire(tree, name)? else { return Ok(false) };
        // What was seen before the lock was had may have been compacted since.
        let plans = self.plans(name, summary)?;
        let progress = StreamProgress::new(&plans);
        let stream = Stream { tree, name, streams, lock, now, dedup: args.dedup, progress, listing };
        compact_hours(&stream, plans, &args.session, summary)?;
        Ok(true)
    }
}

/// The exit status: 3 when something failed or went to quarantine, 75 when only a lock stood in the way, 1 when nothing
/// could be looked at. A failed hour is 3 also when there is nothing else to do: what comes after compact does the others.
fn outcome(summary: &Summary, locked: &[Name], mut errors: Vec<anyhow::Error>) -> anyhow::Result<Outcome> {
    let locked: Vec<_> = locked.iter().map(Name::as_str).collect();
    let busy = (!locked.is_empty())
        .then(|| TryAgain(format!("{}: another process has the lock; try again later", locked.join(", "))));
    if summary.hours == 0 && summary.failed == 0 && busy.is_none() && errors.len() == 1 {
        return errors.pop().map_or(Ok(Outcome::Done), Err);
    }
    for error in &errors {
        log::error!("{}", engine::explain(error));
    }
    if summary.failed + summary.damaged + summary.late > 0 || !errors.is_empty() {
        if let Some(busy) = busy {
            log::warn!("{busy}");
        }
        return Ok(Outcome::Partial);
    }
    busy.map_or(Ok(Outcome::Done), |busy| Err(busy.into()))
}
