//! Finding DuckDB's extension for PostgreSQL, which must be of exactly its version and platform.

use std::path::{Path, PathBuf};

use crate::runner::QueryRunner;

const FILE: &str = "postgres_scanner.duckdb_extension";

/// Loads it: from `folder`, from beside the program, from DuckDB's own folder, or from its server.
pub(crate) fn load(runner: &QueryRunner, folder: Option<&Path>) -> anyhow::Result<()> {
    let version = runner.connection.version()?;
    let platform = runner.rows("PRAGMA platform", |row| row.get::<_, String>(0))?.concat();
    if let Some(path) = candidates(folder, &version, &platform).into_iter().find(|path| path.is_file()) {
        let load = runner.run(&format!("LOAD {}", engine::literal(&path.to_string_lossy())));
        let text = format!("{}: cannot be loaded: it must be of version {version} for {platform}", path.display());
        return load.map_err(|error| error.context(text));
    }
    if runner.run("LOAD postgres").is_ok() {
        return Ok(());
    }
    runner.run("INSTALL postgres; LOAD postgres").map_err(|error| {
        let place =
            folder.map_or_else(|| "a folder and name it by --extension-dir".to_owned(), |f| f.display().to_string());
        error.context(format!(
            "DuckDB's extension postgres is missing: put {FILE} of version {version} for {platform} into {place} \
             (scripts/extensions.sh fetches it on a machine that has a connection), or let DuckDB install it"
        ))
    })
}

fn candidates(folder: Option<&Path>, version: &str, platform: &str) -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
    let places = folder.map(Path::to_owned).into_iter().chain(beside);
    places
        .flat_map(|folder| {
            let version = folder.join(version);
            [folder.join(FILE), version.join(platform).join(FILE), version.join(FILE)]
        })
        .collect()
}
