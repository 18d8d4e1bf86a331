//! What the servers under test share: who connects, and what is missing to do so.

pub const USER: &str = "loader";
/// With every character that some quoting could trip over.
pub const PASSWORD: &str = "s3cr\"et'pass\\w ord;=";

/// Why an extension of DuckDB cannot be had, if it cannot.
pub fn extension_is_missing(name: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("DUCKDB_EXTENSION_DIR") else {
        return Some(format!("DUCKDB_EXTENSION_DIR does not name the folder of {name}.duckdb_extension"));
    };
    let file = std::path::Path::new(&folder).join(format!("{name}.duckdb_extension"));
    (!file.is_file()).then(|| format!("there is no {} (scripts/extensions.sh fetches it)", file.display()))
}
