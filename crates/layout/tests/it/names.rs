//! Names and hours: what they print they read, they read nothing else, and no path leaves the tree.

use std::path::{Component, Path};

use crate::common::{TestDir, hour, name, put};
use layout::{Hour, HourRange, Name, SegmentName, Tree};
use proptest::collection::vec;
use proptest::prelude::*;

/// Any hour there is, with those at which calendars change oftener than by chance.
fn any_hour() -> impl Strategy<Value = Hour> {
    let all = Hour::MAX.since(Hour::MIN);
    let borders = [
        "0001-01-01T00",
        "0004-02-29T23",
        "0100-02-28T23",
        "1582-10-15",
        "1600-02-29T12",
        "1900-02-28T23",
        "1969-12-31T23",
        "1970",
        "1999-12-31T23",
        "2000-02-29",
        "2024-02-29T23",
        "2024-12-31T23",
        "2025-02-28T23",
        "9999-12-31T23",
    ];
    prop_oneof![
        (0..=all).prop_map(|hours| Hour::MIN.plus(hours)),
        (0..borders.len(), -800i64..800).prop_map(move |(border, hours)| hour(borders[border]).plus(hours)),
    ]
}

fn any_range() -> impl Strategy<Value = HourRange> {
    (proptest::option::of(any_hour()), proptest::option::of(any_hour())).prop_map(|(from, to)| HourRange { from, to })
}

fn is_name(text: &str) -> bool {
    text.len() < 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
}

proptest! {
    #[test]
    fn a_name_of_the_grammar_is_read_and_printed_back(text in "[a-z][a-z0-9_]{0,62}") {
        let name: Name = text.parse().unwrap();
        prop_assert_eq!(name.as_str(), &text);
        prop_assert_eq!(name.to_string(), text.clone());
        let json = serde_json::to_string(&name).unwrap();
        prop_assert_eq!(serde_json::from_str::<Name>(&json).unwrap(), name);
    }

    #[test]
    fn no_other_name_is_accepted(text in prop_oneof!["[a-zA-Z0-9_./ -]{0,70}", any::<String>(), "[a-z_.]{0,3}(/|\\.\\.|\n|\0)?[a-z]{0,3}"]) {
        prop_assert_eq!(text.parse::<Name>().is_ok(), is_name(&text), "{:?}", text);
        let json = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(serde_json::from_str::<Name>(&json).is_ok(), is_name(&text));
    }

    #[test]
    fn no_path_leaves_the_tree(text in prop_oneof!["[a-z][a-z0-9_]{0,62}", any::<String>(), "[./a-z]{1,6}"], hour in any_hour()) {
        let Ok(name) = text.parse::<Name>() else { return Ok(()) };
        let path = Tree::new("/data").parquet(&name, hour);
        let inside: Vec<_> = path.strip_prefix("/data").unwrap().components().collect();
        prop_assert!(inside.iter().all(|part| matches!(part, Component::Normal(_))), "{}", path.display());
        prop_assert_eq!(inside.len(), 6);
    }

    #[test]
    fn a_segment_name_is_read_and_printed_back(ulid in any::<u128>(), suffix in "(-[a-z]{1,20})?") {
        let text = format!("{}{suffix}", ulid::Ulid::from(ulid));
        let name: SegmentName = text.parse().unwrap();
        prop_assert_eq!(name.to_string(), text);
        prop_assert_eq!(u128::try_from(name.created().timestamp_millis()).unwrap(), ulid >> 80);
    }

    #[test]
    fn segment_names_sort_by_age(a in any::<u128>(), b in any::<u128>()) {
        let [a, b] = [a, b].map(|ulid| ulid::Ulid::from(ulid).to_string().parse::<SegmentName>().unwrap());
        prop_assert!(a.created() == b.created() || (a < b) == (a.created() < b.created()));
    }

    #[test]
    fn no_other_segment_name_is_accepted(text in prop_oneof!["[0-9A-Za-z]{25,27}(-[a-zA-Z0-9./-]{0,3})?", any::<String>()]) {
        let (ulid, suffix) = text.split_once('-').unwrap_or((&text, "x"));
        let is_ulid = ulid.len() == 26
            && ulid.starts_with(|c: char| ('0'..='7').contains(&c))
            && ulid.chars().all(|c| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(c));
        let is_suffix = !suffix.is_empty() && suffix.chars().all(|c| c.is_ascii_lowercase());
        prop_assert_eq!(text.parse::<SegmentName>().is_ok(), is_ulid && is_suffix, "{:?}", text);
    }

    #[test]
    fn an_hour_is_read_and_printed_back(hour in any_hour()) {
        prop_assert_eq!(hour.to_string().parse::<Hour>(), Ok(hour));
        prop_assert_eq!(Hour::of(hour.start()), hour);
        for micros in [hour.start_micros(), hour.end_micros() - 1] {
            prop_assert_eq!(Hour::of_micros(micros), Some(hour));
        }
        prop_assert_ne!(Hour::of_micros(hour.end_micros()), Some(hour));
        prop_assert_ne!(Hour::of_micros(hour.start_micros() - 1), Some(hour));
    }

    #[test]
    fn what_is_read_as_an_hour_is_how_that_hour_begins(
        text in prop_oneof!["[0-9]{4}(-[0-9]{2}(-[0-3][0-9](T[0-2][0-9])?)?)?", "[0-9T+-]{0,14}", any::<String>()]
    ) {
        if let Ok(hour) = text.parse::<Hour>() {
            prop_assert!(hour.to_string().starts_with(&text), "{:?} is read as {}", text, hour);
            prop_assert!([4, 7, 10, 13].contains(&text.len()));
            let rest = &hour.to_string()[text.len()..];
            prop_assert!("-01-01T00".ends_with(rest), "{:?} is read as {}, which is not its first hour", text, hour);
        }
    }

    #[test]
    fn every_time_has_its_hour_or_none(micros in any::<i64>()) {
        match Hour::of_micros(micros) {
            Some(hour) => prop_assert!((hour.start_micros()..hour.end_micros()).contains(&micros)),
            None => prop_assert!(!(Hour::MIN.start_micros()..Hour::MAX.end_micros()).contains(&micros)),
        }
    }

    #[test]
    fn a_range_of_one_hour_holds_that_hour_and_no_other(one in any_hour(), other in any_hour()) {
        prop_assert!(HourRange::only(one).contains(one));
        prop_assert_eq!(HourRange::only(one).contains(other), one == other);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn listing_a_range_is_listing_all_and_taking_those_in_the_range(
        hours in vec(any_hour(), 1..24),
        near in vec(-50i64..50, 1..8),
        mut ranges in vec(any_range(), 6),
    ) {
        let dir = TestDir::new();
        let data = name("temperatures");
        let mut hours: Vec<_> = near.iter().map(|distance| hours[0].plus(*distance)).chain(hours.iter().copied()).collect();
        hours.sort_unstable();
        hours.dedup();
        for hour in &hours {
            put(&dir.tree.parquet(&data, *hour), "");
        }
        let list = |range| -> Vec<_> {
            let files = dir.tree.parquet_files(&data, range).unwrap();
            assert!(files.iter().all(|file| file.path == dir.tree.parquet(&data, file.hour)));
            files.into_iter().map(|file| file.hour).collect()
        };
        prop_assert_eq!(list(HourRange::ALL), hours.clone());
        // Ends that are hours of the list, and their neighbours, are where an error would be.
        for from in &hours {
            ranges.push(HourRange { from: Some(from.plus(1)), to: None });
            ranges.push(HourRange { from: None, to: Some(*from) });
            ranges.push(HourRange::only(*from));
        }
        for range in ranges {
            let expected: Vec<_> = hours.iter().copied().filter(|hour| range.contains(*hour)).collect();
            prop_assert_eq!(list(range), expected, "{:?}", range);
        }
    }
}

#[test]
fn the_tree_begins_in_year_1_and_ends_in_year_9999() {
    assert_eq!((Hour::MIN.to_string().as_str(), Hour::MAX.to_string().as_str()), ("0001-01-01T00", "9999-12-31T23"));
    assert_eq!((Hour::MIN.plus(-1), Hour::MAX.plus(1)), (Hour::MIN, Hour::MAX));
    assert!(HourRange::only(Hour::MAX).contains(Hour::MAX));
    assert_eq!(Hour::of_micros(Hour::MIN.start_micros() - 1), None);
    assert_eq!(Hour::of_micros(Hour::MAX.end_micros()), None);
    assert!("0000".parse::<Hour>().is_err());
    assert!("10000".parse::<Hour>().is_err());
    let path = Tree::new("d").parquet(&name("x"), Hour::MIN);
    assert_eq!(path, Path::new("d/parquet/x/0001/01/01/00.parquet"));
}

#[test]
fn the_29th_of_february_is_an_hour_of_leap_years_only() {
    for (text, leap) in [("2024-02-29", true), ("2000-02-29T23", true), ("2025-02-29", false), ("1900-02-29T00", false)]
    {
        assert_eq!(text.parse::<Hour>().is_ok(), leap, "{text}");
    }
    assert_eq!(hour("2024-03-01").since(hour("2024-02-29")), 24);
}

#[test]
fn an_hour_that_is_refused_says_how_to_write_it() {
    for text in [
        "",
        "2025-9-2",
        "2025-09-02T24",
        "2025-09-02 10",
        "2025-09-02T10:00",
        "2025T10",
        "2025-09T10",
        "+025",
        "-001",
        "2025-09-02T",
    ] {
        let words = text.parse::<Hour>().unwrap_err();
        assert!(words.contains("write 2025-09-02T10"), "{words}");
    }
}
