//! Carries out what `housekeep clean` has planned.
//!
//! Each step can be repeated, and none depends on one that a killed run did not get to. In parquet/ the data set's lock is
//! held and each hour is looked at once more under it, so a plan that others have overtaken does nothing.

use std::collections::BTreeSet;

use layout::{Area, Commit, DatasetLock, Hour, Name, Tree};

use crate::plan::{Action, Removable, Step};
use crate::scan::Segments;

/// Hours that are removed at a time: their records are synced before the first of them goes.
const BATCH: usize = 64;

/// Does what is planned; says whether all of it could be done.
pub(crate) fn carry_out(tree: &Tree, steps: &[Step]) -> bool {
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
    let raw = Segments::scan(tree, Area::Raw, name)?.hours();
    let mut complete = true;
    let due = steps.iter().filter_map(|step| match (step.action, &step.what) {
        (Action::Remove, Removable::Hour(hour, Some(commit))) => Some((*hour, commit.clone())),
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
        let result = match &step.what {
            Removable::Quarantined(segment) => tree.remove_quarantined(segment).map(|()| true),
            Removable::Orphan(orphan) => tree.remove_unpublished(orphan).map(|()| true),
            Removable::Folder => tree.remove_empty_folder(&step.path),
            Removable::Hour(..) => Ok(false),
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
