//! What a message is.
//!
//! A *message* is one line that a source sent, without its line terminator. A [`Model`] describes the messages of one
//! stream: the fields they must have, the columns their values go to, and which field (if any) is the event time. Models
//! are data, not code: one strict [`Decoder`] serves them all, so whatever tcp-ingest accepts, compact can read.
//!
//! A *record* is the line that raw/ holds for a message. For a model with an event time it is the message itself, as
//! sent. For a model without one it is an envelope, `{"arrival_time_us":<microseconds since 1970>,"message":<as sent>}`,
//! because the time of arrival is then part of the row and is known only once.
//!
//! | module | what it knows |
//! |---|---|
//! | `schema` | what a model says: fields, columns, types |
//! | `telemetry`, `measurement` | the built-in models: a new one is a file beside these and a line in [`BUILT_IN`] |
//! | `row`, `rejection` | what comes out for a line: values, or why there are none |
//! | `parse` | the general parser, which decides |
//! | `shape`, `template` | what was learnt from accepted lines, so that most lines need no parser; on `fixed_bytes` and `number` |
//! | `decode` | all of them together |

mod decode;
mod fixed_bytes;
mod measurement;
mod number;
mod parse;
mod rejection;
mod row;
mod schema;
mod shape;
mod telemetry;
mod template;

pub use decode::Decoder;
pub use rejection::{Reason, Rejection};
pub use row::{Row, Value};
pub use schema::{Column, ColumnType, Field, Kind, Model};
pub use template::Repeated;

/// The models that need no declaration, by stream name.
pub static BUILT_IN: &[&Model] = &[&telemetry::MODEL, &measurement::MODEL];

/// The model of the stream `name`, or none when there is no such built-in stream.
pub fn model(name: &str) -> Option<&'static Model> {
    BUILT_IN.iter().copied().find(|model| model.name == name)
}
