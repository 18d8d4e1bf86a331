//! Which warehouse.

use std::path::PathBuf;

/// A kind of warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// The DuckDB file warehouse.duckdb in the data directory
    Duckdb,
    /// A MariaDB or MySQL server, named by the environment
    Mysql,
}

/// Flags that name the warehouse.
#[derive(Debug, Clone, clap::Args)]
pub struct WarehouseArgs {
    /// The kind of warehouse
    ///
    /// A server is named by the environment: `DB_HOST` (127.0.0.1), `DB_PORT` (3306), `DB_USER`, `DB_PASSWORD` or
    /// `DB_PASSWORD_FILE`, `DB_NAME`, and `DB_SSL_MODE`: preferred (encrypted if the server can, which is the default),
    /// required or disabled. The server's certificate is not verified.
    #[arg(long, value_enum, default_value_t = Target::Duckdb, value_name = "KIND")]
    pub target: Target,

    /// Where DuckDB's extensions are [env: DUCKDB_EXTENSION_DIR] [default: beside the program, else DuckDB's own folder]
    #[arg(long, value_name = "DIR")]
    pub extension_dir: Option<PathBuf>,
}

impl WarehouseArgs {
    /// Where DuckDB's extensions are, if the flag or the environment says so.
    pub(crate) fn extension_folder(&self) -> Option<PathBuf> {
        // By clap's `env`, every usage line would name the flag as if it had to be given.
        let variable = || std::env::var_os("DUCKDB_EXTENSION_DIR").filter(|dir| !dir.is_empty());
        self.extension_dir.clone().or_else(|| variable().map(PathBuf::from))
    }
}
