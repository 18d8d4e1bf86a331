//! The command line.

use cli::{CommonArgs, PlanArgs, PrintArgs, RangeArgs};
use engine::SessionArgs;
use layout::Name;
use warehouse::WarehouseArgs;

/// Loads data sets into the warehouse: every hour whose Parquet file the warehouse does not hold yet, or holds in an
/// older version.
#[derive(Debug, clap::Parser)]
#[command(version = cli::VERSION)]
pub(crate) struct Args {
    /// Data sets to load, each into the table of its name
    #[arg(required = true, value_name = "DATASET")]
    pub(crate) datasets: Vec<Name>,

    #[command(flatten)]
    pub(crate) plan: PlanArgs,

    /// After loading, print the first N rows of each table
    #[arg(long, value_name = "N")]
    pub(crate) head: Option<u32>,

    #[command(flatten)]
    pub(crate) print: PrintArgs,

    #[command(flatten)]
    pub(crate) range: RangeArgs,

    #[command(flatten)]
    pub(crate) warehouse: WarehouseArgs,

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
