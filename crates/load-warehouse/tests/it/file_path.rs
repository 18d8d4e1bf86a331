//! What `--file` may name.

use std::path::Path;
use std::process::Command;

use harness::{DataDir, Run};
use layout::Tree;

use crate::hours::publish_readings;

const KINDS: [&str; 2] = ["duckdb", "sqlite"];

/// Everything below a folder.
fn entries(folder: &Path) -> String {
    let found = Command::new("find").arg(folder).output().unwrap();
    String::from_utf8(found.stdout).unwrap()
}

#[test]
fn what_cannot_be_a_warehouse_is_refused_before_anything_is_made() {
    for kind in KINDS {
        let (data_dir, elsewhere) = (DataDir::new(), DataDir::new());
        publish_readings(&data_dir, "2025-09-02T10", "a", 2);
        let folder = elsewhere.path();
        std::fs::write(folder.join("text"), "not a database, but long enough to be one").unwrap();
        duckdb::Connection::open(folder.join("x.duckdb")).unwrap().execute_batch("CREATE TABLE t (n INTEGER)").unwrap();
        let other = rusqlite::Connection::open(folder.join("x.sqlite")).unwrap();
        other.execute_batch("CREATE TABLE t (n INTEGER)").unwrap();
        assert!(Command::new("mkfifo").arg(folder.join("fifo")).status().unwrap().success());
        let other = if kind == "duckdb" {
            ("x.sqlite", 1, "it is a SQLite file")
        } else {
            ("x.duckdb", 1, "it is a DuckDB file")
        };
        let before = entries(folder);
        for (file, status, says) in [
            ("md:foo", 2, "--file md:foo: a warehouse is a file of this machine; if this is its name, write ./md:foo"),
            (":memory:", 2, "a warehouse is a file of this machine"),
            ("http://plant/x.db", 2, "a warehouse is a file of this machine"),
            ("missing/folder/x.db", 1, "there is no folder"),
            ("text", 1, "text: cannot be opened: it is not a"),
            ("fifo", 1, "fifo: is not a regular file"),
            (".", 1, "is a folder: --file takes the path of a file"),
            other,
        ] {
            for extra in [&[][..], &["--dry-run"], &["--verify"]] {
                let mut program = data_dir.program("load-warehouse");
                program.current_dir(folder).args(["readings", "--target", kind, "--file", file]).args(extra);
                let run = Run::of(&mut program).expect(status);
                assert!(run.stderr.contains(says), "{kind} {file} {extra:?}: {}", run.stderr);
                assert_eq!(entries(folder), before, "{kind} {file}");
            }
        }
        let mut program = data_dir.program("load-warehouse");
        program.current_dir(folder).args(["readings", "--target", kind, "--file", "./md:foo#x"]);
        Run::of(&mut program).expect(0);
        assert!(folder.join("md:foo#x").is_file(), "{}", entries(folder));
        assert!(!Tree::new(data_dir.path()).warehouse().exists());
    }
}
