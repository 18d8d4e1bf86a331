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
