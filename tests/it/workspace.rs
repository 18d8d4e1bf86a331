//! Rules for the workspace as a whole.

use std::path::Path;
use std::process::Command;

const PROGRAMS: [&str; 5] = ["tcp-ingest", "compact", "aggregate", "load-warehouse", "housekeep"];

/// The programs coordinate through the tree alone.
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
        if name == "manual" {
            continue; // It is no program of the pipeline: it asks all of them for their command lines.
        }
        seen += usize::from(PROGRAMS.contains(&name));
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            assert!(!PROGRAMS.contains(&on), "{name} depends on the program {on}");
        }
    }
    assert_eq!(seen, PROGRAMS.len(), "a program is missing");
}

/// What users run is looked into by scripts/check-programs.sh. The programs under test have what it looks for.
#[test]
fn fault_points_in_a_program_are_found() {
    let programs = harness::program("compact").get_program().to_owned();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/check-programs.sh");
    let run = harness::Run::of(Command::new(script).arg(Path::new(&programs).parent().unwrap())).expect(1);
    let found: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(found.len(), PROGRAMS.len(), "{}", run.stderr);
    for (program, line) in PROGRAMS.iter().zip(found) {
        assert!(line.contains(&format!("/{program} was built for tests")) && line.contains("FAULT_WHILE"), "{line}");
    }
}
