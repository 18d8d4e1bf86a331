//! The command line.

use clap::Parser;
use cli::{CommonArgs, Format, PlanArgs, RangeArgs};
use engine::SessionArgs;
use layout::Name;

/// Turn the sealed segments of each hour into that hour's Parquet file
///
/// Reads raw/STREAM/YYYY/MM/DD/HH.*.json, writes parquet/STREAM/YYYY/MM/DD/HH.parquet, and removes the segments when that
/// file is durable and has every line of them. Damaged lines go to quarantine/, each with its place and the reason. Safe to
/// kill at any time and to run again.
#[derive(Debug, Parser)]
#[command(name = "compact", version = cli::VERSION)]
#[expect(clippy::struct_excessive_bools, reason = "flags")]
pub struct Args {
    /// Streams to compact, or data sets to verify [default: all that have a folder in raw/, or in parquet/]
    #[arg(value_name = "STREAM")]
    pub(crate) streams: Vec<Name>,

    #[command(flatten)]
    pub(crate) range: RangeArgs,

    /// Compact the current hour, too, and any that are ahead of the clock
    #[arg(long)]
    pub(crate) include_current: bool,

    /// Leave out rows that are equal to another row of their hour in all columns, and count them
    ///
    /// For sources that send again what they have sent when they connect again. An hour with fresh segments is looked at
    /// as a whole, with the rows that its Parquet file has already; one without any is up to date, whether it was
    /// compacted with --dedup or not. What goes is counted in the commit record. Two messages of one sensor that really
    /// have the same time, kind, value and unit are one afterwards; and a message without a time of its own
    /// (measurement) that is sent again has another time of arrival, and stays. Rows are equal as in SQL: an absent
    /// value equals an absent value, and 0.0 equals -0.0. The segments are read twice, which takes two to three times as
    /// long, and DuckDB keeps the hour's rows in memory or, beyond --memory-limit, in --temp-dir.
    #[arg(long)]
    pub(crate) dedup: bool,

    #[command(flatten)]
    pub(crate) plan: PlanArgs,

    /// Print the path of each Parquet file that is published, one a line
    ///
    /// A path is printed when its file is durable and before its segments are removed, so that no file is missing from all
    /// lists, whatever dies: one may come twice. Hours that are made side by side come as they are done. With
    /// --dry-run: the files that would be published. --format is for tables and changes nothing here.
    #[arg(long = "print", conflicts_with = "print0")]
    pub(crate) print: bool,

    /// As --print, each path ended by a NUL, for `xargs -0r`
    #[arg(long)]
    pub(crate) print0: bool,

    /// Read the data sets again and check them; change nothing
    ///
    /// Of each hour in parquet/, of streams and of aggregates: the footer can be read; the commit record's fingerprint
    /// is that of what the record says; a stream's rows are the lines that the record counts, less damaged ones and
    /// duplicates; every value of every column can be read; and the event times of a stream that has them lie in the
    /// hour. (The files hold no checksum of their values: a changed one that can be read is not found.) What is wrong is
    /// printed with the remedy, and the exit status is 3; nothing is printed if all is well. Segments that are in
    /// Parquet and still in raw/ are reported as left to remove, which is nothing wrong: the next run removes them.
    /// Takes no lock: a file that is replaced meanwhile is looked at again.
    #[arg(long, conflicts_with_all = ["dry_run", "include_current", "dedup", "print", "print0"])]
    pub(crate) verify: bool,

    /// How plans and what --verify finds are printed; with --verify, also the hours in which all is well [default: table]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,

    #[command(flatten)]
    pub(crate) session: SessionArgs,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
}
