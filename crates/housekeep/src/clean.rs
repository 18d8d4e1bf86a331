//! `housekeep clean`: asks, plans, and carries the plan out.
//!
//! Each step can be repeated, and none depends on one that a killed run did not get to. In parquet/ the data set's lock is
//! held and each hour is looked at once more under it, so a plan that others have overtaken does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use cli::{Failure, Format, Outcome, Table, Usage};
use layout::{Area, Commit, DatasetLock, Hour, Name, Tree};
use serde_json::Value;

use crate::args::CleanArgs;
use crate::house::{House, Segments};
use crate::plan::{self, Action, Cause, Loaded, Rules, Step, Target};

/// Hours that are removed at a time: their records are synced before the first of them goes.
const BATCH: usize = 64;

/// Runs the command.
pub(crate) fn run(args: &CleanArgs, rules: &Rules, tree: &Tree, now: DateTime<Utc>) -> anyhow::Result<Outcome> {
    cli::check_names(tree, Area::Parquet, rules.datasets())?;
    let house = House::look(tree)?;
    let asks = rules.ask_warehouse(&house, now);
    if asks {
        check_target(args, tree)?;
    }
    let (loaded, unreachable) = if asks {
        match warehouse::read_load_log(&args.shared.warehouse, &args.shared.session, tree) {
            Ok(log) => (log.map_or(Loaded::Nothing, Loaded::Log), None),
            Err(error) => (Loaded::Unknown, Some(error.context("no hour of a data set is removed"))),
        }
    } else {
        (Loaded::Nothing, None)
    };
    // A run finds out when it takes the lock; what it then leaves, a dry run must not promise.
    let busy = if args.plan.dry_run { busy(tree, &house)? } else { BTreeSet::new() };
    let steps = plan::files(&house, rules, &loaded, &busy, now);
    let steps = with_folders(tree, steps, &busy, now)?;
    let mut complete = true;
    if args.plan.dry_run {
        print(tree, &steps, args.shared.print.format)?;
    } else {
        name_kept(tree, &steps);
        complete = carry_out(tree, &steps);
    }
    complete &= !steps.iter().any(|step| step.action == Action::Keep(Cause::Damaged));
    match unreachable {
        Some(error) => Err(error),
        None => Ok(if complete { Outcome::Done } else { Outcome::Partial }),
    }
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
fn busy(tree: &Tree, house: &House) -> layout::Result<BTreeSet<Name>> {
    let mut busy = BTreeSet::new();
    for name in house.datasets.keys() {
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
    let goes = |step: &&Step| step.action == Action::Remove && !matches!(step.target, Target::Hour(..));
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

fn print(tree: &Tree, steps: &[Step], format: Format) -> io::Result<()> {
    let columns = ["action", "kind", "name", "hour", "path", "bytes", "reason"].map(str::to_owned).to_vec();
    let mut table = Table::new(io::stdout().lock(), format, columns)?;
    for step in steps {
        let action = if step.action == Action::Remove { "remove" } else { "keep" };
        let (kind, hour) = match &step.target {
            Target::Quarantined(segment) => ("quarantine", Some(segment.hour)),
            Target::Hour(hour, _) => ("parquet", Some(*hour)),
            Target::Orphan(_) => ("orphan", None),
            Target::Folder => ("folder", None),
        };
        table.row(vec![
            action.into(),
            kind.into(),
            step.name.as_str().into(),
            hour.map_or(Value::Null, |hour| hour.to_string().into()),
            tree.relative(&step.path).into(),
            step.bytes.into(),
            step.reason.as_str().into(),
        ])?;
    }
    table.finish()
}

/// Says what stays although it is due: each hour to who wants to know, what is wrong or overdue to everybody.
fn name_kept(tree: &Tree, steps: &[Step]) {
    let mut overdue: BTreeMap<(&Name, &str), Vec<Hour>> = BTreeMap::new();
    let mut damaged: BTreeMap<&Name, Vec<Failure>> = BTreeMap::new();
    for step in steps {
        let (Action::Keep(cause), Target::Hour(hour, _)) = (step.action, &step.target) else { continue };
        match cause {
            Cause::Waiting => log::info!("{}: kept: {}", tree.relative(&step.path), step.reason),
            Cause::Overdue => {
                log::info!("{}: kept: {}", tree.relative(&step.path), step.reason);
                overdue.entry((&step.name, &step.reason)).or_default().push(*hour);
            }
            Cause::Damaged => {
                damaged.entry(&step.name).or_default().push(Failure::new(*hour, format!("kept: {}", step.reason)));
            }
        }
    }
    for (name, failures) in damaged {
        cli::report_failures(name, &failures);
    }
    for ((name, reason), hours) in overdue {
        let overdue = cli::count(hours.len(), "overdue hour");
        log::warn!("{name}: {overdue} kept ({}): {reason}", cli::hours_in_words(hours));
    }
}

/// Does what is planned; says whether all of it could be done.
fn carry_out(tree: &Tree, steps: &[Step]) -> bool {
    let mut complete = true;
    for steps in steps.chunk_by(|a, b| (a.area, &a.name) == (b.area, &b.name)) {
        let Some(Step { area, name, .. }) = steps.first() else { continue };
        let result = match area {
            Area::Parquet => clean_dataset(tree, name, steps),
            Area::Raw | Area::Quarantine => Ok(clean_files(tree, steps)),
        };
        complete &= result.unwrap_or_else(|error| {
            log::error!("{error:#}");
            false
        });
    }
    complete
}

/// Does the steps of a data set under its lock.
fn clean_dataset(tree: &Tree, name: &Name, steps: &[Step]) -> anyhow::Result<bool> {
    if steps.iter().all(|step| step.action != Action::Remove) {
        return Ok(true);
    }
    let Some(lock) = DatasetLock::try_acquire(tree, name)? else {
        log::info!("{name}: another process is changing this data set; left for the next run");
        return Ok(true);
    };
    let raw = Segments::look(tree, Area::Raw, name)?.hours();
    let mut complete = true;
    let due = steps.iter().filter_map(|step| match (step.action, &step.target) {
        (Action::Remove, Target::Hour(hour, Some(commit))) => Some((*hour, commit.clone())),
        _ => None,
    });
    let due: Vec<_> = due.collect();
    for batch in due.chunks(BATCH) {
        let batch: Vec<_> = batch.iter().filter(|hour| is_as_planned(tree, name, hour, &raw)).cloned().collect();
        match tree.expire_parquet(&lock, name, &batch) {
            Ok(()) => batch.iter().for_each(|(hour, _)| log::info!("{name}: removed {hour}")),
            Err(error) => {
                log::error!("{error}");
                complete = false;
            }
        }
    }
    Ok(clean_files(tree, steps) && complete)
}

/// Whether an hour still is what the plan was made for.
fn is_as_planned(tree: &Tree, name: &Name, (hour, planned): &(Hour, Commit), raw: &BTreeSet<Hour>) -> bool {
    match tree.commit(name, *hour) {
        Ok(Some(commit)) if commit.fingerprint == planned.fingerprint && !raw.contains(hour) => true,
        Ok(None) => false,
        _ => {
            log::info!("{name}: {hour} has changed meanwhile; left for the next run");
            false
        }
    }
}

/// Does the steps that need no lock, or whose lock is held; says whether all of them could be done.
fn clean_files(tree: &Tree, steps: &[Step]) -> bool {
    let mut complete = true;
    for step in steps.iter().filter(|step| step.action == Action::Remove) {
        let result = match &step.target {
            Target::Quarantined(segment) => tree.remove_quarantined(segment).map(|()| true),
            Target::Orphan(orphan) => tree.remove_unpublished(orphan).map(|()| true),
            Target::Folder => tree.remove_empty_folder(&step.path),
            Target::Hour(..) => Ok(false),
        };
        match result {
            Ok(true) => log::info!("removed {} ({})", tree.relative(&step.path), step.reason),
            Ok(false) => {}
            Err(error) => {
                log::error!("{error}");
                complete = false;
            }
        }
    }
    complete
}
