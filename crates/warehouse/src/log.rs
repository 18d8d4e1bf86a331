//! The load log: which version of which hour of which data set the warehouse holds.

use std::collections::BTreeMap;

use engine::SessionArgs;
use layout::{Fingerprint, Hour, Name, Tree};

use crate::args::WarehouseArgs;
use crate::warehouse::Warehouse;

/// The windows of each data set in the warehouse.
pub type LoadLog = BTreeMap<Name, BTreeMap<Hour, LoggedWindow>>;

/// An hour of a data set in the warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedWindow {
    /// The fingerprint of the Parquet file that was loaded.
    pub fingerprint: Fingerprint,
    /// Its rows.
    pub rows: u64,
}

/// What the warehouse holds; none when there is no warehouse yet (no file, no load log). Of a data set whose table somebody
/// has dropped it holds nothing, whatever the load log says. Creates nothing.
pub fn read_load_log(args: &WarehouseArgs, session: &SessionArgs, tree: &Tree) -> anyhow::Result<Option<LoadLog>> {
    let Some(warehouse) = Warehouse::attach_to_read(args, session, tree)? else { return Ok(None) };
    let Some(mut log) = warehouse.load_log(None)? else { return Ok(None) };
    for (dataset, windows) in &mut log {
        if warehouse.columns(dataset)?.is_empty() {
            windows.clear();
        }
    }
    Ok(Some(log))
}
