//! What the servers under test share: who connects, and what is missing to do so.

use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

pub const USER: &str = "loader";
/// With every character that some quoting could trip over.
pub const PASSWORD: &str = "s3cr\"et'pass\\w ord;=";

/// What a server's own client prints: the cells of each row.
#[track_caller]
pub(crate) fn cells(client: &mut Command) -> Vec<Vec<String>> {
    let output = client.output().unwrap();
    assert!(output.status.success(), "{client:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// The name of a database that no other test uses.
pub(crate) fn new_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("warehouse_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Kills a server with -9, by the shell that does so when its standard input closes.
pub(crate) fn end(guard: &Mutex<Child>) {
    let mut guard = guard.lock().unwrap();
    drop(guard.stdin.take());
    guard.wait().unwrap();
}

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
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Makes `cert.pem` and `key.pem` of a server in `folder`, for `name` (as `IP:127.0.0.1`), signed by the authority `ca.pem`.
pub fn signed_certificate(folder: &std::path::Path, name: &str) {
    std::fs::write(folder.join("names"), format!("subjectAltName={name}")).unwrap();
    for arguments in [
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=server -keyout key.pem -out request",
        "x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem",
    ] {
        let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}
