//! The two commands: scan, plan, then print or do.

use std::collections::BTreeSet;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use cli::{Outcome, TryAgain, Usage};
use layout::{Area, DatasetLock, Hour, Name, Tree};

use crate::args::{Args, CleanArgs, Command, SharedArgs};
use crate::plan::{self, Action, Cause, Loaded, Removable, Step};
use crate::rules::Rules;
use crate::scan::Snapshot;
use crate::{clean, report, status};

/// Runs the command. The clock is read here, once.
pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let tree = args.common.existing_tree()?;
    match args.command {
        Command::Clean(args) => clean(&args, &tree, Utc::now()),
        Command::Status(args) => status(&args, &tree, Utc::now()),
    }
}

fn clean(args: &CleanArgs, tree: &Tree, now: DateTime<Utc>) -> anyhow::Result<Outcome> {
    let rules = Rules::new(args).map_err(Usage)?;
    cli::check_names(tree, Area::Parquet, rules.datasets())?;
    let snapshot = Snapshot::scan(tree)?;
    let (loaded, unreachable) = loaded(args, tree, rules.ask_warehouse(&snapshot, now))?;
    // A run finds out when it takes the lock; a dry run must not promise what a run would then leave.
    let busy = if args.plan.dry_run { busy(tree, &snapshot)? } else { BTreeSet::new() };
    let steps = plan::files(&snapshot, &rules, &loaded, &busy, now);
    let steps = with_folders(tree, steps, &busy, now)?;
    let mut complete = true;
    if args.plan.dry_run {
        report::print_plan(tree, &steps, args.shared.print.format)?;
    } else {
        report::kept(tree, &steps);
        complete = clean::carry_out(tree, &steps);
    }
    complete &= !steps.iter().any(|step| step.action == Action::Keep(Cause::Damaged));
    match unreachable {
        Some(error) => Err(error),
        None => Ok(if complete { Outcome::Done } else { Outcome::Partial }),
    }
}

/// What the warehouse holds, if it matters, and the error if it cannot be asked.
fn loaded(args: &CleanArgs, tree: &Tree, matters: bool) -> Result<(Loaded, Option<anyhow::Error>), Usage> {
    if !matters {
        return Ok((Loaded::Nothing, None));
    }
    check_target(args, tree)?;
    Ok(match warehouse::read_load_log(&args.shared.warehouse, &args.shared.session, tree) {
        Ok(log) => (log.map_or(Loaded::Nothing, Loaded::Log), None),
        Err(error) => (Loaded::Unknown, Some(error.context("no hour of a data set is removed"))),
    })
}

/// Refuses to ask the embedded warehouse, which is not there, where the environment names a server's: each hour would
/// count as one that no warehouse needs.
fn check_target(args: &CleanArgs, tree: &Tree) -> Result<(), Usage> {
    let args = &args.shared.warehouse;
    let names_server = ["DB_NAME", "DB_USER"].iter().any(|name| std::env::var_os(name).is_some());
    let file = args.file.clone().unwrap_or_else(|| tree.warehouse());
    if args.target == warehouse::WarehouseKind::Duckdb && names_server && !file.exists() {
        return Err(Usage(
            "DB_NAME or DB_USER is set, and --target does not say which kind of server that is (mysql, postgres): without it no \
             warehouse is asked what it still needs"
                .to_owned(),
        ));
    }
    Ok(())
}

/// The data sets whose lock another process holds.
fn busy(tree: &Tree, snapshot: &Snapshot) -> layout::Result<BTreeSet<Name>> {
    let mut busy = BTreeSet::new();
    for name in snapshot.datasets.keys() {
        if DatasetLock::try_acquire(tree, name)?.is_none() {
            busy.insert(name.clone());
        }
    }
    Ok(busy)
}

/// Adds the folders that are empty, or will be when `steps` are done, and puts all steps in the order of doing.
fn with_folders(
    tree: &Tree,
    mut steps: Vec<Step>,
    busy: &BTreeSet<Name>,
    now: DateTime<Utc>,
) -> layout::Result<Vec<Step>> {
    // An hour leaves its record behind, so its folder is not empty.
    let goes = |step: &&Step| step.action == Action::Remove && !matches!(step.what, Removable::Hour(..));
    let removed: BTreeSet<PathBuf> = steps.iter().filter(goes).map(|step| step.path.clone()).collect();
    for area in Area::ALL {
        for name in tree.names(area)? {
            if area == Area::Parquet && busy.contains(&name) {
                continue;
            }
            let empty = tree.empty_folders(area, &name, &removed, Hour::of(now))?;
            steps.extend(plan::folders(area, &name, empty));
        }
    }
    // Stable: within a stream or data set files stay before folders, and those deepest first.
    steps.sort_by(|a, b| (a.area, &a.name).cmp(&(b.area, &b.name)));
    Ok(steps)
}

fn status(args: &SharedArgs, tree: &Tree, now: DateTime<Utc>) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Done;
    let log = warehouse::read_load_log(&args.warehouse, &args.session, tree).unwrap_or_else(|error| {
        log::warn!("what is loaded is not shown: {error:#}");
        if !error.chain().any(<dyn std::error::Error>::is::<TryAgain>) {
            outcome = Outcome::Partial;
        }
        None
    });
    let snapshot = Snapshot::scan(tree)?;
    if report::damaged(&snapshot) {
        outcome = Outcome::Partial;
    }
    report::print_sections(&status::sections(tree, &snapshot, log.as_ref(), now)?, args.print.format)?;
    Ok(outcome)
}
