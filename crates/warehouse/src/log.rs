//! The load log: which version of which hour of which data set the warehouse holds.

use std::collections::BTreeMap;

use layout::{Fingerprint, Hour, Name};

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
