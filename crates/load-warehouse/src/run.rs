//! A run: plans each data set, loads what is due, and says what failed.

use std::time::Instant;

use cli::{Failure, Outcome, TryAgain, count};
use indicatif::ProgressBar;
use layout::{Name, Tree};
use warehouse::{LoadLog, LoadedHours, Warehouse};

use crate::args::Args;
use crate::load_dataset::{Counts, load_dataset};
use crate::plan::{Plan, plan};
use crate::scan::{HourFile, scan};
use crate::{primary_key, report, verify};

/// How often a data set is planned anew because files changed while they were loaded.
const PASSES: u32 = 5;

pub(crate) fn run(mut args: Args) -> anyhow::Result<Outcome> {
    let tree = args.common.existing_tree()?;
    let begun = Instant::now();
    primary_key::check_names(&args.key)?;
    if args.verify {
        return verify::run(&args, &tree);
    }
    args.datasets = args.names(&tree, &LoadLog::new())?.into_iter().collect();
    let mut counts = Counts::default();
    let plan = plan_all(&args, &tree, &mut counts)?;
    args.datasets = plan.keys().cloned().collect();
    if args.plan.dry_run {
        report::print_plan(&args, &plan)?;
    } else {
        load_all(&args, &tree, plan, &mut counts)?;
        let (hours, rows) = (count(counts.hours, "hour"), count(counts.rows, "row"));
        log::info!("{hours}, {rows}, {:.1} s", begun.elapsed().as_secs_f64());
        report::print_heads(&args, &tree)?;
    }
    Ok(if counts.failed == 0 && counts.replaced == 0 { Outcome::Done } else { Outcome::Partial })
}

fn plan_all(args: &Args, tree: &Tree, counts: &mut Counts) -> anyhow::Result<Plan> {
    let warehouse = Warehouse::attach_to_read(&args.warehouse, &args.session, tree)?;
    let mut plan = Plan::new();
    for dataset in &args.datasets {
        let loaded = warehouse.as_ref().map_or_else(|| Ok(LoadedHours::new()), |warehouse| warehouse.held(dataset));
        match report::unless_one_of_several(dataset, loaded, args.datasets.len())? {
            Some(loaded) => drop(plan.insert(dataset.clone(), plan_one(args, tree, dataset, loaded, counts)?)),
            None => counts.failed += 1,
        }
    }
    Ok(plan)
}

/// The hours of a data set that are due; files that cannot be read are named and counted.
fn plan_one(
    args: &Args,
    tree: &Tree,
    dataset: &Name,
    loaded: LoadedHours,
    counts: &mut Counts,
) -> anyhow::Result<Vec<HourFile>> {
    let snapshot = scan(tree, dataset, args.range.range()?, loaded)?;
    let unreadable = snapshot.unreadable.iter().map(|(hour, reason)| Failure::new(*hour, reason.clone()));
    let unreadable: Vec<_> = unreadable.collect();
    cli::report_failures(dataset, &unreadable);
    counts.failed += unreadable.len();
    Ok(plan(&snapshot))
}

fn load_all(args: &Args, tree: &Tree, plan: Plan, counts: &mut Counts) -> anyhow::Result<()> {
    let due = plan.values().map(Vec::len).sum::<usize>();
    if due == 0 {
        return Ok(());
    }
    let mut warehouse = Warehouse::attach_to_write(&args.warehouse, &args.session, tree)?;
    let progress = cli::progress("hours", due as u64);
    let mut waits: Option<anyhow::Error> = None;
    for (dataset, files) in plan {
        let Err(error) = load_one(args, tree, &mut warehouse, &dataset, files, counts, &progress) else { continue };
        if !error.is::<TryAgain>() {
            return Err(error);
        }
        // The others need not wait for what this one waits for, as long as the warehouse is there.
        if let Some(before) = waits.replace(error.context(format!("{dataset}: not loaded"))) {
            log::error!("{before:#}");
        }
        if warehouse.attach_again().is_err() {
            break;
        }
    }
    progress.finish_and_clear();
    waits.map_or(Ok(()), Err)
}

/// Loads files of one data set, and again those that change meanwhile.
fn load_one(
    args: &Args,
    tree: &Tree,
    warehouse: &mut Warehouse,
    dataset: &Name,
    mut files: Vec<HourFile>,
    counts: &mut Counts,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    for _ in 0..PASSES {
        load_dataset(warehouse, dataset, &args.key, files, counts, progress)?;
        if std::mem::take(&mut counts.changed) == 0 {
            return Ok(());
        }
        let loaded = warehouse.patiently(|warehouse| warehouse.loaded(dataset))?;
        // What could not be read is named again, and what cannot be read since then is counted for the first time.
        let mut now = Counts::default();
        files = plan_one(args, tree, dataset, loaded, &mut now)?;
        counts.failed = counts.failed.max(now.failed);
    }
    Err(TryAgain("its files change faster than they are loaded: run again later".to_owned()).into())
}
