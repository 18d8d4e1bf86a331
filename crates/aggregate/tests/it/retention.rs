//! Windows of which retention removed a part of what they read: left as they are, and named where that matters.

use harness::DataDir;

use crate::tree::{expire, file, identity, many_hours, planned, published, rows, run, telemetry};

const DAYS: &str = "-- @window: day\nSELECT sensor_id, count(*) AS n FROM telemetry \
                    GROUP BY sensor_id ORDER BY sensor_id";

/// Two days of which one has been made; retention removed an hour of the first.
fn data_dir() -> (DataDir, String) {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T20", 8);
    let sql = file(&data_dir, "days.sql", DAYS);
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    expire(&data_dir, "telemetry", "2025-09-02T20");
    (data_dir, format!("--sql {sql}"))
}

#[test]
fn late_data_that_cannot_be_added_is_named_until_somebody_acts() {
    let (data_dir, days) = data_dir();
    assert_eq!(run(&data_dir, &days).expect(0).stderr, "", "as it was made");
    let before = identity(&published(&data_dir, "days"));
    telemetry(&data_dir, "2025-09-02T22", &[(1, Some(1.0), None, "Celsius"), (1, Some(2.0), None, "Celsius")], "2");
    for more in ["", "", "--dry-run", "--explain"] {
        let late = run(&data_dir, &format!("{days} {more}")).expect(3);
        let message = "days: 1 day (2025-09-02T00) left without what has come late to telemetry, because retention removed \
                       a part of what they read (telemetry 2025-09-02T20 first)";
        assert!(late.stderr.contains(message), "{}", late.stderr);
    }
    assert_eq!(identity(&published(&data_dir, "days")), before);
    std::fs::remove_file(data_dir.path().join("parquet/telemetry/2025/09/02/20.expired.json")).unwrap();
    run(&data_dir, &days).expect(0);
    assert_eq!(rows(&published(&data_dir, "days")[..1], "FROM {} ORDER BY sensor_id"), ["1,4", "2,2"]);
}

#[test]
fn a_query_that_has_changed_is_said_to_leave_old_windows_by_the_run_that_applies_it() {
    let (data_dir, days) = data_dir();
    file(&data_dir, "days.sql", &DAYS.replace("count(*)", "count(*) + 1"));
    assert_eq!(planned(&data_dir, &days), ["days,2025-09-03T00,the query has changed"]);
    let first = run(&data_dir, &days).expect(0);
    let message = "days: 1 day (2025-09-02T00) left as they are although the query has changed";
    assert!(first.stderr.contains(message), "{}", first.stderr);
    assert_eq!(run(&data_dir, &days).expect(0).stderr, "", "cron would send it again and again");
    for more in ["-v", "--from 2025-09-02", "--rebuild"] {
        let asked = run(&data_dir, &format!("{days} {more}")).expect(0);
        assert!(asked.stderr.contains(message), "{}", asked.stderr);
    }
    assert_eq!(rows(&published(&data_dir, "days"), "SELECT DISTINCT n FROM {} ORDER BY n"), ["4", "5"]);
}

#[test]
fn windows_that_were_never_made_are_said_to_be_impossible_by_the_first_run() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T20", 8);
    expire(&data_dir, "telemetry", "2025-09-02T20");
    let days = format!("--sql {}", file(&data_dir, "days.sql", DAYS));
    let message = "days: 1 day (2025-09-02T00) never made, because retention removed a part of what they read";
    let first = run(&data_dir, &days).expect(0);
    assert!(first.stderr.contains(message), "{}", first.stderr);
    assert_eq!(run(&data_dir, &days).expect(0).stderr, "");
    let asked = run(&data_dir, &format!("{days} --from 2025-09-02")).expect(0);
    assert!(asked.stderr.contains(message), "{}", asked.stderr);
}

#[test]
fn a_day_that_can_never_be_made_is_no_mail_from_every_run() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T20", 4);
    expire(&data_dir, "telemetry", "2025-09-02T20");
    let days = format!("--sql {}", file(&data_dir, "days.sql", DAYS));
    assert_eq!(run(&data_dir, &days).expect(0).stderr, "");
    let asked = run(&data_dir, &format!("{days} -v")).expect(0);
    assert!(asked.stderr.contains("days: 1 day (2025-09-02T00) never made"), "{}", asked.stderr);
    assert!(!data_dir.path().join("parquet/days").exists(), "a data set of which nothing could be made");
}

/// A day of an aggregate of hours, of which retention removed the first two.
fn chain() -> (DataDir, String, String) {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T20", 4);
    let hours = "SELECT sensor_id, count(*) AS n FROM telemetry GROUP BY sensor_id ORDER BY sensor_id";
    let hours = format!("--sql {}", file(&data_dir, "hours.sql", hours));
    let days = "-- @window: day\nSELECT sensor_id, sum(n) AS n FROM hours GROUP BY sensor_id ORDER BY sensor_id";
    let days = format!("--sql {}", file(&data_dir, "days.sql", days));
    run(&data_dir, &format!("{hours} {days}")).expect(0);
    expire(&data_dir, "hours", "2025-09-02T20");
    expire(&data_dir, "hours", "2025-09-02T21");
    (data_dir, hours, days)
}

#[test]
fn late_data_of_all_that_is_left_is_told_from_a_query_that_has_changed() {
    let (data_dir, hours, days) = chain();
    for late in ["2025-09-02T22", "2025-09-02T23"] {
        telemetry(&data_dir, late, &[(1, Some(1.0), None, "Celsius"), (1, Some(2.0), None, "Celsius")], "2");
    }
    run(&data_dir, &hours).expect(0);
    let late = run(&data_dir, &days).expect(3);
    assert!(late.stderr.contains("left without what has come late to hours"), "{}", late.stderr);

    let (data_dir, hours, days) = chain();
    let query = "SELECT sensor_id, count(*) AS n, 1 AS one FROM telemetry GROUP BY sensor_id ORDER BY sensor_id";
    file(&data_dir, "hours.sql", query);
    run(&data_dir, &hours).expect(0);
    assert_eq!(run(&data_dir, &days).expect(0).stderr, "");
    let asked = run(&data_dir, &format!("{days} -v")).expect(0);
    assert!(asked.stderr.contains("left as they are although hours has changed"), "{}", asked.stderr);
}

#[test]
fn an_input_that_cannot_be_read_is_named_in_a_window_that_retention_touched_too() {
    let (data_dir, _, days) = chain();
    let damaged = &published(&data_dir, "hours")[0];
    std::fs::write(damaged, "PAR1").unwrap();
    let failed = run(&data_dir, &days).expect(3);
    assert!(failed.stderr.contains(&damaged.display().to_string()), "{}", failed.stderr);
}

#[test]
fn what_is_printed_is_whole() {
    let (data_dir, days) = data_dir();
    let printed = run(&data_dir, &format!("{days} --output - --format csv")).expect(3);
    assert_eq!(printed.stdout, "sensor_id,n\n1,4\n2,4\n");
    let message = "days: 1 day (2025-09-02T00) skipped, because retention removed a part of what they read";
    assert!(printed.stderr.contains(message), "{}", printed.stderr);
    run(&data_dir, &format!("{days} --output - --from 2025-09-03")).expect(0);
}
