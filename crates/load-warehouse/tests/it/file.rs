//! What is particular to the DuckDB file.

use harness::{House, Run};
use layout::Tree;

use crate::hours::{Seen, check, publish_readings};
use crate::target::Target;

#[test]
fn a_file_that_another_process_has_open_is_waited_for_and_then_tried_again_later() {
    let house = House::new();
    publish_readings(&house, "2025-09-02T10", "a", 2);
    let open = duckdb::Connection::open(Tree::new(house.path()).warehouse()).unwrap();
    open.execute_batch("CREATE TABLE mine (n INTEGER)").unwrap();
    let run = Target::File.run(&house, "readings").expect(75);
    assert!(run.stderr.contains("warehouse.duckdb: another process has had it open"), "{}", run.stderr);
    drop(open);
    Target::File.run(&house, "readings").expect(0);
    let expected = [("2025-09-02T10".to_owned(), ("a".to_owned(), 2))].into();
    check(&Target::File.readings(&house), &expected, &mut Seen::new());
}

#[test]
fn a_file_that_is_no_warehouse_is_named() {
    let house = House::new();
    publish_readings(&house, "2025-09-02T10", "a", 2);
    let path = Tree::new(house.path()).warehouse();
    std::fs::write(&path, "not a database").unwrap();
    let run = Target::File.run(&house, "readings").expect(1);
    assert!(run.stderr.contains("warehouse.duckdb: cannot be opened"), "{}", run.stderr);
    assert_eq!(std::fs::read(&path).unwrap(), b"not a database");
}

#[test]
fn nothing_but_the_warehouse_is_left_in_the_data_directory() {
    let house = House::new();
    publish_readings(&house, "2025-09-02T10", "a", 2);
    Target::File.run(&house, "readings").expect(0);
    assert_eq!(house.files(), ["parquet/readings/2025/09/02/10.parquet", "warehouse.duckdb"]);
}

#[test]
fn a_data_directory_may_be_relative_and_have_any_name() {
    let above = House::new();
    let data = above.path().join("it's [a] *{data}, \"dir\"");
    std::fs::create_dir(&data).unwrap();
    let house = House::at(&data);
    publish_readings(&house, "2025-09-02T10", "a", 2);
    publish_readings(&house, "2025-09-02T11", "a", 2);
    // What the name would stand for as a pattern.
    let like = above.path().join("it's a {data}, \"dir\"");
    std::fs::create_dir(&like).unwrap();
    publish_readings(&House::at(&like), "2025-09-02T10", "b", 3);
    publish_readings(&House::at(&like), "2025-09-02T11", "b", 3);
    let mut program = harness::program("load-warehouse");
    program.current_dir(above.path()).arg("--data-dir").arg(format!("./{}", data.file_name().unwrap().display()));
    Run::of(program.arg("readings")).expect(0);
    let hours = ["2025-09-02T10", "2025-09-02T11"];
    let expected = hours.map(|hour| (hour.to_owned(), ("a".to_owned(), 2))).into();
    check(&Target::File.readings(&house), &expected, &mut Seen::new());
}
