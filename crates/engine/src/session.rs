//! Opening a session.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Context as _;
use cli::Size;
use duckdb::{Config, Connection};
use rustix::system::{Sysinfo, sysinfo};

/// Flags for DuckDB's share of the machine.
#[derive(Debug, Clone, clap::Args)]
pub struct SessionArgs {
    /// How many processors DuckDB uses [default: all; one with a warehouse that is no DuckDB file]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,

    /// How much memory DuckDB uses before it spills to disk [default: half of the machine's]
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<Size>,

    /// Where DuckDB spills to [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub temp_dir: Option<PathBuf>,
}

impl SessionArgs {
    /// How many processors to use.
    pub fn threads(&self) -> usize {
        self.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
    }
}

/// Where the sessions of this process spill to.
static SPILL: OnceLock<PathBuf> = OnceLock::new();

/// What removes what this process has begun and not finished, for [`cli::main`]: drafts, and what DuckDB has spilled.
pub const CLEANUP: &[fn()] = &[layout::abandon_drafts, abandon_spill];

fn abandon_spill() {
    if let Some(spill) = SPILL.get() {
        let _ = std::fs::remove_dir_all(spill);
    }
}

/// Opens an in-memory session.
pub fn open(args: &SessionArgs) -> anyhow::Result<Connection> {
    let spill = args.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
    let spill = spill.join(format!("duckdb-{}", std::process::id()));
    let _ = SPILL.set(spill.clone());
    // Half of the machine's: DuckDB takes no percentage when it starts.
    let half = |system: Sysinfo| system.totalram * u64::from(system.mem_unit) / 2;
    let memory = args.memory_limit.map_or_else(|| half(sysinfo()), |size| size.0);
    let config = Config::default()
        .with("threads", args.threads().to_string())?
        .with("memory_limit", format!("{memory}B"))?
        .with("temp_directory", spill.to_string_lossy())?
        .with("autoinstall_known_extensions", "false")?
        .with("autoload_known_extensions", "false")?
        .with("preserve_insertion_order", "false")?;
    Connection::open_in_memory_with_flags(config).context("cannot start DuckDB")
}
