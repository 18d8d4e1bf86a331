//! What a file needs and yields, and how it would be run.

use harness::DataDir;

use crate::tree::{file, many_hours, published, run};

#[test]
fn a_check_says_what_is_needed_and_yielded_and_runs_nothing() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 1);
    let days = file(
        &data_dir,
        "days.sql",
        "-- @window: day\n-- @time_zone: Europe/Berlin\n-- @look_back: 2 days\n-- @key: sensor_id\n\
         SELECT sensor_id, sum(sensor_id) AS total, any_value(name) AS name FROM telemetry LEFT JOIN names USING (sensor_id) \
         GROUP BY sensor_id",
    );
    let months = file(&data_dir, "months.sql", "-- @window: month\nSELECT max(total) AS most FROM days");
    let names = file(&data_dir, "names.csv", "sensor_id,name\n1,a\n");
    let before = data_dir.files();
    let check = format!("--check {months} --check {days} --format csv");
    let said = run(&data_dir, &format!("{check} --table names={names}")).expect(0);
    let expected = format!(
        "dataset,item,name,what\n\
         days,window,day,\"Europe/Berlin, reads 2 days before it\"\n\
         days,reference table,names,{names}\n\
         days,data set,telemetry,stream\n\
         days,key,sensor_id,\"\"\n\
         days,column,sensor_id,BIGINT\ndays,column,total,BIGINT\ndays,column,name,VARCHAR\n\
         months,window,month,UTC\nmonths,data set,days,aggregate\nmonths,column,most,BIGINT\n"
    );
    assert_eq!(said.stdout, expected);
    let failed = run(&data_dir, &check).expect(1);
    assert!(
        failed.stdout.contains("days,unknown,names,not a data set; a reference table is given by --table"),
        "{}",
        failed.stdout
    );
    assert!(failed.stderr.contains("there is no data set or reference table \"names\""), "{}", failed.stderr);
    assert_eq!(data_dir.files(), before);
    let broken = file(&data_dir, "broken.sql", "SELECT FROM telemetry");
    let failed = run(&data_dir, &format!("--check {broken} {check} --table names={names}")).expect(1);
    assert_eq!(failed.stdout, expected, "the others are looked at");
    assert!(failed.stderr.contains("broken.sql: SELECT clause"), "{}", failed.stderr);
    run(&data_dir, "--check /nowhere.sql").expect(2);
    run(&data_dir, &format!("--check {days} --dry-run")).expect(2);
}

#[test]
fn an_explanation_shows_the_windows_and_duckdbs_plan_and_makes_nothing() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 2);
    let sql = file(&data_dir, "days.sql", "-- @window: day\nSELECT max(sensor_id) AS m FROM telemetry");
    let said = run(&data_dir, &format!("--sql {sql} --explain")).expect(0);
    for part in
        ["1 day to make, window by window", "2025-09-02T00:00 to 2025-09-03T00:00, of 2 files: not made yet", "PARQUET"]
    {
        assert!(said.stdout.contains(part), "{}", said.stdout);
    }
    assert_eq!(published(&data_dir, "days").len(), 0);
}

#[test]
fn a_chain_can_be_explained_before_anything_of_it_is_made() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 2);
    let days = file(&data_dir, "days.sql", "-- @window: day\nSELECT sum(samples) AS samples FROM temperatures");
    let said = run(&data_dir, &format!("temperatures --sql {days} --explain")).expect(0);
    for part in ["2 hours to make", "days: ", "reads temperatures", "1 day to make"] {
        assert!(said.stdout.contains(part), "{}", said.stdout);
    }
    std::fs::create_dir(data_dir.path().join("parquet/temperatures")).unwrap();
    let alone = run(&data_dir, &format!("--sql {days} --explain")).expect(1);
    let message = "temperatures has no hour yet, so its columns are not known: run aggregate temperatures, or give \
                   temperatures in the same run";
    assert!(alone.stderr.contains(message), "{}", alone.stderr);
}

#[test]
fn a_wrong_header_is_shown_with_its_line() {
    let data_dir = DataDir::new();
    let sql = file(&data_dir, "days.sql", "-- days\n-- @window: daily\nSELECT 1 AS x FROM telemetry");
    let failed = run(&data_dir, &format!("--sql {sql}")).expect(1);
    let expected =
        "days.sql:2:4: \"daily\" is not a window: write hour, day, week or month\n  -- @window: daily\n     ^";
    assert!(failed.stderr.contains(expected), "{}", failed.stderr);
}

#[test]
fn the_columns_are_said_although_the_windows_are_of_another_kind_than_those_that_are_there() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T10", 1);
    let query = "SELECT sensor_id, count(*) AS n FROM telemetry GROUP BY sensor_id";
    let sql = file(&data_dir, "counts.sql", query);
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    file(&data_dir, "counts.sql", &format!("-- @window: day\n{query}"));
    let failed = run(&data_dir, &format!("--check {sql}")).expect(1);
    assert!(failed.stderr.contains("windows of another kind"), "{}", failed.stderr);
    assert!(failed.stdout.contains("sensor_id") && failed.stdout.contains("BIGINT"), "{}", failed.stdout);
}
