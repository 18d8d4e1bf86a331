//! Publishing that is stopped at each of its steps: what a reader sees, and what the next run does.

use std::fs;

use crate::common::{TestDir, hour, name};
use layout::{Area, DatasetLock, Draft, Hour, publish};

const HOURS: [&str; 3] = ["2025-09-02T10", "2025-09-02T23", "2025-09-03T00"];

/// A content that is only whole when it is long: more than one page, so that a half of it could exist.
fn content(version: &str) -> String {
    version.repeat(100_000)
}

fn drafts(dir: &TestDir, version: &str) -> Vec<Draft> {
    let data = name("temperatures");
    let lock = DatasetLock::try_acquire(&dir.tree, &data).unwrap().unwrap();
    let draft = |text| {
        let draft = dir.tree.draft_parquet(&lock, &data, hour(text)).unwrap();
        fs::write(draft.path(), content(version)).unwrap();
        draft
    };
    HOURS.into_iter().map(draft).collect()
}

/// What a reader finds under each name: `-` for nothing, else the version, which must be whole.
fn seen(dir: &TestDir) -> String {
    let version = |text| match fs::read_to_string(dir.tree.parquet(&name("temperatures"), hour(text))) {
        Ok(text) => ["old", "new"].into_iter().find(|version| text == content(version)).expect("a half file"),
        Err(_) => "-",
    };
    HOURS.map(version).join(" ")
}

fn orphans(dir: &TestDir) -> usize {
    dir.tree.unpublished(Area::Parquet, &name("temperatures")).unwrap().len()
}

#[test]
fn child_publishes() {
    let Some(dir) = TestDir::of_child() else { return };
    publish(drafts(&dir, "new")).unwrap();
}

#[test]
fn whoever_dies_while_publishing_leaves_old_files_or_new_ones_and_the_next_run_goes_on() {
    for (fault, over_nothing, over_old, left) in [
        ("publish.written", "- - -", "old old old", 3),
        ("publish.synced", "- - -", "old old old", 3),
        ("publish.renamed:1", "new - -", "new old old", 2),
        ("publish.renamed:2", "new new -", "new new old", 1),
        ("publish.renamed:3", "new new new", "new new new", 0),
        ("publish.done", "new new new", "new new new", 0),
    ] {
        for (before, after) in [("", over_nothing), ("old", over_old)] {
            let dir = TestDir::new();
            if !before.is_empty() {
                publish(drafts(&dir, before)).unwrap();
            }
            dir.die_at("child_publishes", fault);
            assert_eq!((seen(&dir).as_str(), orphans(&dir)), (after, left), "at {fault}");

            publish(drafts(&dir, "new")).unwrap();
            assert_eq!((seen(&dir).as_str(), orphans(&dir)), ("new new new", left), "after {fault}");
            for (orphan, _) in dir.tree.unpublished(Area::Parquet, &name("temperatures")).unwrap() {
                dir.tree.remove_unneeded(&orphan).unwrap();
                dir.tree.remove_unneeded(&orphan).expect("to remove what is gone is no error");
            }
            assert_eq!(dir.files().len(), HOURS.len(), "{:?}", dir.files());
        }
    }
}

#[test]
fn a_draft_that_is_dropped_leaves_nothing() {
    let dir = TestDir::new();
    let drafts = drafts(&dir, "new");
    assert_eq!(orphans(&dir), 3);
    drop(drafts);
    assert_eq!((dir.files().len(), seen(&dir).as_str()), (0, "- - -"));
}

#[test]
fn a_draft_that_nobody_wrote_is_refused_and_the_old_file_stays() {
    let dir = TestDir::new();
    publish(drafts(&dir, "old")).unwrap();
    let mut drafts = drafts(&dir, "new");
    let lock = DatasetLock::try_acquire(&dir.tree, &name("temperatures")).unwrap().unwrap();
    drafts.push(dir.tree.draft_parquet(&lock, &name("temperatures"), hour(HOURS[0])).unwrap());
    let error = publish(drafts).unwrap_err().to_string();
    assert!(error.ends_with("nothing was written to it: it is not published"), "{error}");
    assert_eq!((seen(&dir).as_str(), orphans(&dir)), ("old old old", 0));
}

#[test]
fn a_draft_that_was_tidied_away_is_an_error_and_no_other_of_its_group_is_published() {
    let dir = TestDir::new();
    let drafts = drafts(&dir, "new");
    fs::remove_file(drafts[1].path()).unwrap();
    let error = publish(drafts).unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert_eq!((seen(&dir).as_str(), orphans(&dir)), ("- - -", 0));
}

#[test]
fn a_target_that_is_a_folder_is_an_error_that_names_it() {
    let dir = TestDir::new();
    let path = dir.tree.parquet(&name("temperatures"), hour(HOURS[1]));
    let made = drafts(&dir, "new");
    fs::create_dir_all(path.join("x")).unwrap();
    let error = publish(made).unwrap_err().to_string();
    assert!(error.contains("23.parquet: cannot rename to its name:"), "{error}");
    assert_eq!(orphans(&dir), 0, "what was not published is removed");
}

#[test]
fn two_drafts_of_one_hour_do_not_meet() {
    let dir = TestDir::new();
    let (one, other) = (drafts(&dir, "old"), drafts(&dir, "new"));
    publish(other).unwrap();
    publish(one).unwrap();
    assert_eq!((seen(&dir).as_str(), orphans(&dir)), ("old old old", 0));
}

#[test]
fn hours_that_expire_are_whole_until_their_record_is_durable() {
    for (fault, there, expired) in [
        ("publish.written", 3, 0),
        ("publish.synced", 3, 0),
        ("publish.renamed:2", 3, 0),
        ("expire.recorded", 3, 0),
        ("removed:1", 2, 1),
        ("removed:3", 0, 3),
    ] {
        let dir = TestDir::new();
        publish(drafts(&dir, "old")).unwrap();
        dir.die_at("child_expires", fault);
        let count = |dir: &TestDir| {
            let data = name("temperatures");
            let hours = dir.tree.hours(&data, layout::HourRange::ALL).unwrap();
            assert!(hours.expired.iter().all(|hour| dir.tree.expired_record(&data, *hour).is_ok()), "{hours:?}");
            (hours.published.len(), hours.expired.len())
        };
        assert_eq!(count(&dir), (there, expired), "at {fault}");
        expire(&dir);
        assert_eq!(count(&dir), (0, 3), "after {fault}");
    }
}

#[test]
fn child_expires() {
    let Some(dir) = TestDir::of_child() else { return };
    expire(&dir);
}

fn expire(dir: &TestDir) {
    let data = name("temperatures");
    let lock = DatasetLock::try_acquire(&dir.tree, &data).unwrap().unwrap();
    let commit = layout::Commit::new(layout::Lineage::Segments(Vec::new()));
    let hours: Vec<(Hour, _)> = HOURS.iter().map(|text| (hour(text), commit.clone())).collect();
    dir.tree.expire_parquet(&lock, &data, &hours).unwrap();
}
