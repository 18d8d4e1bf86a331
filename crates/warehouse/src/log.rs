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

/// What the warehouse holds; none when there is no warehouse yet (no file, no load log). Creates nothing.
pub fn read_load_log(args: &WarehouseArgs, session: &SessionArgs, tree: &Tree) -> anyhow::Result<Option<LoadLog>> {
    match Warehouse::attach_to_read(args, session, tree)? {
        Some(warehouse) => warehouse.load_log(None),
        None => Ok(None),
    }
}
