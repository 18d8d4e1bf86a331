//! Publishing that is stopped at each of its steps: what a reader sees, and what the next run does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod common;

use std::fs;

use common::{House, hour, name};
use layout::{Area, DatasetLock, Draft, Hour, publish};

const HOURS: [&str; 3] = ["2025-09-02T10", "2025-09-02T23", "2025-09-03T00"];

/// A content that is only whole when it is long: more than one page, so that a half of it could exist.
fn content(version: &str) -> String {
    version.repeat(100_000)
}

fn drafts(house: &House, version: &str) -> Vec<Draft> {
    let data = name("temperatures");
    let lock = DatasetLock::try_acquire(&house.tree, &data).unwrap().unwrap();
    let draft = |text| {
        let draft = house.tree.draft_parquet(&lock, &data, hour(text)).unwrap();
        fs::write(draft.path(), content(version)).unwrap();
        draft
    };
    HOURS.into_iter().map(draft).collect()
}

/// What a reader finds under each name: `-` for nothing, else the version, which must be whole.
fn seen(house: &House) -> String {
    let version = |text| match fs::read_to_string(house.tree.parquet(&name("temperatures"), hour(text))) {
        Ok(text) => ["old", "new"].into_iter().find(|version| text == content(version)).expect("a half file"),
        Err(_) => "-",
    };
    HOURS.map(version).join(" ")
}

fn orphans(house: &House) -> usize {
    house.tree.unpublished(Area::Parquet, &name("temperatures")).unwrap().len()
}

#[test]
fn child_publishes() {
    let Some(house) = House::of_child() else { return };
    publish(drafts(&house, "new")).unwrap();
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
            let house = House::new();
            if !before.is_empty() {
                publish(drafts(&house, before)).unwrap();
            }
            house.die_at("child_publishes", fault);
            assert_eq!((seen(&house).as_str(), orphans(&house)), (after, left), "at {fault}");

            publish(drafts(&house, "new")).unwrap();
            assert_eq!((seen(&house).as_str(), orphans(&house)), ("new new new", left), "after {fault}");
            for orphan in house.tree.unpublished(Area::Parquet, &name("temperatures")).unwrap() {
                house.tree.remove_orphan(&orphan).unwrap();
                house.tree.remove_orphan(&orphan).expect("to remove what is gone is no error");
            }
            assert_eq!(house.files().len(), HOURS.len(), "{:?}", house.files());
        }
    }
}

#[test]
fn a_draft_that_is_dropped_leaves_nothing() {
    let house = House::new();
    let drafts = drafts(&house, "new");
    assert_eq!(orphans(&house), 3);
    drop(drafts);
    assert_eq!((house.files().len(), seen(&house).as_str()), (0, "- - -"));
}

#[test]
fn a_draft_that_nobody_wrote_is_refused_and_the_old_file_stays() {
    let house = House::new();
    publish(drafts(&house, "old")).unwrap();
    let mut drafts = drafts(&house, "new");
    let lock = DatasetLock::try_acquire(&house.tree, &name("temperatures")).unwrap().unwrap();
    drafts.push(house.tree.draft_parquet(&lock, &name("temperatures"), hour(HOURS[0])).unwrap());
    let error = publish(drafts).unwrap_err().to_string();
    assert!(error.ends_with("nothing was written to it: it is not published"), "{error}");
    assert_eq!((seen(&house).as_str(), orphans(&house)), ("old old old", 0));
}

#[test]
fn a_draft_that_was_tidied_away_is_an_error_and_no_other_of_its_group_is_published() {
    let house = House::new();
    let drafts = drafts(&house, "new");
    fs::remove_file(drafts[1].path()).unwrap();
    let error = publish(drafts).unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert_eq!((seen(&house).as_str(), orphans(&house)), ("- - -", 0));
}

#[test]
fn a_target_that_is_a_folder_is_an_error_that_names_it() {
    let house = House::new();
    let path = house.tree.parquet(&name("temperatures"), hour(HOURS[1]));
    fs::create_dir_all(path.join("x")).unwrap();
    let error = publish(drafts(&house, "new")).unwrap_err().to_string();
    assert!(error.contains("23.parquet: cannot rename to its name:"), "{error}");
    assert_eq!(orphans(&house), 0, "what was not published is removed");
}

#[test]
fn two_drafts_of_one_hour_do_not_meet() {
    let house = House::new();
    let (one, other) = (drafts(&house, "old"), drafts(&house, "new"));
    publish(other).unwrap();
    publish(one).unwrap();
    assert_eq!((seen(&house).as_str(), orphans(&house)), ("old old old", 0));
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
        let house = House::new();
        publish(drafts(&house, "old")).unwrap();
        house.die_at("child_expires", fault);
        let count = |house: &House| {
            let data = name("temperatures");
            let hours = house.tree.hours(&data, layout::HourRange::ALL).unwrap();
            assert!(hours.expired.iter().all(|hour| house.tree.expired_record(&data, *hour).is_ok()), "{hours:?}");
            (hours.published.len(), hours.expired.len())
        };
        assert_eq!(count(&house), (there, expired), "at {fault}");
        expire(&house);
        assert_eq!(count(&house), (0, 3), "after {fault}");
    }
}

#[test]
fn child_expires() {
    let Some(house) = House::of_child() else { return };
    expire(&house);
}

fn expire(house: &House) {
    let data = name("temperatures");
    let lock = DatasetLock::try_acquire(&house.tree, &data).unwrap().unwrap();
    let commit = layout::Commit::new(layout::Lineage::Segments(Vec::new()));
    let hours: Vec<(Hour, _)> = HOURS.iter().map(|text| (hour(text), commit.clone())).collect();
    house.tree.expire_parquet(&lock, &data, &hours).unwrap();
}
