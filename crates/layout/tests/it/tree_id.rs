//! The identity of a tree: one for everybody, the same for ever, and never a guess.

use std::collections::BTreeSet;
use std::fs;

use crate::common::{TestDir, put};
use layout::Tree;

#[test]
fn a_tree_gets_its_identity_at_the_first_call_and_keeps_it_when_it_is_moved() {
    let dir = TestDir::new();
    assert_eq!(dir.tree.existing_id().unwrap(), None);
    assert!(!dir.tree.root().exists(), "asking makes nothing");
    let id = dir.tree.id().unwrap();
    assert_eq!(dir.files(), ["tree-id"]);
    assert_eq!(id.to_string().parse(), Ok(id));
    let moved = dir.tree.root().with_file_name("moved");
    fs::rename(dir.tree.root(), &moved).unwrap();
    assert_eq!(Tree::new(&moved).id().unwrap(), id);
    assert_ne!(dir.tree.id().unwrap(), id, "another tree has another one");
}

#[test]
fn all_who_make_the_identity_at_the_same_time_get_the_same() {
    for _ in 0..20 {
        let dir = TestDir::in_memory();
        let start = std::sync::Barrier::new(8);
        let ids: BTreeSet<_> = std::thread::scope(|scope| {
            let make = || {
                start.wait();
                dir.tree.id().unwrap()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(ids.len(), 1);
        assert_eq!(dir.files(), ["tree-id"]);
    }
}

#[test]
fn a_damaged_identity_is_an_error_with_what_to_do_and_is_not_replaced() {
    let dir = TestDir::new();
    let file = dir.tree.root().join("tree-id");
    for damaged in [&b""[..], b"\n", b"01JQZZ", b"\xff\xfe", b"01jqzz0000000000000000000a\n"] {
        put(&file, damaged);
        let error = dir.tree.id().unwrap_err().to_string();
        assert!(error.contains("tree-id: does not hold the identity"), "{error}");
        assert!(error.contains("put it back from a backup"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), damaged);
    }
}

#[test]
fn a_tree_that_cannot_be_given_an_identity_says_so() {
    let dir = TestDir::new();
    put(dir.tree.root(), "a file where the data directory should be");
    let error = dir.tree.id().unwrap_err().to_string();
    assert!(error.contains("cannot") && error.contains("data"), "{error}");
}

#[test]
fn the_identity_is_no_stream_no_data_set_and_no_orphan() {
    let dir = TestDir::new();
    dir.tree.id().unwrap();
    for area in layout::Area::ALL {
        assert_eq!(dir.tree.names(area).unwrap(), []);
    }
}
