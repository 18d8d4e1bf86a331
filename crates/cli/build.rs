//! Puts the commit, where there is one, into the version that the programs print.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=../../.git/HEAD");
    println!("cargo::rerun-if-changed=../../.git/refs/heads");
    let commit = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok());
    let version = env!("CARGO_PKG_VERSION");
    match commit.as_deref().map(str::trim) {
        Some(commit) => println!("cargo::rustc-env=PIPELINE_VERSION={version} ({commit})"),
        None => println!("cargo::rustc-env=PIPELINE_VERSION={version}"),
    }
}
