//! Days, weeks and months, in time zones, with look-backs, and of aggregates.

use harness::DataDir;
use layout::{Commit, Hour};

use crate::tree::{file, identity, many_hours, planned, published, put, rows, run, telemetry};

/// Publishes hours of telemetry with a reading of sensor 1 every ten minutes, whose value is the minute of the hour.
fn every_ten_minutes(data_dir: &DataDir, first: &str, hours: i64) {
    let first: Hour = first.parse().unwrap();
    for i in 0..hours {
        let hour = first.plus(i);
        let start = hour.start_micros();
        let select = format!(
            "SELECT make_timestamp({start}::BIGINT + m * 60000000) AS timestamp, 1::BIGINT AS sensor_id, \
             'Temperature' AS measurement_kind, m::DOUBLE AS measurement_value, NULL::VARCHAR AS measurement_text, \
             'Celsius' AS measurement_unit FROM range(0, 60, 10) AS r(m)"
        );
        put(data_dir, "telemetry", &hour.to_string(), &select, "1");
    }
}

fn hours_of(data_dir: &DataDir, dataset: &str) -> Vec<String> {
    let at = data_dir.path().join("parquet").join(dataset);
    let files = published(data_dir, dataset).into_iter();
    files.map(|file| file.strip_prefix(&at).unwrap().with_extension("").to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_day_that_starts_between_two_hours_has_the_rows_of_its_own_part_of_them() {
    let data_dir = DataDir::new();
    every_ten_minutes(&data_dir, "2025-09-01T18", 24 * 2 + 1);
    let sql = file(
        &data_dir,
        "days.sql",
        "-- @window: day\n-- @time_zone: Asia/Kolkata\n-- @key: day\n\
         SELECT getvariable('window_date') AS day, count(*) AS n, min(timestamp) AS first, max(timestamp) AS last \
         FROM telemetry",
    );
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    assert_eq!(hours_of(&data_dir, "days"), ["2025/08/31/18", "2025/09/01/18", "2025/09/02/18", "2025/09/03/18"]);
    assert_eq!(
        rows(&published(&data_dir, "days"), "FROM {} ORDER BY day"),
        [
            "2025-09-01,3,2025-09-01T18:00:00,2025-09-01T18:20:00",
            "2025-09-02,144,2025-09-01T18:30:00,2025-09-02T18:20:00",
            "2025-09-03,144,2025-09-02T18:30:00,2025-09-03T18:20:00",
            "2025-09-04,3,2025-09-03T18:30:00,2025-09-03T18:50:00",
        ]
    );
}

#[test]
fn the_days_on_which_clocks_change_have_23_and_25_hours_and_no_row_is_lost_or_counted_twice() {
    let data_dir = DataDir::new();
    every_ten_minutes(&data_dir, "2025-03-28T23", 24 + 23 + 24);
    every_ten_minutes(&data_dir, "2025-10-24T22", 24 + 25 + 24);
    let sql = file(
        &data_dir,
        "days.sql",
        "-- @window: day\n-- @time_zone: Europe/Berlin\n\
         SELECT getvariable('window_date') AS day, count(*) // 6 AS hours FROM telemetry",
    );
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    let days = rows(&published(&data_dir, "days"), "FROM {} ORDER BY day");
    assert_eq!(
        days,
        ["2025-03-29,24", "2025-03-30,23", "2025-03-31,24", "2025-10-25,24", "2025-10-26,25", "2025-10-27,24"]
    );
    let day =
        run(&data_dir, &format!("--sql {sql} --output - --format csv --from 2025-10-26 --to 2025-10-27")).expect(0);
    assert_eq!(day.stdout, "day,hours\n2025-10-26,25\n", "a range is read on the clocks of the zone");
}

/// A folder with the queries of days of temperatures, of months of days, and of all months so far.
fn chain(data_dir: &DataDir) -> String {
    file(
        data_dir,
        "sql/a_months.sql",
        "-- @window: month\n-- @key: sensor_id\n\
         SELECT sensor_id, sum(samples) AS samples, max(warmest) AS warmest FROM days GROUP BY sensor_id",
    );
    file(
        data_dir,
        "sql/days.sql",
        "-- @window: day\n-- @key: sensor_id\nSELECT sensor_id, sum(samples) AS samples, max(max_temp) AS warmest \
         FROM temperatures GROUP BY sensor_id",
    );
    data_dir.path().join("sql").display().to_string()
}

#[test]
fn late_data_makes_exactly_the_hour_the_day_and_the_month_that_it_touches_anew() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-08-30T00", 24 * 4);
    let all = format!("temperatures --sql {}", chain(&data_dir));
    run(&data_dir, &all).expect(0);
    assert_eq!(hours_of(&data_dir, "a_months"), ["2025/08/01/00", "2025/09/01/00"]);
    assert_eq!(hours_of(&data_dir, "days").len(), 4);
    let months = "SELECT samples, warmest FROM {} WHERE sensor_id = 1 ORDER BY warmest";
    assert_eq!(rows(&published(&data_dir, "a_months"), months), ["48,47.0", "48,95.0"]);
    assert_eq!(planned(&data_dir, &all), [""; 0]);

    let files = |dataset: &str| identity(&published(&data_dir, dataset));
    let before = (files("temperatures"), files("days"), files("a_months"));
    telemetry(&data_dir, "2025-08-31T05", &[(1, Some(99.0), None, "Celsius"), (1, Some(1.0), None, "Celsius")], "2");
    let expected = [
        "temperatures,2025-08-31T05,telemetry has changed",
        "days,2025-08-31T00,temperatures has changed",
        "a_months,2025-08-01T00,days has changed",
    ];
    assert_eq!(planned(&data_dir, &all), expected, "the plan knows what follows");
    run(&data_dir, &all).expect(0);
    let after = (files("temperatures"), files("days"), files("a_months"));
    let changed = |before: &[_], after: &[_]| (0..before.len()).filter(|i| before[*i] != after[*i]).collect::<Vec<_>>();
    assert_eq!(changed(&before.0, &after.0), [29]);
    assert_eq!(changed(&before.1, &after.1), [1]);
    assert_eq!(changed(&before.2, &after.2), [0]);
    assert_eq!(rows(&published(&data_dir, "a_months"), months), ["48,95.0", "49,99.0"]);
    assert_eq!(planned(&data_dir, &all), [""; 0]);
}

#[test]
fn queries_that_read_each_other_in_a_circle_are_named() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 1);
    file(&data_dir, "sql/a.sql", "SELECT 1 AS x FROM b");
    file(&data_dir, "sql/b.sql", "SELECT 1 AS x FROM c, telemetry");
    file(&data_dir, "sql/c.sql", "SELECT 1 AS x FROM a");
    let failed = run(&data_dir, &format!("--sql {}/sql", data_dir.path().display())).expect(1);
    for part in ["the data sets are made of each other: a (", "a.sql) reads b (", "c.sql) reads a ("] {
        assert!(failed.stderr.contains(part), "{}", failed.stderr);
    }
    assert_eq!(published(&data_dir, "b").len(), 0);
}

#[test]
fn a_day_is_made_when_it_is_over_or_when_it_is_asked_for() {
    let data_dir = DataDir::new();
    let now = Hour::of(chrono::Utc::now());
    telemetry(&data_dir, &now.to_string(), &[(1, Some(1.0), None, "Celsius")], "1");
    let sql = file(&data_dir, "days.sql", "-- @window: day\nSELECT count(*) AS n FROM telemetry");
    let waits = run(&data_dir, &format!("--sql {sql} -v")).expect(0);
    assert!(waits.stderr.contains("days: 0 days made") && waits.stderr.contains("1 not over"), "{}", waits.stderr);
    assert_eq!(published(&data_dir, "days").len(), 0);
    run(&data_dir, &format!("--sql {sql} --include-current")).expect(0);
    assert_eq!(rows(&published(&data_dir, "days"), "FROM {}"), ["1"]);
}

#[test]
fn a_look_back_shows_earlier_rows_and_makes_later_windows_out_of_date() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 5);
    let sql = file(
        &data_dir,
        "rolling.sql",
        "-- @look_back: 2 hours\nSELECT getvariable('window_start') AS hour, count(*) AS n, max(measurement_value) AS most, \
         min(timestamp) >= getvariable('look_back_start') AS within FROM telemetry WHERE sensor_id = 1",
    );
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    let counts = rows(&published(&data_dir, "rolling"), "SELECT n, most, within FROM {} ORDER BY hour");
    assert_eq!(counts, ["1,0.0,true", "2,1.0,true", "3,2.0,true", "3,3.0,true", "3,4.0,true"]);
    telemetry(&data_dir, "2025-09-02T01", &[(1, Some(9.0), None, "Celsius")], "2");
    let changed = [1, 2, 3].map(|hour| format!("rolling,2025-09-02T0{hour},telemetry has changed"));
    assert_eq!(planned(&data_dir, &format!("--sql {sql}")), changed);
}

#[test]
fn two_rows_with_the_same_key_are_refused() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 12);
    telemetry(&data_dir, "2025-09-02T05", &[(1, Some(1.0), None, "Celsius"), (1, Some(2.0), None, "Celsius")], "2");
    let sql = file(&data_dir, "raw.sql", "-- @key: sensor_id\nSELECT sensor_id, measurement_value FROM telemetry");
    let partial = run(&data_dir, &format!("--sql {sql}")).expect(3);
    assert!(partial.stderr.contains("raw 2025-09-02T05: @key: 2 rows have the key (sensor_id)"), "{}", partial.stderr);
    assert_eq!(published(&data_dir, "raw").len(), 11);
    let sql = file(&data_dir, "x.sql", "-- @key: sensor\nSELECT sensor_id FROM telemetry");
    let failed = run(&data_dir, &format!("--sql {sql}")).expect(1);
    assert!(failed.stderr.contains("x.sql: -- @key: sensor: the query has the columns sensor_id"), "{}", failed.stderr);
}

#[test]
fn changes_of_a_reference_table_count_unless_the_query_says_otherwise() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 2);
    let sql = "SELECT telemetry.sensor_id, name FROM telemetry JOIN names USING (sensor_id)";
    let counts = file(&data_dir, "counts.sql", sql);
    let ignores = file(&data_dir, "ignores.sql", &format!("-- @ignore_changes: names\n{sql}"));
    let names = file(&data_dir, "names.csv", "sensor_id,name\n1,a\n");
    let both = format!("--sql {counts} --sql {ignores} --table names={names}");
    run(&data_dir, &both).expect(0);
    file(&data_dir, "names.csv", "sensor_id,name\n1,b\n");
    let plan = planned(&data_dir, &both);
    assert!(plan.iter().any(|line| line == "counts,2025-09-02T00,the table names has changed"), "{plan:?}");
    assert!(!plan.iter().any(|line| line.starts_with("ignores")), "{plan:?}");
}

#[test]
fn a_window_whose_rows_are_gone_is_emptied_and_one_whose_files_are_gone_is_left_until_it_is_asked_for() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 2);
    let sql = file(
        &data_dir,
        "days.sql",
        "-- @window: day\nSELECT sensor_id, count(*) AS n FROM telemetry GROUP BY sensor_id",
    );
    let both = format!("temperatures --sql {sql}");
    run(&data_dir, &both).expect(0);
    telemetry(&data_dir, "2025-09-02T01", &[(1, None, None, "Celsius")], "2");
    let none = "SELECT * FROM read_parquet('FILE') WHERE false";
    let now = published(&data_dir, "telemetry")[1].display().to_string();
    put(&data_dir, "telemetry", "2025-09-02T01", &none.replace("FILE", &now), "3");
    run(&data_dir, &both).expect(0);
    let temperatures = published(&data_dir, "temperatures");
    assert_eq!(rows(&temperatures[1..], "SELECT count(*) AS n FROM {}"), ["0"], "an hour without rows");
    assert_eq!(rows(&published(&data_dir, "days"), "FROM {} ORDER BY sensor_id"), ["1,1", "2,1"]);

    let before = identity(&temperatures);
    std::fs::remove_file(&published(&data_dir, "telemetry")[0]).unwrap();
    let left = run(&data_dir, &both).expect(0);
    assert!(left.stderr.contains("temperatures: 1 hour (2025-09-02T00) left as they are"), "{}", left.stderr);
    assert_eq!(identity(&temperatures), before);
    assert_eq!(rows(&published(&data_dir, "days"), "SELECT count(*) AS n FROM {}"), ["0"], "the day has another hour");
    run(&data_dir, &format!("{both} --rebuild")).expect(0);
    assert_eq!(rows(&published(&data_dir, "temperatures"), "SELECT count(*) AS n FROM {}"), ["0"]);
    assert!(Commit::read(&temperatures[0]).unwrap().lineage.inputs().next().is_none());
}

#[test]
fn windows_of_another_kind_than_those_that_are_there_are_refused() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 2);
    let sql = file(&data_dir, "n.sql", "SELECT count(*) AS n FROM telemetry");
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    file(&data_dir, "n.sql", "-- @window: day\nSELECT count(*) AS n FROM telemetry");
    let failed = run(&data_dir, &format!("--sql {sql}")).expect(1);
    assert!(failed.stderr.contains("n 2025-09-02T00: the data set has windows of another kind"), "{}", failed.stderr);
}
