//! What aggregates of days still need of the hours that they read.

use crate::common::{DataDir, ago};
use chrono::TimeDelta;
use layout::{Fingerprint, Hour, Window};

/// The window of `hours` hours from `first` on, which reads `back` hours before it.
fn window(first: Hour, hours: i64, back: i64) -> Window {
    let start = first.start();
    Window { start, end: start + TimeDelta::hours(hours), reads_from: start - TimeDelta::hours(back) }
}

/// Hours of a stream from `first` on.
fn stream(data_dir: &DataDir, first: Hour, hours: i64) -> Vec<(Hour, Fingerprint)> {
    (0..hours).map(|i| (first.plus(i), data_dir.stream("telemetry", first.plus(i), 3))).collect()
}

#[test]
fn the_hours_of_a_day_stay_until_the_day_is_made_of_all_of_them() {
    let data_dir = DataDir::new();
    let first = ago(200);
    let hours = stream(&data_dir, first, 48);
    data_dir.window("days", window(first, 24, 0), "telemetry", &hours[..24]);
    let run = data_dir.run("clean --keep-parquet telemetry=1d -v").expect(0);
    let there: Vec<_> = hours.iter().map(|(hour, _)| data_dir.has("telemetry", *hour)).collect();
    assert_eq!(there, [[false; 24], [true; 24]].concat(), "the second day is not made");
    assert!(run.stderr.contains("days does not have this hour yet: run aggregate"), "{}", run.stderr);

    data_dir.window("days", window(first.plus(24), 24, 0), "telemetry", &hours[24..]);
    data_dir.run("clean --keep-parquet telemetry=1d").expect(0);
    assert!(!data_dir.has("telemetry", hours[30].0));
}

#[test]
fn late_data_of_one_hour_keeps_all_the_hours_of_its_day() {
    let data_dir = DataDir::new();
    let first = ago(200);
    let hours = stream(&data_dir, first, 24);
    data_dir.window("days", window(first, 24, 0), "telemetry", &hours);
    data_dir.stream("telemetry", first.plus(5), 4);
    let run = data_dir.run("clean --keep-parquet telemetry=1d -v").expect(0);
    assert!(hours.iter().all(|(hour, _)| data_dir.has("telemetry", *hour)));
    assert!(run.stderr.contains("days is out of date for this hour: run aggregate"), "{}", run.stderr);
    let status = data_dir.run("status --format ndjson").expect(0);
    let days = status.stdout.lines().find(|line| line.contains("\"name\":\"days\"")).unwrap();
    assert!(days.contains("\"missing\":0,\"out_of_date\":1"), "{days}");
}

#[test]
fn a_late_segment_keeps_all_the_hours_of_its_day_and_a_late_hour_those_of_the_chain_behind_it() {
    let data_dir = DataDir::new();
    let first = ago(200);
    let hours = stream(&data_dir, first, 24);
    let sums: Vec<_> = hours
        .iter()
        .map(|(hour, made_of)| (*hour, data_dir.aggregate("sums", *hour, &[("telemetry", made_of)])))
        .collect();
    data_dir.window("days", window(first, 24, 0), "sums", &sums);
    data_dir.window("direct", window(first, 24, 0), "telemetry", &hours);
    let all_are_there = |dataset: &str| (0..24).filter(|hour| data_dir.has(dataset, first.plus(*hour))).count() == 24;
    // Not compacted yet: it will change its hour, and the day that reads it.
    data_dir.seal("telemetry", first.plus(5));
    let run = data_dir.run("clean --keep-parquet telemetry=1d -v").expect(0);
    assert!(all_are_there("telemetry"));
    assert!(run.stderr.contains("which is to be made anew"), "{}", run.stderr);
    // Compacted, and its sum is not made anew yet.
    data_dir.stream("telemetry", first.plus(5), 4);
    data_dir.run("clean --keep-parquet sums=1d").expect(0);
    assert!(all_are_there("sums"));
}

#[test]
fn an_hour_in_which_one_day_ends_and_the_next_begins_stays_until_both_are_made() {
    let data_dir = DataDir::new();
    let first = ago(200);
    let hours = stream(&data_dir, first, 49);
    let half = TimeDelta::minutes(30);
    let day = |at: i64| {
        let day = window(first.plus(at), 24, 0);
        Window { start: day.start + half, end: day.end + half, reads_from: day.start + half }
    };
    // The first half hour belongs to no day that is made: its hour stays.
    data_dir.window("days", day(0), "telemetry", &hours[..25]);
    data_dir.run("clean --keep-parquet telemetry=1d").expect(0);
    let has = |at: usize| data_dir.has("telemetry", hours[at].0);
    assert!(has(0) && !has(1) && !has(23) && has(24) && has(48));
    data_dir.window("days", day(24), "telemetry", &hours[24..]);
    data_dir.run("clean --keep-parquet telemetry=1d").expect(0);
    assert!(!has(24) && !has(47) && has(48));
}

#[test]
fn what_the_next_windows_look_back_to_stays() {
    let data_dir = DataDir::new();
    let first = ago(200);
    let hours = stream(&data_dir, first, 72);
    for day in 0..3 {
        let from = usize::try_from(day * 24 - 24).unwrap_or(0);
        let to = usize::try_from(day * 24 + 24).unwrap();
        data_dir.window("rolling", window(first.plus(day * 24), 24, 24), "telemetry", &hours[from..to]);
    }
    let run = data_dir.run("clean --keep-parquet telemetry=1d -v").expect(0);
    let there = hours.iter().filter(|(hour, _)| data_dir.has("telemetry", *hour)).count();
    assert!((24..36).contains(&there), "{there}");
    assert!(hours[48..].iter().all(|(hour, _)| data_dir.has("telemetry", *hour)));
    assert!(run.stderr.contains("the next window of the aggregate rolling reads back to this hour"), "{}", run.stderr);
}

#[test]
fn a_day_ages_from_its_end() {
    let data_dir = DataDir::new();
    data_dir.window("days", window(ago(60), 24, 0), "telemetry", &[]);
    data_dir.run("clean --keep-parquet 2d").expect(0);
    assert!(data_dir.has("days", ago(60)), "it ended 36 hours ago");
    data_dir.run("clean --keep-parquet 1d").expect(0);
    assert!(!data_dir.has("days", ago(60)));
}

#[test]
fn a_day_that_is_not_over_is_neither_overdue_nor_missing() {
    let data_dir = DataDir::new();
    // Windows of four days, as weeks and months are longer than the time that hours are kept.
    let first = ago(8 * 24);
    let hours = stream(&data_dir, first, 7 * 24);
    data_dir.window("spans", window(first, 96, 0), "telemetry", &hours[..96]);
    let missing = |number: usize| {
        let status = data_dir.run("status --format ndjson").expect(0);
        let spans = status.stdout.lines().find(|line| line.contains("\"name\":\"spans\"")).unwrap().to_owned();
        assert!(spans.contains(&format!("\"missing\":{number},\"out_of_date\":0")), "{spans}");
    };
    // The second is over, to the hour.
    let run = data_dir.run("clean --keep-parquet telemetry=1d").expect(0);
    assert!(run.stderr.contains("overdue hours kept (") && run.stderr.contains("run aggregate"), "{}", run.stderr);
    missing(72);

    let data_dir = DataDir::new();
    let first = ago(7 * 24 + 20);
    let hours = stream(&data_dir, first, 7 * 24);
    data_dir.window("spans", window(first, 96, 0), "telemetry", &hours[..96]);
    let run = data_dir.run("clean --keep-parquet telemetry=1d -v").expect(0);
    assert!(run.stderr.contains("the window of the aggregate spans that reads it is not over"), "{}", run.stderr);
    assert!(!run.stderr.contains("overdue"), "{}", run.stderr);
    assert!(hours[96..].iter().all(|(hour, _)| data_dir.has("telemetry", *hour)));
}

#[test]
fn what_somebody_has_to_do_is_said_before_what_passes_with_time() {
    let data_dir = DataDir::new();
    // Both aggregates read the stream, and only the second, by name, waits for somebody.
    let first = ago(7 * 24 + 20);
    let hours = stream(&data_dir, first, 7 * 24);
    data_dir.window("a", window(first, 96, 0), "telemetry", &hours[..96]);
    data_dir.aggregate("b", first, &[("telemetry", &hours[0].1)]);
    let run = data_dir.run("clean --keep-parquet telemetry=1d").expect(0);
    assert!(run.stderr.contains("overdue hours kept"), "{}", run.stderr);
    assert!(run.stderr.contains("the aggregate b does not have this hour yet: run aggregate"), "{}", run.stderr);
}

#[test]
fn what_came_late_to_a_day_that_retention_touched_stays_until_somebody_acts() {
    let data_dir = DataDir::new();
    let first = ago(200);
    let hours = stream(&data_dir, first, 24);
    data_dir.window("days", window(first, 24, 0), "telemetry", &hours);
    let telemetry = crate::common::name("telemetry");
    let lock = layout::DatasetLock::try_acquire(&data_dir.tree, &telemetry).unwrap().unwrap();
    let commit = layout::Commit::read(&data_dir.tree.parquet(&telemetry, first)).unwrap();
    data_dir.tree.expire_parquet(&lock, &telemetry, &[(first, commit)]).unwrap();
    drop(lock);
    data_dir.stream("telemetry", first.plus(5), 4);
    let run = data_dir.run("clean --keep-parquet telemetry=1d").expect(0);
    assert!(run.stderr.contains("days is out of date for this hour: run aggregate"), "{}", run.stderr);
    assert!(data_dir.has("telemetry", first.plus(5)), "the only place where the late row is");
    data_dir.run("clean --keep-parquet telemetry=1d --even-if-needed").expect(0);
    assert!(!data_dir.has("telemetry", first.plus(5)));
}
