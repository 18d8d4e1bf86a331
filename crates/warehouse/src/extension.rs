//! Finding an extension of DuckDB, which must be of exactly its version and platform.

use std::path::{Path, PathBuf};

use crate::runner::QueryRunner;

/// An extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extension {
    /// What DuckDB calls it.
    pub(crate) name: &'static str,
    /// Its file, without `.duckdb_extension`.
    pub(crate) file: &'static str,
}

/// Loads an extension: from `folder`, from beside the program, from DuckDB's own folder, or from its server.
pub(crate) fn load(runner: &QueryRunner, extension: Extension, folder: Option<&Path>) -> anyhow::Result<()> {
    let name = extension.name;
    let version = runner.connection.version()?;
    let platform = runner.rows("PRAGMA platform", |row| row.get::<_, String>(0))?.concat();
    let file = format!("{}.duckdb_extension", extension.file);
    let found = candidates(folder, &version, &platform, &file).into_iter().find(|path| path.is_file());
    if let Some(path) = found {
        let load = runner.run(&format!("LOAD {}", engine::literal(&path.to_string_lossy())));
        let text = format!("{}: cannot be loaded: it must be of version {version} for {platform}", path.display());
        return load.map_err(|error| error.context(text));
    }
    if runner.run(&format!("LOAD {name}")).is_ok() {
        return Ok(());
    }
    runner.run(&format!("INSTALL {name}; LOAD {name}")).map_err(|error| {
        let place =
            folder.map_or_else(|| "a folder and name it by --extension-dir".to_owned(), |f| f.display().to_string());
        error.context(format!(
            "DuckDB's extension {name} is missing: put {file} of version {version} for {platform} into {place} \
             (scripts/extensions.sh fetches it on a machine that has a connection), or let DuckDB install it"
        ))
    })
}

fn candidates(folder: Option<&Path>, version: &str, platform: &str, file: &str) -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
    let places = folder.map(Path::to_owned).into_iter().chain(beside);
    places
        .flat_map(|folder| {
            [folder.join(file), folder.join(version).join(platform).join(file), folder.join(version).join(file)]
        })
        .collect()
}
