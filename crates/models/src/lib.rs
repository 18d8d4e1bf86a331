//! What a message is.
//!
//! A *message* is one document that a source sent; mostly a line, without its line end. A [`Model`] describes the messages of
//! one stream: what they must hold, the columns their values go to, and which column (if any) is the event time. Models are
//! data, not code: they are compiled from *stream files*. One strict [`Decoder`] serves them all, so whatever tcp-ingest
//! accepts, compact can read.
//!
//! A *record* is the line that raw/ holds for a message. It is the message itself, as sent; where a column comes from outside
//! the message (the time of arrival, for example), the message stands in an envelope. A message that gives several rows is
//! one record for each row.
//!
//! | module | what it knows |
//! |---|---|
//! | `streams` | which streams there are; the shipped ones are files in `shipped/` |
//! | `stream_file` | from the text of a stream file to a model, with all that is wrong and its place |
//! | `schema` | what a model says: columns, types, and the tree of a message |
//! | `leaf`, `time`, `decimal`, `misfit` | what a single value must be, and what a column holds of it |
//! | `json` | the general parser, and what is learnt so that most lines need none |
//! | `row`, `record`, `rejection` | what comes out for a line: values, what raw/ holds, or why there is nothing |
//! | `decode` | all of them together |
//! | `change` | what a changed stream file means for the data that is there |
//! | `infer` | a stream file proposed from a capture |

mod change;
mod decimal;
mod decode;
mod infer;
mod json;
mod leaf;
mod misfit;
mod record;
mod rejection;
mod row;
mod schema;
mod stream_file;
mod streams;
mod time;

pub use change::conflicts;
pub use decode::Decoder;
pub use infer::infer;
pub use json::Repeated;
pub use record::Origin;
pub use rejection::{Reason, Rejection};
pub use row::{Row, Value};
pub use schema::{Column, ColumnType, Frame, Model};
pub use stream_file::Problems;
pub use streams::Streams;
