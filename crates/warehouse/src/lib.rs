//! A warehouse, reached through DuckDB's ATTACH: its tables, and the load log that says which version of which hour it
//! holds.
//!
//! What the programs may rely on:
//! - rows and load log change in one transaction, so that they never disagree;
//! - a data set in it belongs to one data directory, and any other one that loads it is refused;
//! - one load at a time writes to a warehouse; a warehouse that is busy or away gives a [`cli::TryAgain`];
//! - reading creates nothing;
//! - no password is in any error.
//!
//! Everything in which kinds of warehouses differ is behind one trait (`backend`), with a module per kind: `file` for the
//! embedded DuckDB file, `sqlite`, `mysql` for MariaDB and MySQL, `postgres`.
//!
//! # Values that a warehouse cannot hold
//!
//! The same files may go into several warehouses, and a warehouse may lack what a file has. Then the hour is loaded all the
//! same. Text is stored as the nearest text, and what has no near value is stored as NULL. The load counts such values, names
//! their column and hours, and ends with status 3; the next run has nothing to do. `--verify` compares with what the rule
//! makes of the file's values.
//!
//! | value | DuckDB file | SQLite | MariaDB, MySQL | PostgreSQL |
//! |---|---|---|---|---|
//! | NaN | itself | NULL | NULL | itself |
//! | infinite number | itself | itself | NULL | itself |
//! | -0.0 | itself | 0.0 | itself | itself |
//! | `TIMESTAMP`, `DATE` in the years 1 to 9999 | itself | itself | itself | itself |
//! | before the year 1, or after 9999 | itself | itself | NULL | itself; NULL before 4713 BC, and for a `DATE` after 5874897 |
//! | infinite `TIMESTAMP`, `DATE` | itself | itself | NULL | itself |
//! | text with U+0000 | itself | itself | itself | U+FFFD stands for each U+0000 |
//! | text of a key with more than 190 characters | itself | itself | its first 156 characters, `… ` and the MD5 of all of it | the same |
//! | text longer than a column `VARCHAR(n)`, `TEXT` or `MEDIUMTEXT` that was made otherwise | – | – | its beginning, `… ` and the MD5 | – |
//!
//! # Types
//!
//! | type in the file | DuckDB file | SQLite | MariaDB, MySQL | PostgreSQL |
//! |---|---|---|---|---|
//! | `BOOLEAN` | `BOOLEAN` | `BOOLEAN` | `TINYINT(1)` | `boolean` |
//! | `TINYINT`, `SMALLINT`, `INTEGER`, `UTINYINT`, `USMALLINT` | `INTEGER` | `INTEGER` | `INT` | `integer` |
//! | `BIGINT`, `UINTEGER` | `BIGINT` | `BIGINT` | `BIGINT` | `bigint` |
//! | `FLOAT`, `DOUBLE` | `DOUBLE` | `DOUBLE` | `DOUBLE` | `double precision` |
//! | `DECIMAL(p,s)` | the same | text, as `DECIMAL_TEXT(p,s)` | the same | `numeric(p,s)`; `(9,9)` is widened to `(10,9)`, and a scale of 17 or 18 to `(19,s)` where p is less; a scale of 37 or 38 is refused |
//! | `VARCHAR` | `VARCHAR` | `TEXT` | `LONGTEXT`, in a key `VARCHAR(190)`, both utf8mb4 | `text`, in a key `varchar(190)` |
//! | `TIMESTAMP` | `TIMESTAMP` | text, as `TIMESTAMP` | `DATETIME(6)` | `timestamp` |
//! | `DATE` | `DATE` | text, as `DATE` | `DATE` | `date` |
//! | any other | refused, with what to cast it to | the same | the same | the same |

mod args;
mod attach;
mod backend;
mod column;
mod extension;
mod file;
mod file_path;
mod log;
mod mysql;
mod postgres;
mod rows;
mod runner;
mod server;
mod server_errors;
mod sqlite;
mod warehouse;
mod watchdog;

pub use args::{WarehouseArgs, WarehouseKind};
pub use column::{HeldColumn, Limit, SqlType, StoredColumn, TableColumn};
pub use log::{LoadLog, LoadedHours, LogEntry, LoggedHour, NotOurs, NothingLoaded};
pub use runner::{BrokenOff, Unanswered};
pub use warehouse::{Warehouse, read_load_log};
