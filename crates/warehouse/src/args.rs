//! Which warehouse.

use std::path::PathBuf;
use std::time::Duration;

/// A kind of warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum WarehouseKind {
    /// A DuckDB file: warehouse.duckdb in the data directory, or --file
    Duckdb,
    /// A MariaDB or MySQL server, named by the environment
    Mysql,
    /// A PostgreSQL server, named by the environment
    Postgres,
    /// A SQLite file: warehouse.sqlite in the data directory, or --file
    Sqlite,
}

/// Flags that name the warehouse.
#[derive(Debug, Clone, clap::Args)]
pub struct WarehouseArgs {
    /// The kind of warehouse
    ///
    /// A server is named by the environment: `DB_HOST` (127.0.0.1; a path is the server's socket, of PostgreSQL the folder
    /// of it), `DB_PORT` (3306, 5432), `DB_USER`, `DB_NAME`, for PostgreSQL `DB_SCHEMA` (public), and `DB_SSL_MODE`:
    /// preferred (encrypted if the server can, which is the default), required, disabled, or verify-full, with `DB_SSL_CA` for
    /// the file of the authorities that may sign the server's certificate; for PostgreSQL also verify-ca.
    ///
    /// The password is in `DB_PASSWORD`, in the file that `DB_PASSWORD_FILE` names, or where the server's own clients look:
    /// `[client]` in ~/.my.cnf (with the user, too), ~/.pgpass or `PGPASSFILE`.
    #[arg(long, value_enum, default_value_t = WarehouseKind::Duckdb, value_name = "KIND")]
    pub target: WarehouseKind,

    /// The file of a DuckDB or SQLite warehouse, else in `DB_FILE` [default: warehouse.duckdb or .sqlite in the data directory]
    // By clap's `env`, every usage line would name the flags as if they had to be given.
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,

    /// Where DuckDB's extensions are [env: DUCKDB_EXTENSION_DIR] [default: beside the program, else DuckDB's own folder]
    #[arg(long, value_name = "DIR")]
    pub extension_dir: Option<PathBuf>,

    /// The longest that one statement may take, connecting included: 90s, 10m, 2h
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub timeout: humantime::Duration,

    /// While the warehouse is away or busy, go on trying to reach it for so long, as after a boot
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub wait: humantime::Duration,
}

impl Default for WarehouseArgs {
    /// The embedded warehouse, as without flags.
    fn default() -> Self {
        Self {
            target: WarehouseKind::Duckdb,
            file: None,
            extension_dir: None,
            timeout: Duration::from_secs(600).into(),
            wait: Duration::ZERO.into(),
        }
    }
}

impl WarehouseArgs {
    /// Where DuckDB's extensions are, if the flag or the environment says so.
    pub(crate) fn extension_folder(&self) -> Option<PathBuf> {
        self.extension_dir.clone().or_else(|| variable("DUCKDB_EXTENSION_DIR"))
    }

    /// The file of the warehouse, if the flag or the environment says so.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.file.clone().or_else(|| variable("DB_FILE"))
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
