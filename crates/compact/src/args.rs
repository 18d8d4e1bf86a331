//! The command line.

use clap::Parser;
use cli::{CommonArgs, PlanArgs, PrintArgs, RangeArgs};
use engine::SessionArgs;
use layout::Name;

/// Turn the sealed segments of each hour into that hour's Parquet file
///
/// Reads raw/STREAM/YYYY/MM/DD/HH.*.json, writes parquet/STREAM/YYYY/MM/DD/HH.parquet, and removes the segments when that
/// file is durable and has every line of them. Damaged lines go to quarantine/, each with its place and the reason. Safe to
/// kill at any time and to run again.
#[derive(Debug, Parser)]
#[command(name = "compact", version = cli::VERSION)]
pub(crate) struct Args {
    /// Streams to compact [default: all that have a folder in raw/]
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

    #[command(flatten)]
    pub(crate) print: PrintArgs,

    #[command(flatten)]
    pub(crate) session: SessionArgs,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl AsRef<CommonArgs> for Args {
    fn as_ref(&self) -> &CommonArgs {
        &self.common
    }
}
