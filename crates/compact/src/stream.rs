//! What the work on all hours of a stream shares.

use chrono::{DateTime, Utc};
use layout::{DatasetLock, Name, Tree};
use models::Model;

use crate::listing::Listing;
use crate::progress::StreamProgress;

/// A stream that is being compacted by this process, and by no other.
#[derive(Debug)]
pub(crate) struct Stream<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) name: &'t Name,
    pub(crate) model: &'static Model,
    pub(crate) lock: DatasetLock,
    pub(crate) now: DateTime<Utc>,
    /// Whether rows that are equal to another row of their hour are removed.
    pub(crate) dedup: bool,
    pub(crate) progress: StreamProgress,
    pub(crate) listing: &'t Listing,
}
