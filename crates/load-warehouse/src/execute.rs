//! A run: plans each data set, loads what is out of date, and says what failed.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use cli::{Outcome, Table, TryAgain, count};
use indicatif::ProgressBar;
use layout::{Name, Tree};
use warehouse::{LoadLog, Warehouse, read_load_log};

use crate::args::Args;
use crate::key;
use crate::loader::{Tally, load_windows};
use crate::plan::{Window, plan};
use crate::verify::verify;

/// How often a data set is planned anew because files changed while they were loaded.
const PASSES: u32 = 5;

pub(crate) fn run(mut args: Args) -> anyhow::Result<Outcome> {
    let tree = args.common.existing_tree()?;
    let begun = Instant::now();
    key::check_names(&args.key)?;
    if args.verify {
        return verify(&args, &tree);
    }
    args.datasets = args.names(&tree, &LoadLog::new())?.into_iter().collect();
    let mut tally = Tally::default();
    let log = read_load_log(&args.warehouse, &args.session, &tree)?.unwrap_or_default();
    let plans = plan_all(&args, &tree, &log, &mut tally)?;
    if args.plan.dry_run {
        print_plan(&args, &plans)?;
    } else {
        load_all(&args, &tree, plans, &mut tally)?;
        let (hours, rows) = (count(tally.hours, "hour"), count(tally.rows, "row"));
        log::info!("{hours}, {rows}, {:.1} s", begun.elapsed().as_secs_f64());
        print_heads(&args, &tree)?;
    }
    Ok(if tally.failed == 0 { Outcome::Done } else { Outcome::Partial })
}

fn plan_all(args: &Args, tree: &Tree, log: &LoadLog, tally: &mut Tally) -> anyhow::Result<BTreeMap<Name, Vec<Window>>> {
    let mut plans = BTreeMap::new();
    for dataset in &args.datasets {
        plans.insert(dataset.clone(), plan_one(args, tree, log, dataset, tally)?);
    }
    Ok(plans)
}

/// The out-of-date windows of a data set; files that cannot be read are named and counted.
fn plan_one(args: &Args, tree: &Tree, log: &LoadLog, dataset: &Name, tally: &mut Tally) -> anyhow::Result<Vec<Window>> {
    let mut files = Vec::new();
    for (file, commit) in tree.hours(dataset, args.range.range()?)?.published {
        match commit {
            Ok(commit) => files.push((file, commit)),
            Err(error) => {
                log::error!("{}", cli::unreadable(dataset, &error));
                tally.failed += 1;
            }
        }
    }
    Ok(plan(files, log.get(dataset)))
}

fn print_plan(args: &Args, plans: &BTreeMap<Name, Vec<Window>>) -> anyhow::Result<()> {
    let columns = ["dataset", "hour", "version", "rows"].map(str::to_owned).to_vec();
    let mut table = Table::new(io::stdout().lock(), args.print.format, columns)?;
    for (dataset, window) in plans.iter().flat_map(|(dataset, windows)| windows.iter().map(move |w| (dataset, w))) {
        let version = if window.replaces { "changed" } else { "new" };
        let hour = window.hour.to_string();
        table.row(vec![dataset.as_str().into(), hour.into(), version.into(), window.rows.into()])?;
    }
    Ok(table.finish()?)
}

fn load_all(args: &Args, tree: &Tree, plans: BTreeMap<Name, Vec<Window>>, tally: &mut Tally) -> anyhow::Result<()> {
    let due = plans.values().map(Vec::len).sum::<usize>();
    if due == 0 {
        return Ok(());
    }
    let mut warehouse = Warehouse::attach_to_write(&args.warehouse, &args.session, tree)?;
    let progress = cli::progress("hours", due as u64);
    let mut waits: Option<anyhow::Error> = None;
    for (dataset, windows) in plans {
        let Err(error) = load_one(args, tree, &mut warehouse, &dataset, windows, tally, &progress) else { continue };
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

/// Loads the windows of one data set, and again those whose files change meanwhile.
fn load_one(
    args: &Args,
    tree: &Tree,
    warehouse: &mut Warehouse,
    dataset: &Name,
    mut windows: Vec<Window>,
    tally: &mut Tally,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    for _ in 0..PASSES {
        load_windows(warehouse, dataset, &args.key, windows, tally, progress)?;
        if std::mem::take(&mut tally.changed) == 0 {
            return Ok(());
        }
        let log = warehouse.patiently(|warehouse| warehouse.load_log(Some(dataset)))?.unwrap_or_default();
        // What could not be read is named again, and what cannot be read since then is counted for the first time.
        let mut now = Tally::default();
        windows = plan_one(args, tree, &log, dataset, &mut now)?;
        tally.failed = tally.failed.max(now.failed);
    }
    Err(TryAgain("its files change faster than they are loaded: run again later".to_owned()).into())
}

fn print_heads(args: &Args, tree: &Tree) -> anyhow::Result<()> {
    let Some(rows) = args.head else { return Ok(()) };
    let Some(warehouse) = Warehouse::attach_to_read(&args.warehouse, &args.session, tree)? else { return Ok(()) };
    for dataset in &args.datasets {
        if !warehouse.columns(dataset)?.is_empty() {
            warehouse.print_head(dataset, rows, io::stdout().lock(), args.print.format)?;
        }
    }
    Ok(())
}
