//! The directory tree: the only code that names, publishes, locks, seals or deletes a file of it.
//!
//! | path | what it is |
//! |---|---|
//! | `raw/<stream>/YYYY/MM/DD/HH.<segment>.json.open` | a segment being written; its writer holds an exclusive lock on it |
//! | `raw/<stream>/YYYY/MM/DD/HH.<segment>.json` | a sealed segment: complete lines only, immutable |
//! | `quarantine/<stream>/YYYY/MM/DD/HH.<segment>.json` | rejected input by hour of arrival (`.open` while written) |
//! | `parquet/<dataset>/YYYY/MM/DD/HH.parquet` | one hour of a data set, or a [window](Window) that starts in it; its footer is the [commit record](Commit) |
//! | `parquet/<dataset>/YYYY/MM/DD/HH.expired.json` | the commit record of an hour that retention removed |
//! | `raw/<stream>/<version>.toml` | a version of the stream file ([`StreamVersion`]) |
//! | `warehouse.duckdb` | the embedded warehouse |
//! | `tree-id` | the [identity](TreeId) of the tree, by which a warehouse knows whose data it holds |
//! | `.*.tmp` beside a target | a file not yet published |
//!
//! What the programs may rely on:
//! - a published name never shows a half-written file ([`publish()`]);
//! - a sealed segment never changes, and its name is never used again ([`SegmentName`]);
//! - one process at a time publishes or removes hours of a data set ([`DatasetLock`]);
//! - a file whose name no program gives is not touched, and listings pass it over;
//! - what has such a name and is no regular file (a FIFO, a folder) is passed over with a warning, and cannot be opened.

mod commit;
mod data_dir;
mod error;
pub mod fault;
mod files;
mod folders;
mod freshness;
mod hour;
mod inherited_segment;
mod listing;
mod lock;
mod name;
mod paths;
mod publish;
mod quarantine;
mod recover;
mod removal;
mod replay;
mod segment;
mod stream_version;
mod tree_id;
mod window;

pub use commit::{Commit, Fingerprint, Input, Lineage, SegmentCount};
pub use data_dir::DataDirHandle;
pub use error::{Error, RESTORE, Result, unreadable_rows};
pub use files::{metadata, mounted, read as read_file, size};
pub use freshness::{Freshness, InputNow, Recipe, freshness};
pub use hour::{Hour, HourRange};
pub use inherited_segment::{InheritedSegment, SegmentId};
pub use listing::{Hours, ParquetFile};
pub use lock::DatasetLock;
pub use name::{Name, SegmentName, StreamVersion};
pub use paths::{Area, DatasetHour, SealedSegment, Tree};
pub use publish::{Draft, abandon_drafts, publish, publish_new, sync_published};
pub use quarantine::{QuarantineRecord, count_rejected};
pub use recover::{Recovered, recover};
pub use replay::Replay;
pub use segment::{OpenSegment, SealError, SegmentFile, remove_segments, seal};
pub use tree_id::TreeId;
pub use window::{Overlap, Window};
