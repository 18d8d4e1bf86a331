//! A configured DuckDB session.
//!
//! Memory, threads and the folder for spilling are set explicitly, because cron's surroundings vary; no extension is
//! fetched or loaded unless a program asks for it by name; text from outside becomes SQL only through [`identifier`],
//! [`literal`] and [`file_literal`], or as a prepared parameter.

mod column_names;
mod error;
mod output;
mod parquet;
mod session;
mod small;
mod sql;

pub use column_names::{check_column_names, folded_name};
pub use error::explain;
pub use output::{Printer, print_query};
pub use parquet::{copy_statement, copy_to_draft, read_parquet, whole_file};
pub use session::{CLEANUP, SessionArgs, open};
pub use small::SmallFile;
pub use sql::{SqlColumn, describe, file_literal, identifier, literal};
