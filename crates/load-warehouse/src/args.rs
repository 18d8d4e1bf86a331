//! The command line.

use std::collections::BTreeSet;

use cli::{CommonArgs, PlanArgs, PrintArgs, RangeArgs};
use engine::SessionArgs;
use layout::{Area, Name, Tree};
use warehouse::{LoadLog, WarehouseArgs};

/// Loads data sets into the warehouse: every hour whose Parquet file the warehouse does not hold yet, or holds in an
/// older version.
#[derive(Debug, clap::Parser)]
#[command(version = cli::VERSION)]
pub struct Args {
    /// Data sets to load, each into the table of its name
    #[arg(required_unless_present = "all", value_name = "DATASET")]
    pub(crate) datasets: Vec<Name>,

    /// Load every data set of the tree, the streams' included
    #[arg(long, conflicts_with = "datasets")]
    pub(crate) all: bool,

    /// Compare the warehouse with the tree instead: for each hour that is loaded in its present version, the count of rows
    /// and a checksum of each column. Changes nothing; differences, and files that are gone although retention did not
    /// remove them, are named and make the exit status 3; what is not loaded yet is only named. With --all also data sets that
    /// only the warehouse has
    #[arg(long, conflicts_with_all = ["dry_run", "head"])]
    pub(crate) verify: bool,

    /// Give tables that are made now no id of their own, but these columns as primary key; they may include `window_start`
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub(crate) key: Vec<String>,

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

impl Args {
    /// The data sets that are meant, in order: besides those of the tree there are those that `log` knows.
    pub(crate) fn names(&self, tree: &Tree, log: &LoadLog) -> anyhow::Result<BTreeSet<Name>> {
        if self.all {
            let loaded = log.iter().filter(|(_, hours)| !hours.is_empty());
            return Ok(tree.names(Area::Parquet)?.into_iter().chain(loaded.map(|(name, _)| name.clone())).collect());
        }
        let streams = self.common.streams()?;
        cli::check_names(tree, &streams, Area::Parquet, self.datasets.iter().filter(|name| !log.contains_key(name)))?;
        Ok(self.datasets.iter().cloned().collect())
    }
}
