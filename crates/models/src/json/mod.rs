//! Messages in JSON.
//!
//! The general parser (`parse`) decides what a message is. What was learnt from accepted lines (`shape`, `template`) saves
//! most lines the parser, and gives the same.

mod fixed_bytes;
mod number;
mod parse;
mod scan;
mod shape;
mod template;

pub(crate) use parse::{parse, parse_rows};
pub(crate) use shape::Shapes;
pub use template::Repeated;
pub(crate) use template::{Template, Templates};
