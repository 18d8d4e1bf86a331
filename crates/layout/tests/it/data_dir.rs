//! What becomes of segments when their folders, or the data directory, are removed, moved or replaced.

use std::fs;
use std::io::IoSlice;
use std::os::unix::fs::MetadataExt as _;

use crate::common::{TestDir, hour, name};
use layout::{Area, DataDirHandle, InheritedSegment, OpenSegment, SegmentId, seal};

const LINES: &[u8] = b"{\"a\":1}\n{\"a\":2}\n";

fn segment(dir: &TestDir) -> OpenSegment {
    let mut segment =
        OpenSegment::create(&dir.tree, Area::Raw, &name("s"), hour("2025-09-02T10"), layout::StreamVersion::of(""))
            .unwrap();
    segment.append(&mut [IoSlice::new(LINES)]).unwrap();
    segment
}

/// The segment as its writer's successor gets it.
fn inherited(dir: &TestDir, segment: &OpenSegment) -> InheritedSegment {
    use std::os::fd::AsFd as _;
    let id =
        SegmentId { area: Area::Raw, stream: name("s"), hour: hour("2025-09-02T10"), name: segment.name().clone() };
    InheritedSegment::new(&dir.tree, id, segment.as_fd().try_clone_to_owned().unwrap())
}

#[test]
fn a_data_directory_that_was_removed_is_made_again_and_its_open_segments_are_put_back() {
    let dir = TestDir::new();
    let data_dir = DataDirHandle::new(&dir.tree).unwrap();
    let mut segment = segment(&dir);
    assert!(!data_dir.keep(&mut segment).unwrap());
    fs::remove_dir_all(dir.tree.root()).unwrap();
    assert!(data_dir.keep(&mut segment).unwrap());
    assert!(!data_dir.keep(&mut segment).unwrap());
    segment.append(&mut [IoSlice::new(b"{}\n")]).unwrap();
    let sealed = seal(vec![segment]).unwrap();
    assert_eq!(fs::read(&sealed[0].path).unwrap(), [LINES, b"{}\n"].concat());
    // Also when somebody else has made it.
    fs::remove_dir_all(dir.tree.root()).unwrap();
    fs::create_dir(dir.tree.root()).unwrap();
    data_dir.check().unwrap();
}

#[test]
fn an_empty_segment_is_put_back_too() {
    let dir = TestDir::new();
    let data_dir = DataDirHandle::new(&dir.tree).unwrap();
    let mut segment = segment(&dir);
    segment.rollback(0).unwrap();
    fs::remove_dir_all(dir.tree.root()).unwrap();
    assert!(data_dir.keep(&mut segment).unwrap());
    segment.append(&mut [IoSlice::new(LINES)]).unwrap();
    assert_eq!(fs::read(segment.path()).unwrap(), LINES);
}

#[test]
fn a_data_directory_that_was_moved_or_replaced_is_neither_made_again_nor_used() {
    let dir = TestDir::new();
    let data_dir = DataDirHandle::new(&dir.tree).unwrap();
    let mut segment = segment(&dir);
    let elsewhere = dir.tree.root().with_extension("elsewhere");
    fs::rename(dir.tree.root(), &elsewhere).unwrap();
    let gone = data_dir.keep(&mut segment).unwrap_err().to_string();
    assert!(gone.contains("it is not there any more: mount it or move it back"), "{gone}");
    assert!(!dir.tree.root().exists());
    fs::create_dir(dir.tree.root()).unwrap();
    let other = data_dir.check().unwrap_err().to_string();
    assert!(other.contains("another folder is in its place"), "{other}");
    // A process that gets the descriptor sees the same.
    assert!(DataDirHandle::inherit(&dir.tree, data_dir.descriptor().unwrap()).check().is_err());
    DataDirHandle::new(&dir.tree).unwrap().check().unwrap();
    fs::remove_dir(dir.tree.root()).unwrap();
    fs::rename(&elsewhere, dir.tree.root()).unwrap();
    assert!(!data_dir.keep(&mut segment).unwrap());
    seal(vec![segment]).unwrap();
}

#[test]
fn what_was_moved_away_is_emptied_when_it_was_put_back() {
    let dir = TestDir::new();
    let data_dir = DataDirHandle::new(&dir.tree).unwrap();
    let mut segment = segment(&dir);
    let elsewhere = dir.tree.root().join("elsewhere");
    fs::rename(segment.path(), &elsewhere).unwrap();
    assert!(data_dir.keep(&mut segment).unwrap());
    assert_eq!(fs::read(segment.path()).unwrap(), LINES);
    assert_eq!(elsewhere.metadata().unwrap().len(), 0);
}

#[test]
fn syncing_what_was_removed_is_no_failure_and_is_done_when_it_was_put_back() {
    let dir = TestDir::new();
    let data_dir = DataDirHandle::new(&dir.tree).unwrap();
    let mut segment = segment(&dir);
    fs::remove_dir_all(dir.tree.root()).unwrap();
    segment.to_sync().unwrap().sync().unwrap();
    segment.to_sync().unwrap().sync().unwrap();
    assert!(data_dir.keep(&mut segment).unwrap());
    assert!(segment.to_sync().is_none(), "it was synced where it was put back");
    assert!(seal(vec![segment]).is_ok());
}

#[test]
fn a_successor_puts_back_what_was_removed_and_not_what_was_sealed_and_compacted() {
    let dir = TestDir::new();
    let one = segment(&dir);
    fs::remove_dir_all(dir.tree.root()).unwrap();
    let again = inherited(&dir, &one).resume().unwrap().unwrap();
    assert_eq!(fs::read(again.path()).unwrap(), LINES);
    // It dies, and the next one has the file that was removed, and finds the copy.
    let copy = again.path().metadata().unwrap().ino();
    assert!(inherited(&dir, &one).resume().unwrap().is_none());
    assert!(inherited(&dir, &one).rewrite().unwrap().is_none());
    assert_eq!(again.path().metadata().unwrap().ino(), copy);
    seal(vec![again]).unwrap();
    assert!(inherited(&dir, &one).resume().unwrap().is_none());
    assert_eq!(dir.sealed(Area::Raw, &name("s")).len(), 1);
}

#[test]
fn who_is_to_put_back_is_a_child() {
    let Some(dir) = TestDir::of_child() else { return };
    let data_dir = DataDirHandle::new(&dir.tree).unwrap();
    let mut segment = segment(&dir);
    fs::rename(segment.path(), dir.tree.root().join("elsewhere")).unwrap();
    data_dir.keep(&mut segment).unwrap();
}

#[test]
fn whoever_dies_while_putting_back_leaves_one_copy_to_its_successor() {
    let dir = TestDir::new();
    dir.die_at("who_is_to_put_back_is_a_child", "segment.replaced");
    // The successor recovers the copy, and has the descriptor of what was moved away.
    let recovered = layout::recover(&dir.tree, Area::Raw, &name("s"), chrono::Utc::now()).unwrap();
    let sealed = recovered[0].sealed.clone().unwrap();
    assert_eq!(fs::read(&sealed.path).unwrap(), LINES);
    let elsewhere = dir.tree.root().join("elsewhere");
    let file = fs::File::options().read(true).append(true).open(&elsewhere).unwrap();
    let id = SegmentId { area: Area::Raw, stream: name("s"), hour: sealed.hour, name: sealed.name };
    assert!(InheritedSegment::new(&dir.tree, id, file.into()).resume().unwrap().is_none());
    assert_eq!(elsewhere.metadata().unwrap().len(), 0);
}
