//! Listings of the tree: what was not made by these programs is passed over, and what vanishes meanwhile is no error.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{SetAtEnd, TestDir, hour, name, put};
use layout::{Area, DatasetLock, Hour, HourRange, OpenSegment, seal};
use proptest::prelude::*;

const ULID: &str = "01K4A6Q0000000000000000000";

/// Everything that a listing says about the streams and data sets of a tree.
fn listing(dir: &TestDir) -> Vec<String> {
    let mut seen = Vec::new();
    for area in Area::ALL {
        for name in dir.tree.names(area).unwrap() {
            seen.push(format!("{}/{name}", area.as_str()));
            seen.extend(dir.sealed(area, &name).into_iter().map(|file| dir.tree.relative(&file.path)));
            seen.extend(
                dir.tree.open_segments(area, &name).unwrap().iter().map(|file| dir.tree.relative(&file.open_path())),
            );
            if area == Area::Parquet {
                let hours = dir.tree.parquet_files(&name, HourRange::ALL).unwrap();
                seen.extend(hours.into_iter().map(|file| dir.tree.relative(&file.path)));
            }
            let orphans = dir.tree.unpublished(area, &name).unwrap();
            seen.extend(orphans.into_iter().map(|(path, _)| dir.tree.relative(&path)));
        }
    }
    seen
}

#[test]
fn a_data_directory_that_is_not_there_holds_nothing() {
    let dir = TestDir::new();
    let (tree, stream) = (&dir.tree, name("telemetry"));
    assert_eq!(listing(&dir), [""; 0]);
    assert!(tree.hours(&stream, HourRange::ALL).unwrap().published.is_empty());
    assert!(tree.empty_folders(Area::Raw, &stream, &BTreeSet::new(), hour("2025")).unwrap().is_empty());
    assert!(!tree.root().exists(), "looking made the data directory");
}

#[test]
fn foreign_files_are_passed_over() {
    let dir = TestDir::new();
    let day = |path: &str| dir.tree.root().join("raw/telemetry/2025/09/02").join(path);
    for file in [
        "10.json",
        "10.x.json",
        "24.01K4A6Q0000000000000000000.json",
        "1.01K4A6Q0000000000000000000.json",
        "10.01k4a6q0000000000000000000.json",
        "10.01K4A6Q0000000000000000000.json~",
        "10.01K4A6Q0000000000000000000-X.json",
        "10.01K4A6Q0000000000000000000.json.gz",
        "notes.txt",
        "10",
        "10.",
        ".10.json",
        "..",
        "+1.01K4A6Q0000000000000000000.json",
        "../../../../Telemetry/2025/09/02/10.01K4A6Q0000000000000000000.json",
        "../../../2025/9/02/10.01K4A6Q0000000000000000000.json",
        "../../../2025/09/31/10.01K4A6Q0000000000000000000.json",
        "../../../2025/13/02/10.01K4A6Q0000000000000000000.json",
        "../../../25/09/02/10.01K4A6Q0000000000000000000.json",
        "../../../02025/09/02/10.01K4A6Q0000000000000000000.json",
        "../../../lost+found/10.01K4A6Q0000000000000000000.json",
        "../../../10.01K4A6Q0000000000000000000.json",
        "../../../2025/10.01K4A6Q0000000000000000000.json",
        "../../../../10.01K4A6Q0000000000000000000.json",
        "../../../../file_like_a_stream",
        "../../../../../parquet",
    ] {
        if file != ".." {
            put(&day(file), "{}\n");
        }
    }
    // A folder named like a file, a file named like a folder.
    fs::create_dir(day(&format!("11.{ULID}.json"))).unwrap();
    put(&day("../03"), "");
    put(&day("../../10"), "");
    assert_eq!(
        listing_without_parquet(&dir),
        ["raw/telemetry"],
        "files that no program made are taken for the programs' own"
    );
    let sealed = day(&format!("10.{ULID}.json"));
    put(&sealed, "{}\n");
    assert_eq!(listing_without_parquet(&dir), ["raw/telemetry", &dir.tree.relative(&sealed)]);
    // A file where an area should be is not an empty area.
    let error = dir.tree.names(Area::Parquet).unwrap_err().to_string();
    assert!(error.contains("parquet: cannot list the folder: Not a directory"), "{error}");
}

fn listing_without_parquet(dir: &TestDir) -> Vec<String> {
    let mut seen = Vec::new();
    for name in dir.tree.names(Area::Raw).unwrap() {
        seen.push(format!("raw/{name}"));
        seen.extend(dir.sealed(Area::Raw, &name).into_iter().map(|file| dir.tree.relative(&file.path)));
        assert!(dir.tree.open_segments(Area::Raw, &name).unwrap().is_empty());
        assert!(dir.tree.unpublished(Area::Raw, &name).unwrap().is_empty());
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_file_name_upsets_a_listing(file in "[^/\0]{1,40}|(00|10)\\.(parquet|json|json\\.open|[^/\0]{0,30})|\\.[^/\0]{0,30}\\.tmp") {
        prop_assume!(file.len() < 250 && file != "." && file != "..");
        let dir = TestDir::new();
        for area in Area::ALL {
            put(&dir.tree.root().join(area.as_str()).join("x/2025/09/02").join(&file), "x");
        }
        let mut seen = listing(&dir);
        let listed = seen.len();
        seen.dedup();
        prop_assert_eq!(seen.len(), listed, "a file is two things at once: {:?}", seen);
        for path in seen.iter().filter(|path| path.matches('/').count() > 1) {
            let own = ["10.parquet", "00.parquet"].contains(&file.as_str()) || (file.starts_with('.') && file.ends_with("tmp"));
            prop_assert!(own && path.ends_with(&file), "{}", path);
        }
    }
}

#[test]
fn a_stream_may_be_put_on_another_disk_by_a_link() {
    let dir = TestDir::new();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.tree.root().join("raw")).unwrap();
    symlink(elsewhere.path(), dir.tree.root().join("raw/telemetry")).unwrap();
    let stream = name("telemetry");
    dir.abandon(Area::Raw, &stream, hour("2025-09-02T10"), b"{}\n");
    assert_eq!(dir.tree.names(Area::Raw).unwrap(), std::slice::from_ref(&stream));
    assert_eq!(dir.tree.open_segments(Area::Raw, &stream).unwrap().len(), 1);
    assert!(elsewhere.path().join("2025/09/02").is_dir());
}

#[test]
fn a_link_to_a_disk_that_is_not_there_is_an_error_that_names_it() {
    let dir = TestDir::new();
    let (stream, data) = (name("telemetry"), name("temperatures"));
    for area in ["raw/telemetry", "parquet/temperatures"] {
        let link = dir.tree.root().join(area);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink("/no/such/disk", link).unwrap();
    }
    let error = OpenSegment::create(&dir.tree, Area::Raw, &stream, hour("2025"), layout::StreamVersion::of(""))
        .unwrap_err()
        .to_string();
    assert!(error.contains("raw/telemetry: cannot create the folder"), "{error}");
    let error = DatasetLock::try_acquire(&dir.tree, &data).unwrap_err().to_string();
    assert!(error.contains("parquet/temperatures: cannot create the folder"), "{error}");
}

#[test]
fn a_file_where_a_folder_should_be_is_an_error_that_names_it() {
    let dir = TestDir::new();
    put(&dir.tree.root().join("raw/telemetry/2025/09"), "");
    let error = OpenSegment::create(
        &dir.tree,
        Area::Raw,
        &name("telemetry"),
        hour("2025-09-02"),
        layout::StreamVersion::of(""),
    )
    .unwrap_err();
    let (words, path) = (error.to_string(), dir.tree.root().join("raw/telemetry/2025/09"));
    assert!(words.starts_with(&path.display().to_string()), "{words}");
    assert!(error.io().is_some());
}

#[test]
fn an_hour_behind_a_broken_link_is_not_taken_for_removed() {
    let dir = TestDir::new();
    let (data, hour) = (name("temperatures"), hour("2025-09-02T10"));
    let path = dir.tree.parquet(&data, hour);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink("/no/such/disk/10.parquet", &path).unwrap();
    let commits = dir.tree.hours(&data, HourRange::ALL).unwrap().published;
    let [(file, Err(error))] = &commits[..] else { panic!("{commits:?}") };
    assert_eq!(file.hour, hour);
    assert!(error.to_string().contains("10.parquet: cannot open: No such file"), "{error}");
}

#[test]
fn folders_that_come_and_go_upset_neither_who_lists_nor_who_writes() {
    const ROUNDS: usize = 100;
    let dir = TestDir::new();
    let stream = name("telemetry");
    let (tree, done) = (&dir.tree, AtomicBool::new(false));
    // Another month, which is not created by the writer below, so that listing meets folders at each stage of removal.
    let other = Hour::MIN;
    std::thread::scope(|scope| {
        let housekeeper = scope.spawn(|| {
            let mut removed = 0;
            while !done.load(Ordering::Relaxed) {
                for area in [Area::Raw, Area::Parquet] {
                    for folder in tree.empty_folders(area, &stream, &BTreeSet::new(), other).unwrap() {
                        removed += u64::from(tree.remove_empty_folder(&folder).unwrap());
                    }
                }
            }
            removed
        });
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                listing(&dir);
            }
        });
        let end = SetAtEnd(&done);
        let lock = DatasetLock::try_acquire(tree, &stream).unwrap().unwrap();
        for round in 0..ROUNDS {
            let hour = hour("2025-12-31T22").plus((round % 4).try_into().unwrap());
            let segment = OpenSegment::create(tree, Area::Raw, &stream, hour, layout::StreamVersion::of("")).unwrap();
            assert!(segment.path().exists(), "created and locked, but gone");
            assert!(seal(vec![segment]).unwrap().is_empty());
            let draft = tree.draft_parquet(&lock, &stream, hour).unwrap();
            // The folder must still be there when the caller gets to writing.
            fs::write(draft.path(), "x").unwrap();
            drop(draft);
        }
        drop(end);
        reader.join().unwrap();
        assert!(housekeeper.join().unwrap() > 0, "the housekeeper never met an empty folder");
    });
}

#[test]
fn empty_folders_are_those_of_the_programs_own() {
    let dir = TestDir::new();
    let (tree, stream) = (&dir.tree, name("telemetry"));
    let root = tree.root().join("raw/telemetry");
    for folder in ["2025/09/02", "2025/09/03", "2025/10", "2026/01/01", "notes/09", "2024/07/07/07"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    put(&root.join("2026/01/01/00.01K4A6Q0000000000000000000.json"), "{}\n");
    fs::create_dir_all(tree.root().join("elsewhere")).unwrap();
    fs::create_dir_all(root.join("2023/05")).unwrap();
    symlink(tree.root().join("elsewhere"), root.join("2023/05/06")).unwrap();
    let current = hour("2025-09-03T10");
    let empty = tree.empty_folders(Area::Raw, &stream, &BTreeSet::new(), current).unwrap();
    for folder in &empty {
        tree.remove_empty_folder(folder).unwrap();
    }
    for (folder, stays) in [
        ("2025/09/02", false),
        ("2025/10", false),   // empty
        ("2025/09/03", true), // of the current hour
        ("2026/01/01", true), // not empty
        ("notes/09", true),
        ("2024/07/07/07", true), // not made by these programs
        ("2023/05/06", true),    // a link
    ] {
        assert_eq!(root.join(folder).exists(), stays, "{folder}; found empty: {empty:?}");
    }
    assert_eq!(tree.remove_empty_folder(&root.join("2023/05/06")).map_err(|error| error.to_string()), Ok(false));
    let gone = tree.remove_empty_folder(&root.join("2025/10"));
    assert!(!gone.unwrap(), "a folder that is gone already is not removed again");
}

#[test]
fn an_error_of_the_system_is_told_from_a_damaged_file() {
    let dir = TestDir::new();
    put(dir.tree.root(), "not a folder");
    let error =
        OpenSegment::create(&dir.tree, Area::Raw, &name("telemetry"), hour("2025"), layout::StreamVersion::of(""))
            .unwrap_err();
    assert_eq!(error.io().map(io::Error::kind), Some(io::ErrorKind::AlreadyExists), "{error}");
    assert!(!error.is_not_found());
}
