//! Segments: what is appended is there whole or not at all, on a full disk as well.

use std::fs;
use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::process::Command;

use crate::common::{TestDir, hour, name};
use layout::{Area, HourRange, OpenSegment, Tree, remove_segments, seal};
use proptest::collection::vec;
use proptest::prelude::*;

fn create(tree: &Tree) -> OpenSegment {
    OpenSegment::create(tree, Area::Raw, &name("telemetry"), hour("2025-09-02T10"), layout::StreamVersion::of(""))
        .unwrap()
}

fn append(segment: &mut OpenSegment, pieces: &[Vec<u8>]) -> layout::Result<()> {
    let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    segment.append(&mut slices)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_appended_is_there_in_order(
        appends in vec(vec(vec(any::<u8>(), 0..40), 0..20), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let dir = TestDir::new();
        let mut segment = create(&dir.tree);
        let (mut expected, mut lengths) = (Vec::new(), vec![0]);
        for pieces in &appends {
            append(&mut segment, pieces).unwrap();
            expected.extend(pieces.concat());
            lengths.push(expected.len());
            prop_assert_eq!(segment.len(), expected.len() as u64);
        }
        prop_assert_eq!(&fs::read(segment.path()).unwrap(), &expected);
        // Back to a length it had, and on from there.
        let len = lengths[cut.index(lengths.len())];
        segment.rollback(len as u64).unwrap();
        expected.truncate(len);
        append(&mut segment, &[b"on\n".to_vec()]).unwrap();
        expected.extend(b"on\n");
        prop_assert_eq!(&fs::read(segment.path()).unwrap(), &expected);
    }
}

#[test]
fn more_pieces_than_the_kernel_takes_at_a_time_are_appended() {
    let dir = TestDir::new();
    let mut segment = create(&dir.tree);
    let pieces: Vec<_> = (0..5000).map(|i| format!("{i}\n").into_bytes()).collect();
    append(&mut segment, &pieces).unwrap();
    assert_eq!(fs::read(segment.path()).unwrap(), pieces.concat());
}

#[test]
fn empty_pieces_are_nothing_to_write_and_no_error() {
    let dir = TestDir::new();
    let mut segment = create(&dir.tree);
    append(&mut segment, &[]).unwrap();
    append(&mut segment, &vec![Vec::new(); 3000]).unwrap();
    assert!(segment.is_empty());
    let mut pieces = vec![Vec::new(); 2000];
    pieces.push(b"{}\n".to_vec());
    pieces.extend(vec![Vec::new(); 2000]);
    append(&mut segment, &pieces).unwrap();
    assert_eq!(fs::read(segment.path()).unwrap(), b"{}\n");
}

#[test]
fn a_sealed_segment_is_what_was_written_under_its_final_name() {
    let dir = TestDir::new();
    let mut segment = create(&dir.tree);
    let open = segment.path().to_owned();
    append(&mut segment, &[b"{}\n".to_vec()]).unwrap();
    assert_eq!(dir.tree.open_segments(Area::Raw, &name("telemetry")).unwrap()[0].open_path(), open);
    let sealed = seal(vec![segment]).unwrap();
    assert_eq!(open.display().to_string(), format!("{}.open", sealed[0].path.display()));
    assert_eq!(fs::read(&sealed[0].path).unwrap(), b"{}\n");
    assert!(!open.exists());
    assert_eq!(dir.sealed(Area::Raw, &name("telemetry")), sealed);
    remove_segments(&sealed).unwrap();
    remove_segments(&sealed).expect("to remove what is gone is no error");
    assert!(dir.files().is_empty());
}

#[test]
fn an_empty_segment_is_removed_when_it_is_sealed() {
    let dir = TestDir::new();
    let mut segment = create(&dir.tree);
    append(&mut segment, &[b"{}\n".to_vec()]).unwrap();
    segment.rollback(0).unwrap();
    assert!(seal(vec![segment, create(&dir.tree)]).unwrap().is_empty());
    assert!(dir.files().is_empty());
}

#[test]
fn what_cannot_be_sealed_is_handed_back_and_can_be_sealed_later() {
    let dir = TestDir::new();
    let segments: Vec<_> = (0..3)
        .map(|i| {
            let mut segment = create(&dir.tree);
            append(&mut segment, &[format!("{i}\n").into_bytes()]).unwrap();
            segment
        })
        .collect();
    // A folder stands in the way of the first one's name.
    let way = segments[0].path().with_extension("");
    fs::create_dir_all(way.join("x")).unwrap();
    let failed = seal(segments).unwrap_err();
    assert!(!failed.unsynced && failed.to_string().contains("cannot seal as"), "{failed}");
    assert!(!failed.open.is_empty());
    let open: Vec<_> = failed.open.iter().map(|segment| segment.path().to_owned()).collect();
    assert!(open.iter().all(|path| path.exists()));
    fs::remove_dir_all(way).unwrap();
    seal(failed.open).unwrap();
    let lines: String =
        dir.sealed(Area::Raw, &name("telemetry")).iter().map(|s| fs::read_to_string(&s.path).unwrap()).collect();
    let mut lines: Vec<_> = lines.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0", "1", "2"]);
}

#[test]
fn what_was_written_is_to_be_synced_once() {
    let dir = TestDir::new();
    let mut segment = create(&dir.tree);
    segment.to_sync().expect("a new segment's name is not durable yet").sync().unwrap();
    assert!(segment.to_sync().is_none());
    append(&mut segment, &[b"{}\n".to_vec()]).unwrap();
    let sync = segment.to_sync().unwrap();
    assert!(segment.to_sync().is_none());
    // Another thread may get to it when the segment is sealed and compacted.
    remove_segments(&seal(vec![segment]).unwrap()).unwrap();
    sync.sync().unwrap();
}

#[test]
fn child_writes_until_it_dies() {
    let Some(dir) = TestDir::of_child() else { return };
    let mut segment = create(&dir.tree);
    let pieces: Vec<_> = (0..5000).map(|i| format!("{{\"line\":{i}}}\n").into_bytes()).collect();
    append(&mut segment, &pieces).unwrap();
    seal(vec![segment]).unwrap();
}

#[test]
fn a_writer_that_dies_at_any_point_leaves_lines_that_recovery_seals() {
    let stream = name("telemetry");
    for (fault, lines, open) in
        [("segment.part:1", 1024, 1), ("segment.part:3", 3072, 1), ("seal.synced", 5000, 1), ("seal.renamed", 5000, 0)]
    {
        let dir = TestDir::new();
        dir.die_at("child_writes_until_it_dies", fault);
        assert_eq!(dir.tree.open_segments(Area::Raw, &stream).unwrap().len(), open, "at {fault}");
        let recovered = layout::recover(&dir.tree, Area::Raw, &stream, chrono::Utc::now()).unwrap();
        assert_eq!(recovered.len(), open);
        let sealed = dir.tree.sealed_segments(Area::Raw, &stream, HourRange::ALL).unwrap();
        let text = fs::read_to_string(&sealed[0].path).unwrap();
        assert_eq!((sealed.len(), text.lines().count()), (1, lines), "at {fault}");
        assert!(layout::recover(&dir.tree, Area::Raw, &stream, chrono::Utc::now()).unwrap().is_empty());
    }
}

/// A disk of `kib` KiB, unmounted at the end.
struct SmallDisk<'p>(&'p Path);

impl<'p> SmallDisk<'p> {
    /// None when this process may not mount.
    fn mount(path: &'p Path, kib: u32) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]).arg(path);
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_takes_all_of_an_append_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path(), 256) else {
        eprintln!("SKIPPED: appending on a full disk, because mounting a small disk takes root");
        return;
    };
    let tree = Tree::new(disk.0.join("data"));
    let mut segment = create(&tree);
    let filler = disk.0.join("filler");
    fs::write(&filler, vec![b'x'; 100 * 1024]).unwrap();

    // 8 KiB an append, in pieces that straddle the pages of the disk.
    let pieces = |round: usize| -> Vec<_> { (0..1200).map(|i| format!("{round:02}{i:04}\n").into_bytes()).collect() };
    let (mut round, mut before) = (0, Vec::new());
    let error = loop {
        if let Err(error) = append(&mut segment, &pieces(round)) {
            break error;
        }
        before.extend(pieces(round).concat());
        round += 1;
    };
    assert_eq!(error.io().map(std::io::Error::kind), Some(ErrorKind::StorageFull), "{error}");
    assert!(error.to_string().starts_with(&segment.path().display().to_string()), "{error}");
    assert!(round > 3, "the disk was full at once");
    for _ in 0..3 {
        assert_eq!(fs::read(segment.path()).unwrap(), before, "after a failed append the segment is another");
        assert_eq!(segment.len(), before.len() as u64);
        append(&mut segment, &pieces(round)).unwrap_err();
    }
    // A smaller one may still fit, and is whole as well.
    if append(&mut segment, &pieces(round)[..1]).is_ok() {
        before.extend(&pieces(round)[0]);
    }
    let other = OpenSegment::create(
        &tree,
        Area::Quarantine,
        &name("telemetry"),
        hour("2025-09-02T10"),
        layout::StreamVersion::of(""),
    );
    assert!(other.map_or_else(|error| error.io().is_some(), |_| true));

    fs::remove_file(&filler).unwrap();
    append(&mut segment, &pieces(round)).unwrap();
    before.extend(pieces(round).concat());
    let sealed = seal(vec![segment]).unwrap();
    assert_eq!(fs::read(&sealed[0].path).unwrap(), before);
}
