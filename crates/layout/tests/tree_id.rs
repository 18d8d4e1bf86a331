//! The identity of a tree: one for everybody, the same for ever, and never a guess.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{House, put};
use layout::Tree;

#[test]
fn a_tree_gets_its_identity_at_the_first_call_and_keeps_it_when_it_is_moved() {
    let house = House::new();
    assert_eq!(house.tree.existing_id().unwrap(), None);
    assert!(!house.tree.root().exists(), "asking makes nothing");
    let id = house.tree.id().unwrap();
    assert_eq!(house.files(), ["tree-id"]);
    assert_eq!(id.to_string().parse(), Ok(id));
    let moved = house.tree.root().with_file_name("moved");
    fs::rename(house.tree.root(), &moved).unwrap();
    assert_eq!(Tree::new(&moved).id().unwrap(), id);
    assert_ne!(house.tree.id().unwrap(), id, "another tree has another one");
}

#[test]
fn all_who_make_the_identity_at_the_same_time_get_the_same() {
    for _ in 0..20 {
        let house = House::in_memory();
        let start = std::sync::Barrier::new(8);
        let ids: BTreeSet<_> = std::thread::scope(|scope| {
            let make = || {
                start.wait();
                house.tree.id().unwrap()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(ids.len(), 1);
        assert_eq!(house.files(), ["tree-id"]);
    }
}

#[test]
fn a_damaged_identity_is_an_error_with_what_to_do_and_is_not_replaced() {
    let house = House::new();
    let file = house.tree.root().join("tree-id");
    for damaged in [&b""[..], b"\n", b"01JQZZ", b"\xff\xfe", b"01jqzz0000000000000000000a\n"] {
        put(&file, damaged);
        let error = house.tree.id().unwrap_err().to_string();
        assert!(error.contains("tree-id: does not hold the identity"), "{error}");
        assert!(error.contains("put it back from a backup"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), damaged);
    }
}

#[test]
fn a_tree_that_cannot_be_given_an_identity_says_so() {
    let house = House::new();
    put(house.tree.root(), "a file where the data directory should be");
    let error = house.tree.id().unwrap_err().to_string();
    assert!(error.contains("cannot") && error.contains("data"), "{error}");
}

#[test]
fn the_identity_is_no_stream_no_data_set_and_no_orphan() {
    let house = House::new();
    house.tree.id().unwrap();
    for area in layout::Area::ALL {
        assert_eq!(house.tree.names(area).unwrap(), []);
    }
}
