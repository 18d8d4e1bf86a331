//! What goes wrong is named, with its place and what to do; what does not is done.

use std::fs;

use harness::House;

use crate::tree::{file, identity, lock, many_hours, published, put, run, telemetry};

/// Runs the query `sql` in a file `q.sql`, which must fail as a whole with `message`.
#[track_caller]
fn refused(house: &House, sql: &str, message: &str) {
    let path = file(house, "q.sql", sql);
    let before = house.files();
    let failed = run(house, &format!("--sql {path}")).expect(1);
    assert!(failed.stderr.contains(message), "{sql}\n{}", failed.stderr);
    let after: Vec<_> = house.files().into_iter().filter(|file| !before.contains(file)).collect();
    assert_eq!(after, [""; 0]);
    assert!(!house.path().join("parquet/q").exists(), "no data set of which there is nothing");
}

#[test]
fn errors_in_a_query_point_at_its_file_and_line() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 1);
    refused(
        &house,
        "SELECT 1\nFROM telemetry\nWHERE WHERE true",
        "q.sql:3:7: syntax error at or near \"WHERE\"\n  WHERE WHERE true\n        ^",
    );
    refused(
        &house,
        "SELECT\n  celsius\nFROM telemetry",
        "q.sql:2:3: Binder Error: Referenced column \"celsius\" not found",
    );
    refused(&house, "SELECT nope(1) FROM telemetry", "q.sql:1:8: Catalog Error");
    refused(&house, "-- nothing\n", "q.sql: there is no query in it");
    refused(&house, "SELECT $1 FROM telemetry", "q.sql: ");
}

#[test]
fn an_unknown_table_is_named_with_those_that_are_known() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 1);
    put(&house, "doors", "2025-09-02T00", "SELECT 1 AS x", "1");
    refused(
        &house,
        "SELECT * FROM telemetry JOIN plants USING (sensor_id)",
        "q.sql: there is no data set or reference table \"plants\": data sets are doors, measurement, telemetry; \
         a reference table is given by --table plants=FILE; if another aggregate makes it, run the query that makes plants",
    );
    let temperatures =
        "if another aggregate makes it, run aggregate temperatures, or give temperatures in the same run";
    refused(&house, "SELECT * FROM temperatures", temperatures);
}

#[test]
fn windows_that_fail_in_the_same_way_are_told_at_once() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 12);
    for hour in ["2025-09-02T01", "2025-09-02T02", "2025-09-02T05"] {
        telemetry(&house, hour, &[(1, Some(1.0), Some(&format!("x{hour}")), "Celsius")], "2");
    }
    put(&house, "telemetry", "2025-09-02T07", "SELECT 1 AS other", "2");
    let sql = file(&house, "texts.sql", "SELECT CAST(measurement_text AS INTEGER) AS n FROM telemetry");
    let partial = run(&house, &format!("--sql {sql}")).expect(3);
    let lines: Vec<_> = partial.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", partial.stderr);
    assert!(
        lines[0].contains("error: texts 2025-09-02T01 to 2025-09-02T02, 2025-09-02T05: made of "),
        "{}",
        partial.stderr
    );
    assert!(lines[0].contains("'x2025-09-02T01'"), "{}", partial.stderr);
    assert!(lines[0].ends_with(" (-v names each)"), "{}", partial.stderr);
    assert!(lines[1].contains("error: texts 2025-09-02T07: "), "{}", partial.stderr);
    let named = run(&house, &format!("--sql {sql} -v")).expect(3);
    assert!(named.stderr.contains("texts 2025-09-02T02: made of "), "{}", named.stderr);
    let printed = run(&house, &format!("--sql {sql} --output -")).expect(3);
    assert_eq!(printed.stderr.lines().count(), 2, "{}", printed.stderr);
}

#[test]
fn windows_that_are_shorter_than_those_they_read_are_refused_at_once() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 48);
    let days = file(&house, "days.sql", "-- @window: day\nSELECT count(*) AS n FROM telemetry");
    let sql = file(&house, "shares.sql", "SELECT n FROM days");
    let message = "shares: 48 hours from 2025-09-02T00 to 2025-09-03T23 refused, because windows of days, first that from \
                   2025-09-02T00:00 to 2025-09-03T00:00, lie in them only in part";
    let refused = |arguments: &str| {
        let refused = run(&house, arguments).expect(3);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
        assert!(refused.stderr.contains(message), "{}", refused.stderr);
        assert!(refused.stderr.contains(": did you mean -- @window: day? Or read the streams"), "{}", refused.stderr);
    };
    refused(&format!("--check {days} --check {sql}"));
    refused(&format!("--sql {days} --sql {sql} --dry-run"));
    refused(&format!("--sql {days} --sql {sql} --explain"));
    refused(&format!("--sql {days} --sql {sql}"));
    refused(&format!("--sql {sql} --output -"));
    file(&house, "days.sql", "-- @window: day\n-- @time_zone: Europe/Berlin\nSELECT count(*) AS n FROM telemetry");
    fs::remove_dir_all(house.path().join("parquet/days")).unwrap();
    let zone = run(&house, &format!("--check {days} --check {sql}")).expect(3);
    assert!(zone.stderr.contains("did you mean -- @window: day with the -- @time_zone of days?"), "{}", zone.stderr);
}

#[test]
fn what_is_not_one_select_over_data_sets_is_refused() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 1);
    let secret = file(&house, "secret.csv", "a\n1\n");
    let parquet = house.path().join("parquet/telemetry/2025/09/02/00.parquet");
    for statement in
        ["DROP TABLE telemetry", "COPY telemetry TO 'x.csv'", "ATTACH 'x.duckdb'", "SET threads = 1", "INSTALL httpfs"]
    {
        refused(&house, statement, "q.sql: a query is one SELECT, and this is something else");
        refused(&house, &format!("SELECT 1 FROM telemetry; {statement}"), "q.sql: a query is one SELECT");
    }
    refused(
        &house,
        "SELECT 1 FROM telemetry; SELECT 2 FROM telemetry",
        "q.sql: a query is one SELECT, and there are several",
    );
    refused(&house, "DESCRIBE telemetry", "q.sql: a query is one SELECT, and this describes one");
    refused(&house, "SELECT 1 AS x", "q.sql: reads no data set");
    refused(&house, "SELECT *\nFROM telemetry, read_csv('secret.csv')", "q.sql:2:17: read_csv() is not for queries");
    refused(
        &house,
        &format!("FROM telemetry, read_parquet('{}')", parquet.display()),
        "read_parquet() is not for queries",
    );
    refused(&house, "FROM telemetry, query('SELECT 1')", "query() is not for queries");
    refused(&house, "FROM telemetry, glob('*')", "glob() is not for queries");
    refused(&house, &format!("FROM telemetry, '{secret}'"), "there is no data set or reference table");
    let recursive = format!(
        "WITH RECURSIVE \"{secret}\" AS (FROM \"{secret}\" UNION FROM \"{secret}\") FROM telemetry, \"{secret}\""
    );
    refused(&house, &recursive, "there is no data set or reference table");
    refused(
        &house,
        "FROM telemetry, information_schema.tables",
        "information_schema.tables: data sets and reference tables",
    );
    refused(&house, "FROM telemetry, duckdb_settings", "there is no data set or reference table \"duckdb_settings\"");
}

#[test]
fn a_name_that_is_taken_or_not_a_name_is_refused() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 1);
    let fails = |path: &str, arguments: &str, status: i32, message: &str| {
        let failed = run(&house, &format!("--sql {path} {arguments}")).expect(status);
        assert!(failed.stderr.contains(message), "{}", failed.stderr);
    };
    let sql = "SELECT 1 AS x FROM telemetry";
    fails(&file(&house, "telemetry.sql", sql), "", 2, "telemetry is a stream, and an aggregate cannot have its name");
    fails(&file(&house, "x.sql", sql), "--name measurement", 2, "measurement is a stream");
    fails(&file(&house, "Hot-Days.sql", sql), "", 2, "\"Hot-Days\" is not a name");
    fails(&file(&house, "loop.sql", "FROM loop, telemetry"), "", 1, "reads loop, the data set that it makes");
    fails(&file(&house, "temperatures.sql", sql), "", 2, "the built-in aggregate has the name temperatures");
    fails(
        &file(&house, "y.sql", sql),
        &format!("--sql {}", file(&house, "y.sql", sql)),
        2,
        "another query makes the data set y already",
    );
    fails("/nowhere/*.sql", "", 2, "--sql /nowhere/*.sql: there is no such file");
    run(&house, "").expect(2);
    run(&house, "humidity").expect(2);
    run(&house, "temperatures --output - --dry-run").expect(2);
    run(&house, "temperatures --name x").expect(2);
    let x = file(&house, "x.sql", sql);
    let failed = run(&house, &format!("temperatures --sql {x} --output -")).expect(2);
    assert!(failed.stderr.contains("--output - prints the rows of one query, and there are 2"), "{}", failed.stderr);
}

#[test]
fn while_another_process_works_on_the_data_set_the_run_is_to_be_tried_again() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 1);
    let lock = lock(&house, "temperatures");
    let failed = run(&house, "temperatures").expect(75);
    assert!(failed.stderr.contains("temperatures: another process works on this data set"), "{}", failed.stderr);
    assert_eq!(run(&house, "temperatures --dry-run --format csv").expect(0).stdout.lines().count(), 2);
    drop(lock);
    run(&house, "temperatures").expect(0);
}

#[test]
fn a_damaged_input_is_named_and_all_other_hours_are_done() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 4);
    let damage = |hour: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let path = published(&house, "telemetry")[hour].clone();
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    };
    damage(1, &|bytes| bytes[4..80].fill(0xff));
    damage(2, &|bytes| bytes.truncate(bytes.len() / 2));
    for _ in 0..2 {
        let partial = run(&house, "temperatures").expect(3);
        for hour in ["01", "02"] {
            let file = format!("parquet/telemetry/2025/09/02/{hour}.parquet");
            let hour = format!("temperatures 2025-09-02T{hour}");
            let lines: Vec<_> = partial.stderr.lines().filter(|line| line.contains(&hour)).collect();
            assert_eq!(lines.len(), 1, "{}", partial.stderr);
            assert!(lines[0].contains(&file) && lines[0].contains("put it back from a backup"), "{}", partial.stderr);
        }
        let files = published(&house, "temperatures");
        assert_eq!(files.iter().map(|file| file.file_stem().unwrap()).collect::<Vec<_>>(), ["00", "03"]);
        assert_eq!(house.files_like("parquet/temperatures/", ".tmp"), Vec::<std::path::PathBuf>::new());
    }
    let printed = run(&house, "temperatures --output - --format csv").expect(3);
    assert_eq!(printed.stdout.lines().count(), 5);
    assert_eq!(printed.stderr.matches("put it back from a backup").count(), 2, "{}", printed.stderr);
}

#[test]
fn a_damaged_hour_of_an_aggregate_is_to_be_deleted_and_then_made_again() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 1);
    run(&house, "temperatures").expect(0);
    let path = &published(&house, "temperatures")[0];
    fs::write(path, "PAR1").unwrap();
    let failed = run(&house, "temperatures").expect(3);
    assert!(failed.stderr.contains("00.parquet: cannot read"), "{}", failed.stderr);
    assert!(failed.stderr.contains("move it out of the tree, and aggregate makes it again"), "{}", failed.stderr);
    fs::remove_file(path).unwrap();
    run(&house, "temperatures").expect(0);
    assert!(path.exists());
}

#[test]
fn an_hour_whose_query_fails_on_its_rows_is_named_and_keeps_its_old_file() {
    let house = House::new();
    telemetry(&house, "2025-09-02T00", &[(1, Some(1.0), Some("5"), "Celsius")], "1");
    telemetry(&house, "2025-09-02T01", &[(1, Some(1.0), Some("6"), "Celsius")], "1");
    let sql = file(&house, "texts.sql", "SELECT CAST(measurement_text AS INTEGER) AS n FROM telemetry");
    run(&house, &format!("--sql {sql}")).expect(0);
    let before = identity(&published(&house, "texts"));
    telemetry(&house, "2025-09-02T01", &[(1, Some(1.0), Some("six"), "Celsius")], "2");
    let partial = run(&house, &format!("--sql {sql}")).expect(3);
    assert!(partial.stderr.contains("texts 2025-09-02T01: "), "{}", partial.stderr);
    assert!(partial.stderr.contains("Could not convert string 'six' to INT32"), "{}", partial.stderr);
    assert_eq!(identity(&published(&house, "texts")), before);
}

#[test]
fn a_sum_that_does_not_fit_is_an_error_and_not_another_number() {
    let house = House::new();
    put(&house, "big", "2025-09-02T00", "SELECT 9223372036854775807 AS i FROM range(2)", "1");
    let sql = file(&house, "sums.sql", "SELECT sum(i) AS total FROM big");
    let partial = run(&house, &format!("--sql {sql}")).expect(3);
    assert!(partial.stderr.contains("out of range"), "{}", partial.stderr);
    assert!(!house.path().join("parquet/sums").exists());
}

#[test]
fn an_empty_house_has_nothing_to_aggregate() {
    let house = House::new();
    run(&house, "temperatures").expect(0);
    assert_eq!(house.files(), [""; 0]);
    assert!(!house.path().join("parquet/temperatures").exists());
    let message = "temperatures: there is no hour of telemetry: run compact";
    for arguments in ["-v", "--dry-run", "--explain", "--output -"] {
        let said = run(&house, &format!("temperatures {arguments}")).expect(0);
        assert!(said.stderr.contains(message), "{arguments}: {}", said.stderr);
    }
    assert_eq!(run(&house, "temperatures").expect(0).stderr, "", "cron may only be early");
}

#[test]
fn a_variable_that_is_not_there_is_refused() {
    let house = House::new();
    let sql =
        file(&house, "x.sql", "SELECT count(*) AS n FROM telemetry\nWHERE timestamp >= getvariable('windw_start')");
    let failed = run(&house, &format!("--check {sql}")).expect(1);
    let message = "there is no variable \"windw_start\": there are window_start, window_end";
    assert!(failed.stderr.contains(message) && failed.stderr.contains("x.sql:2:"), "{}", failed.stderr);
}

#[test]
fn a_mark_in_front_of_a_file_hides_no_setting() {
    let house = House::new();
    let sql = file(&house, "x.sql", "\u{feff}-- @window: day\nSELECT count(*) AS n FROM telemetry");
    let said = run(&house, &format!("--check {sql} --format csv")).expect(0);
    assert!(said.stdout.contains("x,window,day,UTC"), "{}", said.stdout);
}
