//! The directory tree: the only code that names, publishes, locks, seals or deletes a file of it.
//!
//! | path | what it is |
//! |---|---|
//! | `raw/<stream>/YYYY/MM/DD/HH.<segment>.json.open` | a segment being written; its writer holds an exclusive lock on it |
//! | `raw/<stream>/YYYY/MM/DD/HH.<segment>.json` | a sealed segment: complete lines only, immutable |
//! | `quarantine/<stream>/YYYY/MM/DD/HH.<segment>.json` | rejected input by hour of arrival (`.open` while written) |
//! | `parquet/<dataset>/YYYY/MM/DD/HH.parquet` | one hour of a data set, or a [window](Window) that starts in it; its footer is the [commit record](Commit) |
//! | `parquet/<dataset>/YYYY/MM/DD/HH.expired.json` | the commit record of an hour that retention removed |
//! | `warehouse.duckdb` | the embedded warehouse |
//! | `tree-id` | the [identity](TreeId) of the tree, by which a warehouse knows whose data it holds |
//! | `.*.tmp` beside a target | a file not yet published |
//!
//! What the programs may rely on:
//! - a published name never shows a half-written file ([`publish()`]);
//! - a sealed segment never changes, and its name is never used again ([`SegmentName`]);
//! - one process at a time publishes or removes hours of a data set ([`DatasetLock`]);
//! - a name that was not made here is not touched: foreign files are passed over by every listing.

mod anchor;
mod commit;
mod dirs;
mod error;
mod expired;
pub mod fault;
mod hour;
mod inherited;
mod lock;
mod name;
mod publish;
mod quarantine;
mod recover;
mod segment;
mod tree;
mod tree_id;
mod usage;
mod window;

pub use anchor::Anchor;
pub use commit::{Commit, DatasetHour, Fingerprint, Input, Lineage, SegmentCount};
pub use error::{Error, Result};
pub use hour::{Hour, HourRange};
pub use inherited::{Inherited, SegmentId};
pub use lock::DatasetLock;
pub use name::Name;
pub use publish::{Draft, abandon_drafts, publish, publish_new, sync_published};
pub use quarantine::{Rejected, count_rejected};
pub use recover::{Recovered, recover};
pub use segment::{OpenSegment, SealError, SealedSegment, SegmentName, SegmentSync, remove_segments, seal};
pub use tree::{Area, Hours, OpenFile, Orphan, ParquetFile, Tree};
pub use tree_id::TreeId;
pub use usage::{FileId, file_id, size, written};
pub use window::{Overlap, Window};
