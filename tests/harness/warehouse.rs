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

/// A key and a certificate for `localhost`, signed by itself, in `folder`: `key.pem` and `cert.pem`.
pub fn certificate(folder: &std::path::Path) {
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
