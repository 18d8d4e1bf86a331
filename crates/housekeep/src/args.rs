//! The command line.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::{Parser, Subcommand};
use cli::{CommonArgs, PlanArgs, PrintArgs, Usage};
use engine::SessionArgs;
use layout::Name;
use warehouse::WarehouseArgs;

use crate::age::Age;

/// Retention, orphans and the state of the data directory
#[derive(Debug, Parser)]
#[command(name = "housekeep", version = cli::VERSION, about)]
pub struct Args {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Remove what is old enough and not needed any more
    ///
    /// Without a --keep option only files that a dead process left unpublished and empty folders are removed.
    /// Raw data is never removed here: compact does that, once it is in a Parquet file.
    ///
    /// An hour of a data set that is due is kept all the same, always while raw segments of that hour wait to be compacted
    /// and when its file is damaged, so that nobody can say what it holds; and, without --even-if-needed, while an aggregate
    /// that reads the data set is missing or out of date for that hour, and while the warehouse, if it holds any hour of the
    /// data set, does not hold this one as it is now.
    ///
    /// What is kept goes with a later run. That is normal and no failure: the exit status is 0, and -v names each hour. Hours
    /// that have been due for more than a day are worth a warning, by data set and reason. A damaged file is an error: it is
    /// named, and the exit status is 3. When the warehouse cannot be asked, no hour is removed; all else is done, and the exit
    /// status is 75 (1 if trying again does not help). A data set that another process is changing is left for the next run.
    ///
    /// The commit record of a removed hour stays, as HH.expired.json: it closes the hour, because late data would else
    /// make a new file of the late rows alone, which would replace the whole in aggregates and the warehouse. Deleting
    /// the record by hand opens the hour again.
    Clean(CleanArgs),

    /// Show what is there and how far each part is behind
    ///
    /// The disk's rate is taken from what arrived in the last 24 hours and is still there, by the times at which segments
    /// were created (commit records keep them): raw and quarantined files in full, Parquet files of streams in the share of
    /// their lines. Aggregates and the embedded warehouse are taken to grow in proportion to the streams' Parquet files. The
    /// disk is full when the free bytes are used up at that rate, if nothing is removed.
    ///
    /// Printed as CSV, it is a line for each property.
    ///
    /// A Parquet file that cannot be read is named, and makes the exit status 3. The same goes for a warehouse that cannot be
    /// asked; one that is busy or down is only skipped, with a warning.
    Status(SharedArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CleanArgs {
    /// Remove quarantined input that arrived longer ago than this: 36h, 90d, 12w [default: keep for ever]
    #[arg(long, value_name = "AGE")]
    pub(crate) keep_quarantine: Option<Age>,

    /// Remove hours of data sets that ended longer ago than this; with a name, of that data set (can be repeated)
    /// [default: keep for ever]
    #[arg(long, value_name = "[DATASET=]AGE")]
    pub(crate) keep_parquet: Vec<KeepParquet>,

    /// In raw/ and quarantine/, take a file that was never published for an orphan when it is older than this. In
    /// parquet/ the data set's lock tells
    #[arg(long, value_name = "AGE", default_value = "1d")]
    pub(crate) orphans_after: Age,

    /// Remove due hours even when an aggregate or the warehouse has not taken them in
    #[arg(long)]
    pub(crate) even_if_needed: bool,

    #[command(flatten)]
    pub(crate) plan: PlanArgs,

    #[command(flatten)]
    pub(crate) shared: SharedArgs,
}

impl CleanArgs {
    /// Fails if two ages are given for the hours of a data set, or of all.
    pub(crate) fn check(&self) -> Result<(), Usage> {
        let mut ages = BTreeMap::new();
        for KeepParquet { dataset, age } in &self.keep_parquet {
            if let Some(before) = ages.insert(dataset, age) {
                let of = dataset.as_ref().map_or("all data sets", Name::as_str);
                return Err(Usage(format!("--keep-parquet is given twice for {of}: {before} and {age}")));
            }
        }
        Ok(())
    }

    /// How long the hours of a data set are kept; none for ever.
    pub(crate) fn age_of(&self, dataset: &Name) -> Option<Age> {
        let of = |name| self.keep_parquet.iter().find(|keep| keep.dataset.as_ref() == name);
        of(Some(dataset)).or_else(|| of(None)).map(|keep| keep.age)
    }
}

/// Flags of both commands.
#[derive(Debug, clap::Args)]
pub(crate) struct SharedArgs {
    #[command(flatten)]
    pub(crate) print: PrintArgs,

    #[command(flatten)]
    pub(crate) warehouse: WarehouseArgs,

    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// How long hours are kept: of one data set, or of all.
#[derive(Debug, Clone)]
pub(crate) struct KeepParquet {
    pub(crate) dataset: Option<Name>,
    pub(crate) age: Age,
}

impl FromStr for KeepParquet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (dataset, age) = text.split_once('=').map_or((None, text), |(dataset, age)| (Some(dataset), age));
        Ok(Self { dataset: dataset.map(str::parse).transpose()?, age: age.parse()? })
    }
}
