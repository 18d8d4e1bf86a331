//! The lock of a data set: one holder at a time, and none for longer than it lives.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::{TestDir, kill, name, ready};
use layout::DatasetLock;

fn lock(dir: &TestDir, dataset: &str) -> Option<DatasetLock> {
    DatasetLock::try_acquire(&dir.tree, &name(dataset)).unwrap()
}

#[test]
fn child_holds_the_lock() {
    let Some(dir) = TestDir::of_child() else { return };
    let _lock = lock(&dir, "telemetry").unwrap();
    ready();
    // Until it is killed, or the test ends and closes its end.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

#[test]
fn a_lock_excludes_other_processes_until_its_holder_dies() {
    let dir = TestDir::new();
    let child = dir.start("child_holds_the_lock");
    assert!(lock(&dir, "telemetry").is_none(), "two processes hold the lock");
    assert!(lock(&dir, "temperatures").is_some(), "the lock of another data set is another lock");
    kill(child);
    assert!(lock(&dir, "telemetry").is_some(), "a dead process holds the lock");
}

#[test]
fn a_lock_that_is_dropped_is_free() {
    let dir = TestDir::new();
    let held = lock(&dir, "telemetry");
    assert!(held.is_some() && lock(&dir, "telemetry").is_none());
    drop(held);
    assert!(lock(&dir, "telemetry").is_some());
}

#[test]
fn a_data_set_without_a_file_is_tidied_away_under_the_lock_and_that_can_be_taken_again() {
    let dir = TestDir::new();
    let folder = dir.tree.folder(layout::Area::Parquet, &name("telemetry"));
    for file in [None, Some("00.parquet")] {
        let held = lock(&dir, "telemetry").unwrap();
        std::fs::create_dir_all(folder.join("2025/09/02")).unwrap();
        std::fs::create_dir_all(folder.join("2025/10/02")).unwrap();
        if let Some(file) = file {
            std::fs::write(folder.join("2025/09/02").join(file), "rows").unwrap();
        }
        dir.tree.remove_without_files(&held, &name("telemetry")).unwrap();
        assert_eq!(folder.exists(), file.is_some());
    }
    assert!(folder.join("2025/09/02/00.parquet").exists());
}

#[test]
fn a_lock_can_be_taken_while_its_folder_is_tidied_away_again_and_again() {
    let dir = TestDir::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    if let Some(held) = lock(&dir, "telemetry") {
                        dir.tree.remove_without_files(&held, &name("telemetry")).unwrap();
                    }
                }
            });
        }
    });
}

#[test]
fn of_many_that_try_at_once_one_has_it() {
    let dir = TestDir::new();
    let inside = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let Some(_lock) = lock(&dir, "telemetry") else { continue };
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock");
                    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                }
            });
        }
    });
}

#[test]
fn a_folder_that_was_replaced_is_locked_anew() {
    let dir = TestDir::new();
    let _of_the_old = lock(&dir, "telemetry").unwrap();
    let folder = dir.tree.root().join("parquet/telemetry");
    std::fs::rename(&folder, folder.with_file_name("aside")).unwrap();
    assert!(lock(&dir, "telemetry").is_some(), "the lock of the folder that was moved away bars the new one");
}
