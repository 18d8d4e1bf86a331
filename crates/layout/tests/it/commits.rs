//! The commit record in the footer of a Parquet file: read from real files, refused in damaged ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use crate::common::{TestDir, hour, name, put};
use layout::{Commit, DatasetLock, Fingerprint, Hour, HourRange, Input, Lineage, SegmentCount, Window};
use parquet::data_type::Int64Type;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

/// A Parquet file of six columns with `groups` row groups of three rows each, and `pairs` in its footer.
fn parquet(groups: usize, pairs: &[(&str, &str)]) -> Vec<u8> {
    let columns = ["a", "b", "c", "d", "e", "f"].map(|name| format!("required int64 {name};")).concat();
    let schema = Arc::new(parse_message_type(&format!("message rows {{ {columns} }}")).unwrap());
    let pairs = pairs.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned())).collect();
    let properties = Arc::new(WriterProperties::builder().set_key_value_metadata(Some(pairs)).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    for group in 0..groups {
        let mut rows = writer.next_row_group().unwrap();
        while let Some(mut column) = rows.next_column().unwrap() {
            let values = [1, 2, i64::try_from(group).unwrap()];
            column.typed::<Int64Type>().write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        rows.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn commit(segments: u128) -> Commit {
    let segment = |i| SegmentCount { name: ulid::Ulid::from(i).to_string().parse().unwrap(), lines: 1000, damaged: 1 };
    Commit::new(Lineage::Segments((0..segments).map(segment).collect()))
}

/// The bytes in a file of the tree, read as a commit record.
fn read(bytes: &[u8]) -> Result<Commit, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("10.parquet");
    fs::write(&path, bytes).unwrap();
    Commit::read(&path).map_err(|error| {
        let words = error.to_string();
        let rest = words.strip_prefix(&format!("{}: ", path.display())).expect("the error names the file");
        rest.to_owned()
    })
}

#[test]
fn the_record_that_was_written_is_read_back_with_the_number_of_rows() {
    let query = Commit::new(Lineage::Query {
        query: Fingerprint::of(b"SELECT 1"),
        inputs: BTreeMap::from([(name("telemetry"), Input::Hour(commit(2).fingerprint))]),
        tables: BTreeMap::from([("sensors".to_owned(), Fingerprint::of(b"1,\"attic\""))]),
    });
    for commit in [commit(0), commit(3), query] {
        let bytes = parquet(2, &[("other", "x"), (Commit::KEY, &commit.to_json()), ("ARROW:schema", "y")]);
        let read = read(&bytes).unwrap();
        assert_eq!(read.rows, 6);
        assert_eq!(Commit { rows: 0, ..read }, commit);
        assert_eq!(commit.fingerprint, commit.lineage.fingerprint());
    }
}

#[test]
fn the_record_of_a_window_is_read_back_with_what_it_covers_and_the_files_of_its_hours() {
    let hour: Hour = "2025-09-01T18".parse().unwrap();
    let files: BTreeMap<_, _> = (0..25).map(|i| (hour.plus(i), commit(2).fingerprint)).collect();
    let lineage = Lineage::Query {
        query: Fingerprint::of(b"SELECT 1"),
        inputs: BTreeMap::from([(name("telemetry"), Input::Hours(files.clone()))]),
        tables: BTreeMap::new(),
    };
    let time = |text: &str| text.parse().unwrap();
    let start = time("2025-09-01T18:30:00Z");
    let window = Window { start, end: time("2025-09-02T18:30:00Z"), reads_from: start };
    let day = Commit::of_window(lineage.clone(), window);
    let read = read(&parquet(2, &[(Commit::KEY, &day.to_json())])).unwrap();
    assert_eq!((read.window(hour), read.is_genuine()), (window, true));
    let listed: BTreeMap<_, _> = read.lineage.inputs().flat_map(|(_, input)| input.files(hour)).collect();
    assert_eq!(listed, files.iter().map(|(hour, file)| (*hour, file)).collect());
    let later = Window { end: time("2025-09-02T19:30:00Z"), ..window };
    assert_ne!(Commit::of_window(lineage.clone(), later).fingerprint, day.fingerprint);
    assert_eq!(Commit::of_window(lineage.clone(), Window::of_hour(hour)), Commit::new(lineage));
}

#[test]
fn equal_lineages_have_equal_fingerprints_and_others_have_others() {
    assert_eq!(commit(3).fingerprint, commit(3).fingerprint);
    assert_ne!(commit(3).fingerprint, commit(4).fingerprint);
    assert_eq!(commit(3).fingerprint.as_str().len(), 32);
    // Written down in files and warehouses: it must be the same in every later version.
    assert_eq!(commit(1).fingerprint.as_str(), "312d542a401519f1085509e0e8b39e91");
}

#[test]
fn rows_that_were_left_out_are_counted_and_change_the_fingerprint() {
    let whole = commit(3);
    assert!(!whole.to_json().contains("duplicates"), "a record from before there were any: {}", whole.to_json());
    assert_eq!((whole.duplicates, whole.accounted_rows()), (0, Some(2997)));
    let less = Commit::deduplicated(whole.lineage.clone(), 7);
    assert_eq!((less.duplicates, less.accounted_rows()), (7, Some(2990)));
    assert_ne!(less.fingerprint, whole.fingerprint);
    assert_ne!(less.fingerprint, Commit::deduplicated(whole.lineage.clone(), 8).fingerprint);
    let read = read(&parquet(1, &[(Commit::KEY, &less.to_json())])).unwrap();
    assert_eq!(Commit { rows: 0, ..read.clone() }, less);
    assert!(whole.is_genuine() && read.is_genuine());
    assert!(!Commit { duplicates: 0, ..read }.is_genuine() && !Commit { duplicates: 1, ..whole }.is_genuine());
    assert_eq!(Commit::deduplicated(commit(1).lineage, 1000).accounted_rows(), None);
}

#[test]
fn footers_of_any_length_are_read() {
    for (groups, segments) in [(0, 0), (1, 1), (1, 150), (1, 200), (1, 250), (1, 2000), (200, 1), (300, 500)] {
        let commit = commit(segments);
        let bytes = parquet(groups, &[(Commit::KEY, &commit.to_json())]);
        let read = read(&bytes).unwrap();
        assert_eq!((read.fingerprint, read.rows), (commit.fingerprint, 3 * groups as u64));
    }
}

#[test]
fn a_file_without_a_record_or_with_another_one_says_so() {
    for (pairs, words) in [
        (vec![], "has no commit record: it was not made by these programs"),
        (vec![("Commit", "{}")], "has no commit record: it was not made by these programs"),
        (vec![(Commit::KEY, "{}")], "its commit record cannot be read: missing field `fingerprint`"),
        (vec![(Commit::KEY, "")], "its commit record cannot be read: EOF while parsing"),
        (
            vec![(
                Commit::KEY,
                r#"{"fingerprint":"x","lineage":{"segments":[{"name":"../x","lines":1,"damaged":0}]}}"#,
            )],
            r#"its commit record cannot be read: "../x" is not a segment's name"#,
        ),
    ] {
        let error = read(&parquet(1, &pairs)).unwrap_err();
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn a_file_that_is_no_parquet_file_or_a_part_of_one_says_so() {
    let whole = parquet(3, &[(Commit::KEY, &commit(3).to_json())]);
    for length in 0..whole.len() {
        let error = read(&whole[..length]).unwrap_err();
        assert!(
            error.starts_with("has no Parquet footer: it is not a Parquet file, or a damaged one"),
            "{length}: {error}"
        );
    }
    for bytes in [
        &b"PAR1"[..],
        b"\xff\xff\xff\xffPAR1",
        b"\0\0\0\0PAR1",
        b"\x01\0\0\0PAR1",
        b"PAR1\0\0\0\0PARE",
        &vec![0; 40_000],
    ] {
        let error = read(bytes).unwrap_err();
        assert!(error.contains("footer"), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_or_not_a_file_is_told_from_a_damaged_one() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Commit::read(&folder.path().join("x")).unwrap_err().is_not_found());
    let error = Commit::read(folder.path()).unwrap_err();
    assert!(!error.is_not_found() && error.to_string().contains("is a folder, and no regular file"), "{error}");
}

static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| parquet(3, &[(Commit::KEY, &commit(3).to_json())]));

/// Where the footer's Thrift begins in [`WHOLE`].
fn footer_start() -> usize {
    let end = WHOLE.len() - 8;
    end - u32::from_le_bytes(WHOLE[end..end + 4].try_into().unwrap()) as usize
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_damage_to_a_footer_makes_a_reader_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0xff), Just(0x7f), Just(0)]), 1..6),
    ) {
        let mut bytes = WHOLE.clone();
        let start = footer_start();
        for (at, byte) in changes {
            let at = start + at.index(bytes.len() - start);
            bytes[at] = byte;
        }
        // Either it says what is wrong, or the record was not hit.
        if let Err(error) = read(&bytes) {
            prop_assert!(error.contains("footer") || error.contains("commit record"), "{}", error);
        }
    }

    #[test]
    fn no_garbage_between_the_marks_makes_a_reader_panic(garbage in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = b"PAR1".to_vec();
        bytes.extend(&garbage);
        bytes.extend(u32::try_from(garbage.len()).unwrap().to_le_bytes());
        bytes.extend(b"PAR1");
        prop_assert!(read(&bytes).is_err());
    }
}

fn hours(dir: &TestDir, count: i64) -> Vec<PathBuf> {
    let data = name("temperatures");
    let paths = (0..count).map(|i| dir.tree.parquet(&data, hour("2025-09-01").plus(i)));
    paths
        .enumerate()
        .map(|(i, path)| {
            put(&path, parquet(1, &[(Commit::KEY, &commit(i as u128).to_json())]));
            path
        })
        .collect()
}

#[test]
fn each_hour_has_its_own_record_and_a_damaged_one_is_an_error_in_its_place() {
    let dir = TestDir::new();
    let paths = hours(&dir, 300);
    fs::write(&paths[7], "damaged").unwrap();
    fs::write(&paths[200], parquet(1, &[])).unwrap();
    fs::remove_file(&paths[250]).unwrap();
    let range = HourRange { from: Some(hour("2025-09-01").plus(5)), to: None };
    let commits = dir.tree.hours(&name("temperatures"), range).unwrap().published;
    assert_eq!(commits.len(), 294);
    for (file, record) in commits {
        let i = usize::try_from(file.hour.since(hour("2025-09-01"))).unwrap();
        assert_eq!(file.path, paths[i]);
        match (i, record) {
            (7 | 200, Err(error)) => assert!(error.to_string().starts_with(&file.path.display().to_string())),
            (_, Ok(record)) => assert_eq!(record.fingerprint, commit(i as u128).fingerprint),
            (_, Err(error)) => panic!("{error}"),
        }
    }
}

#[test]
fn hours_that_are_removed_or_replaced_while_they_are_read_are_whole_or_left_out() {
    let dir = TestDir::new();
    let paths = hours(&dir, 200);
    std::thread::scope(|scope| {
        let remover = scope.spawn(|| {
            for path in &paths[..100] {
                fs::remove_file(path).unwrap();
            }
        });
        while !remover.is_finished() {
            for (file, record) in dir.tree.hours(&name("temperatures"), HourRange::ALL).unwrap().published {
                let i = u128::try_from(file.hour.since(hour("2025-09-01"))).unwrap();
                assert_eq!(record.unwrap().fingerprint, commit(i).fingerprint);
            }
        }
    });
    assert_eq!(dir.tree.hours(&name("temperatures"), HourRange::ALL).unwrap().published.len(), 100);
}

#[test]
fn hours_that_expire_while_they_are_read_are_there_or_expired() {
    let dir = TestDir::in_memory();
    hours(&dir, 2000);
    let data = name("temperatures");
    let lock = DatasetLock::try_acquire(&dir.tree, &data).unwrap().unwrap();
    std::thread::scope(|scope| {
        let retention = scope.spawn(|| {
            for i in 0..1000 {
                let expires = (hour("2025-09-01").plus(i), commit(i.unsigned_abs().into()));
                dir.tree.expire_parquet(&lock, &data, &[expires]).unwrap();
            }
        });
        while !retention.is_finished() {
            let hours = dir.tree.hours(&data, HourRange::ALL).unwrap();
            let there = hours.published.iter().map(|(file, _)| file.hour);
            let known: BTreeSet<_> = there.chain(hours.expired).collect();
            assert_eq!(known.len(), 2000);
        }
    });
}
