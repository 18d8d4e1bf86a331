//! What goes wrong is named, with its place and what to do; what does not is done.

use std::fs;

use harness::DataDir;

use crate::tree::{file, identity, lock, many_hours, published, put, run, telemetry};

/// Runs the query `sql` in a file `q.sql`, which must fail as a whole with `message`.
#[track_caller]
fn refused(data_dir: &DataDir, sql: &str, message: &str) {
    let path = file(data_dir, "q.sql", sql);
    let before = data_dir.files();
    let failed = run(data_dir, &format!("--sql {path}")).expect(1);
    assert!(failed.stderr.contains(message), "{sql}\n{}", failed.stderr);
    let after: Vec<_> = data_dir.files().into_iter().filter(|file| !before.contains(file)).collect();
    assert_eq!(after, [""; 0]);
    assert!(!data_dir.path().join("parquet/q").exists(), "no data set of which there is nothing");
}

#[test]
fn errors_in_a_query_point_at_its_file_and_line() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 1);
    refused(
        &data_dir,
        "SELECT 1\nFROM telemetry\nWHERE WHERE true",
        "q.sql:3:7: syntax error at or near \"WHERE\"\n  WHERE WHERE true\n        ^",
    );
    refused(
        &data_dir,
        "SELECT\n  celsius\nFROM telemetry",
        "q.sql:2:3: Binder Error: Referenced column \"celsius\" not found",
    );
    let twice =
        "q.sql: the column \"A\" has the same name as \"a\" where upper and lower case are one: give it another name";
    refused(&data_dir, "SELECT sensor_id AS a, measurement_value AS A FROM telemetry", twice);
    refused(&data_dir, "SELECT nope(1) FROM telemetry", "q.sql:1:8: Catalog Error");
    refused(&data_dir, "-- nothing\n", "q.sql: there is no query in it");
    refused(&data_dir, "SELECT $1 FROM telemetry", "q.sql: ");
}

#[test]
fn an_unknown_table_is_named_with_those_that_are_known() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 1);
    put(&data_dir, "doors", "2025-09-02T00", "SELECT 1 AS x", "1");
    refused(
        &data_dir,
        "SELECT * FROM telemetry JOIN plants USING (sensor_id)",
        "q.sql: there is no data set or reference table \"plants\": data sets are doors, measurement, telemetry; \
         a reference table is given by --table plants=FILE; if another aggregate makes it, run the query that makes plants",
    );
    let temperatures =
        "if another aggregate makes it, run aggregate temperatures, or give temperatures in the same run";
    refused(&data_dir, "SELECT * FROM temperatures", temperatures);
}

#[test]
fn windows_that_fail_in_the_same_way_are_told_at_once() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 12);
    for hour in ["2025-09-02T01", "2025-09-02T02", "2025-09-02T05"] {
        telemetry(&data_dir, hour, &[(1, Some(1.0), Some(&format!("x{hour}")), "Celsius")], "2");
    }
    put(&data_dir, "telemetry", "2025-09-02T07", "SELECT 1 AS other", "2");
    let sql = file(&data_dir, "texts.sql", "SELECT CAST(measurement_text AS INTEGER) AS n FROM telemetry");
    let partial = run(&data_dir, &format!("--sql {sql}")).expect(3);
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
    let named = run(&data_dir, &format!("--sql {sql} -v")).expect(3);
    assert!(named.stderr.contains("texts 2025-09-02T02: made of "), "{}", named.stderr);
    let printed = run(&data_dir, &format!("--sql {sql} --output -")).expect(3);
    assert_eq!(printed.stderr.lines().count(), 2, "{}", printed.stderr);
}

#[test]
fn windows_that_are_shorter_than_those_they_read_are_refused_at_once() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 48);
    let days = file(&data_dir, "days.sql", "-- @window: day\nSELECT count(*) AS n FROM telemetry");
    let sql = file(&data_dir, "shares.sql", "SELECT n FROM days");
    let message = "shares: 48 hours from 2025-09-02T00 to 2025-09-03T23 refused, because windows of days, first that from \
                   2025-09-02T00:00 to 2025-09-03T00:00, lie in them only in part";
    let refused = |arguments: &str| {
        let refused = run(&data_dir, arguments).expect(3);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
        assert!(refused.stderr.contains(message), "{}", refused.stderr);
        assert!(refused.stderr.contains(": did you mean -- @window: day? Or read the streams"), "{}", refused.stderr);
    };
    refused(&format!("--check {days} --check {sql}"));
    refused(&format!("--sql {days} --sql {sql} --dry-run"));
    refused(&format!("--sql {days} --sql {sql} --explain"));
    refused(&format!("--sql {days} --sql {sql}"));
    refused(&format!("--sql {sql} --output -"));
    file(&data_dir, "days.sql", "-- @window: day\n-- @time_zone: Europe/Berlin\nSELECT count(*) AS n FROM telemetry");
    fs::remove_dir_all(data_dir.path().join("parquet/days")).unwrap();
    let zone = run(&data_dir, &format!("--check {days} --check {sql}")).expect(3);
    assert!(zone.stderr.contains("did you mean -- @window: day with the -- @time_zone of days?"), "{}", zone.stderr);
}

#[test]
fn what_is_not_one_select_over_data_sets_is_refused() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 1);
    let secret = file(&data_dir, "secret.csv", "a\n1\n");
    let parquet = data_dir.path().join("parquet/telemetry/2025/09/02/00.parquet");
    for statement in
        ["DROP TABLE telemetry", "COPY telemetry TO 'x.csv'", "ATTACH 'x.duckdb'", "SET threads = 1", "INSTALL httpfs"]
    {
        refused(&data_dir, statement, "q.sql: a query is one SELECT, and this is something else");
        refused(&data_dir, &format!("SELECT 1 FROM telemetry; {statement}"), "q.sql: a query is one SELECT");
    }
    refused(
        &data_dir,
        "SELECT 1 FROM telemetry; SELECT 2 FROM telemetry",
        "q.sql: a query is one SELECT, and there are several",
    );
    refused(&data_dir, "DESCRIBE telemetry", "q.sql: a query is one SELECT, and this describes one");
    refused(&data_dir, "SELECT 1 AS x", "q.sql: reads no data set");
    refused(&data_dir, "SELECT *\nFROM telemetry, read_csv('secret.csv')", "q.sql:2:17: read_csv() is not for queries");
    refused(
        &data_dir,
        &format!("FROM telemetry, read_parquet('{}')", parquet.display()),
        "read_parquet() is not for queries",
    );
    refused(&data_dir, "FROM telemetry, query('SELECT 1')", "query() is not for queries");
    refused(&data_dir, "FROM telemetry, glob('*')", "glob() is not for queries");
    refused(&data_dir, &format!("FROM telemetry, '{secret}'"), "there is no data set or reference table");
    let recursive = format!(
        "WITH RECURSIVE \"{secret}\" AS (FROM \"{secret}\" UNION FROM \"{secret}\") FROM telemetry, \"{secret}\""
    );
    refused(&data_dir, &recursive, "there is no data set or reference table");
    refused(
        &data_dir,
        "FROM telemetry, information_schema.tables",
        "information_schema.tables: data sets and reference tables",
    );
    refused(
        &data_dir,
        "FROM telemetry, duckdb_settings",
        "there is no data set or reference table \"duckdb_settings\"",
    );
}

#[test]
fn a_name_that_is_taken_or_not_a_name_is_refused() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 1);
    let fails = |path: &str, arguments: &str, status: i32, message: &str| {
        let failed = run(&data_dir, &format!("--sql {path} {arguments}")).expect(status);
        assert!(failed.stderr.contains(message), "{}", failed.stderr);
    };
    let sql = "SELECT 1 AS x FROM telemetry";
    fails(
        &file(&data_dir, "telemetry.sql", sql),
        "",
        2,
        "telemetry is a stream, and an aggregate cannot have its name",
    );
    fails(&file(&data_dir, "x.sql", sql), "--name measurement", 2, "measurement is a stream");
    fails(&file(&data_dir, "Hot-Days.sql", sql), "", 2, "\"Hot-Days\" is not a name");
    fails(&file(&data_dir, "loop.sql", "FROM loop, telemetry"), "", 1, "reads loop, the data set that it makes");
    fails(&file(&data_dir, "temperatures.sql", sql), "", 2, "the built-in aggregate has the name temperatures");
    fails(
        &file(&data_dir, "y.sql", sql),
        &format!("--sql {}", file(&data_dir, "y.sql", sql)),
        2,
        "another query makes the data set y already",
    );
    fails("/nowhere/*.sql", "", 2, "--sql /nowhere/*.sql: there is no such file");
    run(&data_dir, "").expect(2);
    run(&data_dir, "humidity").expect(2);
    run(&data_dir, "temperatures --output - --dry-run").expect(2);
    run(&data_dir, "temperatures --name x").expect(2);
    let x = file(&data_dir, "x.sql", sql);
    let failed = run(&data_dir, &format!("temperatures --sql {x} --output -")).expect(2);
    assert!(failed.stderr.contains("--output - prints the rows of one query, and there are 2"), "{}", failed.stderr);
}

#[test]
fn while_another_process_works_on_the_data_set_the_run_is_to_be_tried_again() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 1);
    let lock = lock(&data_dir, "temperatures");
    let failed = run(&data_dir, "temperatures").expect(75);
    assert!(failed.stderr.contains("temperatures: another process works on this data set"), "{}", failed.stderr);
    assert_eq!(run(&data_dir, "temperatures --dry-run --format csv").expect(0).stdout.lines().count(), 2);
    drop(lock);
    run(&data_dir, "temperatures").expect(0);
}

#[test]
fn a_damaged_input_is_named_and_all_other_hours_are_done() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 4);
    let damage = |hour: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let path = published(&data_dir, "telemetry")[hour].clone();
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    };
    damage(1, &|bytes| bytes[4..80].fill(0xff));
    damage(2, &|bytes| bytes.truncate(bytes.len() / 2));
    for _ in 0..2 {
        let partial = run(&data_dir, "temperatures").expect(3);
        for hour in ["01", "02"] {
            let file = format!("parquet/telemetry/2025/09/02/{hour}.parquet");
            let hour = format!("temperatures 2025-09-02T{hour}");
            let lines: Vec<_> = partial.stderr.lines().filter(|line| line.contains(&hour)).collect();
            assert_eq!(lines.len(), 1, "{}", partial.stderr);
            assert!(lines[0].contains(&file) && lines[0].contains("put it back from a backup"), "{}", partial.stderr);
        }
        let files = published(&data_dir, "temperatures");
        assert_eq!(files.iter().map(|file| file.file_stem().unwrap()).collect::<Vec<_>>(), ["00", "03"]);
        assert_eq!(data_dir.files_like("parquet/temperatures/", ".tmp"), Vec::<std::path::PathBuf>::new());
    }
    let printed = run(&data_dir, "temperatures --output - --format csv").expect(3);
    assert_eq!(printed.stdout.lines().count(), 5);
    assert_eq!(printed.stderr.matches("put it back from a backup").count(), 2, "{}", printed.stderr);
}

#[test]
fn a_damaged_hour_of_an_aggregate_is_to_be_deleted_and_then_made_again() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 1);
    run(&data_dir, "temperatures").expect(0);
    let path = &published(&data_dir, "temperatures")[0];
    fs::write(path, "PAR1").unwrap();
    let failed = run(&data_dir, "temperatures").expect(3);
    assert!(failed.stderr.contains("00.parquet: has no Parquet footer"), "{}", failed.stderr);
    assert!(failed.stderr.contains("move it out of the tree, and aggregate makes it again"), "{}", failed.stderr);
    fs::remove_file(path).unwrap();
    run(&data_dir, "temperatures").expect(0);
    assert!(path.exists());
}

#[test]
fn an_hour_whose_query_fails_on_its_rows_is_named_and_keeps_its_old_file() {
    let data_dir = DataDir::new();
    telemetry(&data_dir, "2025-09-02T00", &[(1, Some(1.0), Some("5"), "Celsius")], "1");
    telemetry(&data_dir, "2025-09-02T01", &[(1, Some(1.0), Some("6"), "Celsius")], "1");
    let sql = file(&data_dir, "texts.sql", "SELECT CAST(measurement_text AS INTEGER) AS n FROM telemetry");
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    let before = identity(&published(&data_dir, "texts"));
    telemetry(&data_dir, "2025-09-02T01", &[(1, Some(1.0), Some("six"), "Celsius")], "2");
    let partial = run(&data_dir, &format!("--sql {sql}")).expect(3);
    assert!(partial.stderr.contains("texts 2025-09-02T01: "), "{}", partial.stderr);
    assert!(partial.stderr.contains("Could not convert string 'six' to INT32"), "{}", partial.stderr);
    assert_eq!(identity(&published(&data_dir, "texts")), before);
}

#[test]
fn a_sum_that_does_not_fit_is_an_error_and_not_another_number() {
    let data_dir = DataDir::new();
    put(&data_dir, "big", "2025-09-02T00", "SELECT 9223372036854775807 AS i FROM range(2)", "1");
    let sql = file(&data_dir, "sums.sql", "SELECT sum(i) AS total FROM big");
    let partial = run(&data_dir, &format!("--sql {sql}")).expect(3);
    assert!(partial.stderr.contains("out of range"), "{}", partial.stderr);
    assert!(!data_dir.path().join("parquet/sums").exists());
}

#[test]
fn an_empty_data_directory_has_nothing_to_aggregate() {
    let data_dir = DataDir::new();
    run(&data_dir, "temperatures").expect(0);
    assert_eq!(data_dir.files(), [""; 0]);
    assert!(!data_dir.path().join("parquet/temperatures").exists());
    let message = "temperatures: there is no hour of telemetry: run compact";
    for arguments in ["-v", "--dry-run", "--explain", "--output -"] {
        let said = run(&data_dir, &format!("temperatures {arguments}")).expect(0);
        assert!(said.stderr.contains(message), "{arguments}: {}", said.stderr);
    }
    assert_eq!(run(&data_dir, "temperatures").expect(0).stderr, "", "cron may only be early");
}

#[test]
fn a_variable_that_is_not_there_is_refused() {
    let data_dir = DataDir::new();
    let sql =
        file(&data_dir, "x.sql", "SELECT count(*) AS n FROM telemetry\nWHERE timestamp >= getvariable('windw_start')");
    let failed = run(&data_dir, &format!("--check {sql}")).expect(1);
    let message = "there is no variable \"windw_start\": there are window_start, window_end";
    assert!(failed.stderr.contains(message) && failed.stderr.contains("x.sql:2:"), "{}", failed.stderr);
}

#[test]
fn a_mark_in_front_of_a_file_hides_no_setting() {
    let data_dir = DataDir::new();
    let sql = file(&data_dir, "x.sql", "\u{feff}-- @window: day\nSELECT count(*) AS n FROM telemetry");
    let said = run(&data_dir, &format!("--check {sql} --format csv")).expect(0);
    assert!(said.stdout.contains("x,window,day,UTC"), "{}", said.stdout);
}
