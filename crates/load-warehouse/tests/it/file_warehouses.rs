//! What is particular to warehouses that are files, of DuckDB and of SQLite.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use harness::{DataDir, Run, SmallDisk};
use layout::Tree;

use crate::hours::{Seen, check, publish_readings};
use crate::target::Target;

#[test]
fn a_file_that_another_process_has_open_is_waited_for_and_then_tried_again_later() {
    let data_dir = DataDir::new();
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let open = duckdb::Connection::open(Tree::new(data_dir.path()).warehouse()).unwrap();
    open.execute_batch("CREATE TABLE mine (n INTEGER)").unwrap();
    let run = Target::File.run(&data_dir, "readings").expect(75);
    assert!(run.stderr.contains("warehouse.duckdb: another process has had it open"), "{}", run.stderr);
    drop(open);
    Target::File.run(&data_dir, "readings").expect(0);
    let expected = [("2025-09-02T10".to_owned(), ("a".to_owned(), 2))].into();
    check(&Target::File.readings(&data_dir), &expected, &mut Seen::new());
}

#[test]
fn a_file_that_is_no_warehouse_is_named() {
    let data_dir = DataDir::new();
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let path = Tree::new(data_dir.path()).warehouse();
    std::fs::write(&path, "not a database").unwrap();
    let run = Target::File.run(&data_dir, "readings").expect(1);
    assert!(run.stderr.contains("warehouse.duckdb: cannot be opened"), "{}", run.stderr);
    assert_eq!(std::fs::read(&path).unwrap(), b"not a database");
}

#[test]
fn nothing_but_the_warehouse_is_left_in_the_data_directory() {
    let data_dir = DataDir::new();
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    Target::File.run(&data_dir, "readings").expect(0);
    assert_eq!(data_dir.files(), ["parquet/readings/2025/09/02/10.parquet", "tree-id", "warehouse.duckdb"]);
}

#[test]
fn a_data_directory_may_be_relative_and_have_any_name() {
    let above = DataDir::new();
    let data = above.path().join("it's [a] *{data}, \"dir\"");
    std::fs::create_dir(&data).unwrap();
    let data_dir = DataDir::at(&data);
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    publish_readings(&data_dir, "2025-09-02T11", "a", 2);
    // What the name would stand for as a pattern.
    let like = above.path().join("it's a {data}, \"dir\"");
    std::fs::create_dir(&like).unwrap();
    publish_readings(&DataDir::at(&like), "2025-09-02T10", "b", 3);
    publish_readings(&DataDir::at(&like), "2025-09-02T11", "b", 3);
    let mut program = harness::program("load-warehouse");
    program.current_dir(above.path()).arg("--data-dir").arg(format!("./{}", data.file_name().unwrap().display()));
    Run::of(program.arg("readings")).expect(0);
    let hours = ["2025-09-02T10", "2025-09-02T11"];
    let expected = hours.map(|hour| (hour.to_owned(), ("a".to_owned(), 2))).into();
    check(&Target::File.readings(&data_dir), &expected, &mut Seen::new());
}

#[test]
fn a_sqlite_file_that_another_process_has_locked_is_tried_again_later() {
    let data_dir = DataDir::new();
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    Target::Sqlite.run(&data_dir, "readings").expect(0);
    publish_readings(&data_dir, "2025-09-02T10", "b", 3);
    let picture = Target::Sqlite.picture(&data_dir, &["readings"]);
    let open = rusqlite::Connection::open(Tree::new(data_dir.path()).sqlite_warehouse()).unwrap();
    open.execute_batch("BEGIN IMMEDIATE").unwrap();
    let run = Target::Sqlite.run(&data_dir, "readings").expect(75);
    assert!(run.stderr.contains("database is locked: somebody else holds a lock on it"), "{}", run.stderr);
    open.execute_batch("ROLLBACK").unwrap();
    assert_eq!(Target::Sqlite.picture(&data_dir, &["readings"]), picture);
    Target::Sqlite.run(&data_dir, "readings").expect(0);
    assert_eq!(Target::Sqlite.readings(&data_dir).len(), 3);
    let path = Tree::new(data_dir.path()).sqlite_warehouse();
    std::fs::write(&path, "not a database".repeat(100)).unwrap();
    let run = Target::Sqlite.run(&data_dir, "readings").expect(1);
    assert!(run.stderr.contains("warehouse.sqlite: cannot be opened"), "{}", run.stderr);
}

#[test]
fn a_sqlite_file_that_is_locked_is_waited_for_also_where_tables_are_missing() {
    let data_dir = DataDir::new();
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let open = rusqlite::Connection::open(Tree::new(data_dir.path()).sqlite_warehouse()).unwrap();
    for table in ["load_log", "readings"] {
        open.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut program = Target::Sqlite.program(&data_dir);
        let mut load = program.args(["readings", "--wait", "1m", "-v"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut messages = BufReader::new(load.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(messages.any(|message| message.contains("trying again for 1m")), "{table}");
        open.execute_batch("ROLLBACK").unwrap();
        assert!(messages.last().unwrap().contains("1 hour, 2 rows"), "{table}");
        assert!(load.wait().unwrap().success());
        assert_eq!(Target::Sqlite.readings(&data_dir).len(), 2);
        open.execute_batch("DROP TABLE readings; DELETE FROM load_log").unwrap();
    }
}

#[test]
fn a_file_elsewhere_is_made_and_loaded() {
    for kind in ["duckdb", "sqlite"] {
        let (data_dir, elsewhere) = (DataDir::new(), DataDir::new());
        publish_readings(&data_dir, "2025-09-02T10", "a", 2);
        let path = elsewhere.path().join("it's the plant.db");
        let mut program = data_dir.program("load-warehouse");
        program.args(["readings", "--target", kind, "--format", "csv", "--head", "1", "--file"]).arg(&path);
        for _ in 0..2 {
            let head = Run::of(&mut program).expect(0).stdout;
            assert!(head.starts_with("id,window_start,"), "{head}");
        }
        let mut program = data_dir.program("load-warehouse");
        program.args(["readings", "--target", kind, "--verify", "--format", "csv"]).env("DB_FILE", &path);
        assert!(Run::of(&mut program).expect(0).stdout.ends_with("readings,2025-09-02T10,2,2,ok\n"));
        assert_eq!(data_dir.files().len(), 2, "{:?}", data_dir.files());
    }
}

#[test]
fn a_full_disk_is_tried_again_later() {
    for target in [Target::File, Target::Sqlite] {
        let Some(disk) = SmallDisk::mount("size=16m") else { return };
        let data_dir = DataDir::within(disk.path());
        publish_readings(&data_dir, "2025-09-02T10", "a", 2);
        target.run(&data_dir, "readings").expect(0);
        publish_readings(&data_dir, "2025-09-02T10", "b", 60_000);
        let picture = target.picture(&data_dir, &["readings"]);
        let ballast = disk.fill();
        let run = target.run(&data_dir, "readings").expect(75);
        assert!(run.stderr.contains("the warehouse's disk is full: make room there"), "{}", run.stderr);
        std::fs::remove_file(ballast).unwrap();
        assert_eq!(target.picture(&data_dir, &["readings"]), picture);
        assert!(disk.remount("size=100m"));
        target.run(&data_dir, "readings").expect(0);
        assert_eq!(target.readings(&data_dir).len(), 60_000);
    }
}
