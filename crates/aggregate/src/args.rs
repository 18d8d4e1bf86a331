//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use cli::{CommonArgs, PlanArgs, PrintArgs, RangeArgs};
use engine::SessionArgs;
use layout::Name;

/// Runs SQL over each hour, day, week or month of the data sets: as a data set of its own, or to stdout
///
/// Without --from and --to, all windows are made that are out of date: those whose query, reference tables or input files
/// are not the ones that they were made of. Queries that read each other's data sets are run in that order.
///
/// A query is one SELECT in a file of its own, over data sets and reference tables by name. It sees the rows of one window
/// at a time, from `getvariable('window_start')` to `getvariable('window_end')`, both TIMESTAMP in UTC;
/// `getvariable('window_date')` is the DATE on which it starts in its time zone, `getvariable('look_back_start')` from when
/// on it reads. `window_start` is also a column of each data set: an hourly query over one data set that names it, and asks for
/// no variable, runs over many hours at once. Lines in the comments before the SELECT say what kind of windows they are:
///
///     -- @name: NAME                       the data set's name, if it is not the file's
///     -- @window: hour|day|week|month      hours are UTC, weeks begin on Monday [hour]
///     -- @time_zone: Europe/Berlin         whose clocks days, weeks and months follow [UTC]
///     -- @look_back: 7 days                how far before its start a window reads
///     -- @key: sensor_id, kind             columns that no two rows of a window may have equal
///     -- @ignore_changes: sensors          reference tables whose change makes nothing out of date
///
/// A day, week or month is made when it is over. --from and --to name the windows that begin in between, on the clocks of
/// their time zone.
#[allow(rustdoc::invalid_rust_codeblocks, reason = "it is for --help, where marks of another language would show")]
#[derive(Debug, clap::Parser)]
#[command(name = "aggregate", version = cli::VERSION, verbatim_doc_comment)]
#[command(mut_arg("from", |from| from.help("Only windows that begin at this time or later, on the clocks of their time zone: 2025-09-02T10, 2025-09-02, 2025-09 or 2025")))]
#[command(mut_arg("to", |to| to.help("Only windows that begin before this time")))]
#[command(group(clap::ArgGroup::new("queries").required(true).multiple(true).args(["built_in", "sql", "check"])))]
pub struct Args {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// Aggregates that are built in: temperatures (mean, minimum and maximum per sensor, in degrees Celsius)
    #[arg(value_name = "AGGREGATE", value_parser = ["temperatures"])]
    pub(crate) built_in: Vec<String>,

    /// A file with a query, a folder of .sql files, or a quoted pattern: '/etc/pipeline/*.sql'; can be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) sql: Vec<String>,

    /// The data set's name, whatever the file says
    #[arg(long, requires = "sql")]
    pub(crate) name: Option<Name>,

    /// A reference table: CSV, JSON, NDJSON or Parquet by the file's extension; can be given several times
    #[arg(long = "table", value_name = "NAME=FILE")]
    pub(crate) tables: Vec<TableArg>,

    #[command(flatten)]
    pub(crate) range: RangeArgs,

    /// Make the windows anew although they are up to date, or although nothing is there any more of what they were made of
    #[arg(long)]
    pub(crate) rebuild: bool,

    /// Also the day, week or month that is not over
    #[arg(long)]
    pub(crate) include_current: bool,

    /// Say what a file needs and yields and where its windows do not fit, and run nothing; can be given several times
    #[arg(long, value_name = "FILE", group = "what", conflicts_with_all = ["built_in", "sql", "dry_run", "rebuild"])]
    pub(crate) check: Vec<String>,

    /// Print what is read, the windows to make and DuckDB's plan of the query, and do nothing
    #[arg(long, group = "what", conflicts_with = "dry_run")]
    pub(crate) explain: bool,

    #[command(flatten)]
    pub(crate) plan: PlanArgs,

    /// Print the rows of the windows, up to date or not, and publish nothing; those of which retention removed a part are
    /// skipped
    #[arg(long, value_name = "-", value_parser = ["-"], conflicts_with_all = ["dry_run", "rebuild", "what"])]
    pub(crate) output: Option<String>,

    #[command(flatten)]
    pub(crate) print: PrintArgs,

    #[command(flatten)]
    pub(crate) session: SessionArgs,
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
