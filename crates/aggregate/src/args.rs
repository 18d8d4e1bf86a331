//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use cli::{CommonArgs, PlanArgs, PrintArgs, RangeArgs};
use engine::SessionArgs;
use layout::Name;

/// Runs SQL over each hour of the data sets: as a data set of its own, or to stdout
///
/// Without --from and --to, all hours are made that are out of date: those whose query, reference tables or input hours
/// are not the ones that they were made of.
///
/// A query is one SELECT in a file of its own, over data sets and reference tables by name. It sees the rows of one hour
/// at a time, from `getvariable('window_start')` to `getvariable('window_end')`, both TIMESTAMP. The file's name without
/// `.sql` is the data set's.
#[derive(Debug, clap::Parser)]
#[command(name = "aggregate", version = cli::VERSION)]
#[command(group(clap::ArgGroup::new("queries").required(true).multiple(true).args(["built_in", "sql"])))]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// Aggregates that are built in: temperatures (mean, minimum and maximum per sensor, in degrees Celsius)
    #[arg(value_name = "AGGREGATE", value_parser = ["temperatures"])]
    pub(crate) built_in: Vec<String>,

    /// A file with a query, or a quoted pattern of such files: '/etc/pipeline/*.sql'; can be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) sql: Vec<String>,

    /// The data set's name, if it is not the file's
    #[arg(long, requires = "sql")]
    pub(crate) name: Option<Name>,

    /// A reference table: CSV, JSON, NDJSON or Parquet by the file's extension; can be given several times
    #[arg(long = "table", value_name = "NAME=FILE")]
    pub(crate) tables: Vec<TableArg>,

    #[command(flatten)]
    pub(crate) range: RangeArgs,

    /// Make the hours anew although they are up to date
    #[arg(long)]
    pub(crate) rebuild: bool,

    #[command(flatten)]
    pub(crate) plan: PlanArgs,

    /// Print the rows of the hours, up to date or not, and publish nothing
    #[arg(long, value_name = "-", value_parser = ["-"], conflicts_with_all = ["dry_run", "rebuild"])]
    pub(crate) output: Option<String>,

    #[command(flatten)]
    pub(crate) print: PrintArgs,

    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

impl AsRef<CommonArgs> for Args {
    fn as_ref(&self) -> &CommonArgs {
        &self.common
    }
}

/// A reference table as it is given: `sensors=/etc/pipeline/sensors.csv`.
#[derive(Debug, Clone)]
pub(crate) struct TableArg {
    pub(crate) name: Name,
    pub(crate) file: PathBuf,
}

impl FromStr for TableArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = text.split_once('=').ok_or("write NAME=FILE, for example sensors=sensors.csv")?;
        Ok(Self { name: name.parse()?, file: file.into() })
    }
}
