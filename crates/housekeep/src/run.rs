//! The two commands: scan, plan, then print or do.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use cli::{CommonArgs, Outcome, TryAgain, Usage};
use layout::{Area, DatasetLock, Hour, Name, Tree};
use warehouse::{NothingLoaded, WarehouseKind};

use crate::args::{Args, CleanArgs, Command, SharedArgs};
use crate::plan::{self, Action, Loaded, Removable, Step};
use crate::scan::{Dataset, Snapshot};
use crate::{clean, report, status};

/// Runs the command. The clock is read here, once.
pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let tree = args.common.existing_tree()?;
    match args.command {
        Command::Clean(command) => clean(&args.common, &command, &tree, Utc::now()),
        Command::Status(command) => status(&args.common, &command, &tree, Utc::now()),
    }
}

fn clean(common: &CommonArgs, args: &CleanArgs, tree: &Tree, now: DateTime<Utc>) -> anyhow::Result<Outcome> {
    args.check()?;
    let streams = common.streams()?;
    cli::check_names(tree, &streams, Area::Parquet, args.keep_parquet.iter().filter_map(|keep| keep.dataset.as_ref()))?;
    let snapshot = Snapshot::scan(tree)?;
    let loaded = loaded(args, tree, &snapshot, now)?;
    let mut steps = plan::files(&snapshot, args, &loaded, now);
    add_folders(tree, &mut steps, now)?;
    let mut complete = true;
    if args.plan.dry_run {
        // A run finds out when it takes the lock; a dry run must not promise what a run would then leave.
        for name in snapshot.datasets.keys() {
            if DatasetLock::try_acquire(tree, name)?.is_none() {
                steps.retain(|step| step.area != Area::Parquet || step.name != *name);
            }
        }
        report::print_plan(tree, &steps, args.shared.print.format)?;
    } else {
        report::kept(tree, &steps);
        complete = clean::carry_out(tree, &steps);
    }
    complete &= steps.iter().all(|step| step.action != Action::KeepDamaged);
    loaded.context("no hour of a data set is removed")?;
    Ok(if complete { Outcome::Done } else { Outcome::Partial })
}

fn loaded(args: &CleanArgs, tree: &Tree, snapshot: &Snapshot, now: DateTime<Utc>) -> Result<Loaded, Usage> {
    let is_due = |(name, dataset): (&Name, &Dataset)| {
        args.age_of(name).is_some_and(|age| dataset.hours.keys().any(|hour| age.is_past(*hour, now)))
    };
    if args.even_if_needed || !snapshot.datasets.iter().any(is_due) {
        return Ok(Ok(None));
    }
    // Where the environment names a server, an embedded warehouse that is not there is not meant: no hour would be needed.
    let names_server = ["DB_NAME", "DB_USER"].iter().any(|name| std::env::var_os(name).is_some());
    let SharedArgs { warehouse, session, .. } = &args.shared;
    let file = warehouse.file.clone().unwrap_or_else(|| tree.warehouse());
    if warehouse.target == WarehouseKind::Duckdb && names_server && !file.exists() {
        return Err(Usage(
            "DB_NAME or DB_USER is set, and --target does not say which kind of server that is (mysql, postgres): without it no \
             warehouse is asked what it still needs"
                .to_owned(),
        ));
    }
    Ok(warehouse::read_load_log(warehouse, session, tree))
}

/// Adds the folders that are empty, or will be when `steps` are done, and puts all steps in the order of doing.
fn add_folders(tree: &Tree, steps: &mut Vec<Step>, now: DateTime<Utc>) -> layout::Result<()> {
    // An hour leaves its record behind, so its folder is not empty.
    let goes = |step: &&Step| step.action == Action::Remove && !matches!(step.what, Removable::Hour(..));
    let removed: BTreeSet<PathBuf> = steps.iter().filter(goes).map(|step| step.path.clone()).collect();
    for area in Area::ALL {
        for name in tree.names(area)? {
            let empty = tree.empty_folders(area, &name, &removed, Hour::of(now))?;
            let remove = |path| Step::remove(area, &name, Removable::Folder, path, 0, "empty");
            steps.extend(empty.into_iter().map(remove));
        }
    }
    // Stable: within a stream or data set files stay before folders, and those deepest first.
    steps.sort_by(|a, b| (a.area, &a.name).cmp(&(b.area, &b.name)));
    Ok(())
}

fn status(common: &CommonArgs, args: &SharedArgs, tree: &Tree, now: DateTime<Utc>) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Done;
    let log = warehouse::read_load_log(&args.warehouse, &args.session, tree).unwrap_or_else(|error| {
        log::warn!("what is loaded is not shown: {error:#}");
        if !error.chain().any(|cause| cause.is::<TryAgain>() || cause.is::<NothingLoaded>()) {
            outcome = Outcome::Partial;
        }
        None
    });
    let snapshot = Snapshot::scan(tree)?;
    if report::damaged(&snapshot) {
        outcome = Outcome::Partial;
    }
    report::print_sections(
        &status::sections(tree, &common.streams()?, &snapshot, log.as_ref(), now)?,
        args.print.format,
    )?;
    Ok(outcome)
}
