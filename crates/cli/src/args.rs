//! Flags and names that mean the same in every program.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{bail, ensure};
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use layout::{Area, Hour, HourRange, Name, Tree};
use models::Streams;

use crate::program::Usage;
use crate::table::Format;

/// Flags of every program.
#[derive(Debug, Clone, clap::Args)]
pub struct CommonArgs {
    /// The data directory [env: DATA_DIR] [default: ./data]
    // By clap's `env`, every usage line would name the flag as if it had to be given.
    #[arg(long, value_name = "DIR", global = true, default_value_os_t = default_data_dir(), hide_default_value = true,
          value_parser = OsStringValueParser::new().try_map(data_dir))]
    pub data_dir: PathBuf,

    /// The folder of stream files [default: streams in the data directory]
    #[arg(long = "streams", value_name = "DIR", env = "STREAMS_DIR", hide_env_values = true, global = true)]
    pub streams_dir: Option<PathBuf>,

    /// Say what is done (twice: in detail)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

impl CommonArgs {
    /// The tree in the data directory, which tcp-ingest creates.
    pub fn tree(&self) -> Tree {
        Tree::new(&self.data_dir)
    }

    /// The tree in the data directory, which must be there: a misspelt one is no empty data directory.
    pub fn existing_tree(&self) -> anyhow::Result<Tree> {
        let path = self.data_dir.display();
        ensure!(self.data_dir.is_dir(), "{path}: there is no such data directory: set --data-dir or DATA_DIR");
        // A disk that is not mounted looks like a data directory in which nothing has ever arrived.
        if !Area::ALL.iter().any(|area| self.data_dir.join(area.as_str()).exists()) {
            log::warn!(
                "{path}: there is nothing of a data directory in it: is it the right one, and its disk mounted?"
            );
        }
        Ok(self.tree())
    }
}

/// Refuses a path by which DuckDB does not find the files: a part of the programs would work in such a data directory.
fn data_dir(path: OsString) -> Result<PathBuf, String> {
    let text = path.to_str().ok_or("the path of the data directory must be UTF-8: rename the folder")?;
    if text.is_empty() {
        return Err("the path of the data directory must not be empty".to_owned());
    }
    if text.contains('\\') && text.contains(['*', '?', '[']) {
        return Err("the path of the data directory must not have a `\\` and one of `*?[`: rename the folder".into());
    }
    Ok(path.into())
}

fn default_data_dir() -> PathBuf {
    std::env::var_os("DATA_DIR").filter(|dir| !dir.is_empty()).map_or_else(|| "./data".into(), PathBuf::from)
}

/// Whether to do anything at all, where there is a plan.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct PlanArgs {
    /// Print what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// How to print, where there is something to print.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct PrintArgs {
    /// How results and plans are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// Which hours, where hours apply.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct RangeArgs {
    /// Only hours from this one on, UTC: 2025-09-02T10, 2025-09-02, 2025-09 or 2025
    #[arg(long, value_name = "TIME")]
    pub from: Option<Hour>,

    /// Only hours before this one, UTC
    #[arg(long, value_name = "TIME")]
    pub to: Option<Hour>,
}

impl RangeArgs {
    /// Whether it is only a part of all hours.
    pub fn is_given(self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    /// The hours.
    pub fn range(self) -> anyhow::Result<HourRange> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            bail!(Usage(format!("--from {from} --to {to}: there is no hour in between (--to is excluded)")));
        }
        Ok(HourRange { from: self.from, to: self.to })
    }
}

/// Refuses a name that is neither a stream's nor has a folder in `area`: it is misspelt. As long as there is no
/// folder at all, the name may be right and only early: then there is nothing to do.
pub fn check_names<'n>(
    tree: &Tree,
    streams: &Streams,
    area: Area,
    names: impl IntoIterator<Item = &'n Name>,
) -> anyhow::Result<()> {
    let kind = if area == Area::Parquet { "data set" } else { "stream" };
    let there = tree.names(area)?;
    for name in names {
        if there.contains(name) || streams.has(name.as_str()) {
            continue;
        }
        if there.is_empty() {
            log::info!("{name}: there is no {kind} yet");
            continue;
        }
        let there: Vec<_> = there.iter().map(Name::as_str).collect();
        bail!(Usage(format!("{name}: there is no such {kind}: the tree has {}", there.join(", "))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::data_dir;

    #[test]
    fn a_data_directory_has_a_path_and_one_that_duckdb_finds() {
        assert_eq!(data_dir("./a [b]".into()), Ok("./a [b]".into()));
        assert!(data_dir("".into()).unwrap_err().contains("must not be empty"));
        assert!(data_dir("a\\b*".into()).unwrap_err().contains("must not have"));
    }
}
