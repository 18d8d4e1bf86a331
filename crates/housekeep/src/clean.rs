//! Carries out what `housekeep clean` has planned.
//!
//! Each step can be repeated, and none depends on one that a killed run did not get to. In parquet/ the data set's lock is
//! held and each hour is looked at once more under it, so a plan that others have overtaken does nothing.

use layout::{Area, DatasetLock, Name, Tree};

use crate::plan::{Action, Removable, Step};
use crate::scan::Segments;

/// Does what is planned; says whether all of it could be done.
pub(crate) fn carry_out(tree: &Tree, steps: &[Step]) -> bool {
    let mut complete = true;
    let due: Vec<_> = steps.iter().filter(|step| step.action == Action::Remove).collect();
    for steps in due.chunk_by(|a, b| (a.area, &a.name) == (b.area, &b.name)) {
        let Some(Step { area, name, .. }) = steps.first() else { continue };
        complete &= match area {
            Area::Parquet => {
                clean_dataset(tree, name, steps).inspect_err(|error| log::error!("{error:#}")).unwrap_or(false)
            }
            Area::Raw | Area::Quarantine => clean_files(tree, steps),
        };
    }
    complete
}

/// Does the steps of a data set under its lock.
fn clean_dataset(tree: &Tree, name: &Name, steps: &[&Step]) -> anyhow::Result<bool> {
    let Some(lock) = DatasetLock::try_acquire(tree, name)? else {
        log::info!("{name}: another process is changing this data set; left for the next run");
        return Ok(true);
    };
    let raw = Segments::scan(tree, Area::Raw, name)?.hours();
    // An hour with its record, if it still is what the plan was made for.
    let as_planned = |step: &&Step| {
        let Removable::Hour(hour, planned) = &step.what else { return None };
        match tree.commit(name, *hour) {
            Ok(Some(commit)) if Some(&commit.fingerprint) == planned.as_ref() && !raw.contains(hour) => {
                return Some((*hour, commit));
            }
            Ok(None) => {}
            _ => log::info!("{name}: {hour} has changed meanwhile; left for the next run"),
        }
        None
    };
    let mut complete = true;
    // The records of so many hours are synced before the first of them goes.
    for batch in steps.chunks(64) {
        let batch: Vec<_> = batch.iter().filter_map(as_planned).collect();
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

/// Does the steps that need no lock, or whose lock is held; says whether all of them could be done.
fn clean_files(tree: &Tree, steps: &[&Step]) -> bool {
    let mut complete = true;
    for step in steps {
        let result = match &step.what {
            Removable::Quarantined(_) | Removable::Orphan => tree.remove_unneeded(&step.path).map(|()| true),
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
