//! The programs coordinate through the tree alone: none depends on another.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::process::Command;

const PROGRAMS: [&str; 5] = ["tcp-ingest", "compact", "aggregate", "load-warehouse", "housekeep"];

#[test]
fn no_program_depends_on_a_program() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let mut seen = 0;
    for package in packages {
        let name = package["name"].as_str().unwrap();
        seen += usize::from(PROGRAMS.contains(&name));
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            assert!(!PROGRAMS.contains(&on), "{name} depends on the program {on}");
        }
    }
    assert_eq!(seen, PROGRAMS.len(), "a program is missing");
}
