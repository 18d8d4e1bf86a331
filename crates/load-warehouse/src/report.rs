//! What a run prints: the plan and the rows of the tables.

use std::collections::BTreeMap;
use std::io;

use cli::Table;
use layout::{Hour, Name, Tree};
use warehouse::{NotOurs, Warehouse};

use crate::args::Args;
use crate::checksum::{HourCheck, Replaced};
use crate::plan::Plan;

pub(crate) fn print_plan(args: &Args, plan: &Plan) -> anyhow::Result<()> {
    let columns = ["dataset", "hour", "version", "rows"];
    let mut table = Table::new(io::stdout().lock(), args.print.format, columns)?;
    for (dataset, file) in plan.iter().flat_map(|(dataset, files)| files.iter().map(move |file| (dataset, file))) {
        let version = if file.replaces { "changed" } else { "new" };
        let hour = file.hour.to_string();
        table.row(vec![dataset.as_str().into(), hour.into(), version.into(), file.rows.into()])?;
    }
    Ok(table.finish()?)
}

/// Prints the first rows of each table, if that was asked for.
pub(crate) fn print_heads(args: &Args, tree: &Tree) -> anyhow::Result<()> {
    let Some(rows) = args.head else { return Ok(()) };
    let Some(warehouse) = Warehouse::attach_to_read(&args.warehouse, &args.session, tree)? else { return Ok(()) };
    for dataset in &args.datasets {
        if !warehouse.columns(dataset)?.is_empty() {
            warehouse.print_head(dataset, rows, io::stdout().lock(), args.print.format)?;
        }
    }
    Ok(())
}

/// The result for one of `several` data sets; none if it is another data directory's, which is then named: the others need
/// not fail with it.
pub(crate) fn unless_one_of_several<T>(
    dataset: &Name,
    result: anyhow::Result<T>,
    several: usize,
) -> anyhow::Result<Option<T>> {
    match result {
        Err(error) if error.is::<NotOurs>() && several > 1 => {
            log::error!("{dataset}: {error}");
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// Names the values that were not stored as they are, once for each column and rule; returns how many there are.
pub(crate) fn name_replaced(dataset: &Name, checks: Vec<HourCheck>) -> u64 {
    let mut found: BTreeMap<_, (u64, Vec<Hour>)> = BTreeMap::new();
    for HourCheck { hour, replaced, .. } in checks {
        for Replaced { column, rule, count } in replaced {
            let (sum, hours) = found.entry((column, rule)).or_default();
            *sum += count;
            hours.push(hour);
        }
    }
    let all = found.values().map(|(count, _)| count).sum();
    for ((column, rule), (count, hours)) in found {
        let (count, hours) = (cli::count(count, "value"), cli::hours_in_words(hours));
        log::warn!("{dataset}: {hours}: the column {column} has {count} that the warehouse cannot hold: {rule}");
    }
    all
}
