//! The user's own queries.

use harness::DataDir;

use crate::tree::{columns, file, many_hours, published, put, rows, run, telemetry};

const JOIN: &str = "-- how warm it was while doors were open
WITH open AS (SELECT count(*) AS doors FROM doors WHERE open),
telemetry AS (SELECT * FROM telemetry WHERE measurement_value IS NOT NULL)
SELECT
    getvariable('window_start') AS hour,
    getvariable('window_end') - getvariable('window_start') = INTERVAL 1 HOUR AS whole,
    (SELECT doors FROM open) AS doors,
    count(*) AS readings,
    sum(sensor_id) AS ids
FROM telemetry; -- the end
";

#[test]
fn a_query_joins_data_sets_and_one_that_lacks_an_hour_is_empty_in_it() {
    let data_dir = DataDir::new();
    let sql = file(&data_dir, "open_doors.sql", JOIN);
    telemetry(&data_dir, "2025-09-02T10", &[(1, Some(1.0), None, "Celsius"), (4, Some(2.0), None, "Celsius")], "1");
    telemetry(&data_dir, "2025-09-02T11", &[(2, Some(1.0), None, "Celsius")], "1");
    put(&data_dir, "doors", "2025-09-02T10", "SELECT 'a' AS door, true AS open", "1");
    put(
        &data_dir,
        "doors",
        "2025-09-02T12",
        "FROM (VALUES ('a', true), ('b', false), ('c', true)) AS d(door, open)",
        "1",
    );
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    let files = published(&data_dir, "open_doors");
    assert_eq!(
        rows(&files, "FROM {} ORDER BY hour"),
        ["2025-09-02T10:00:00,true,1,2,5", "2025-09-02T11:00:00,true,0,1,2", "2025-09-02T12:00:00,true,2,0,",]
    );
    assert_eq!(
        columns(&files[0]),
        ["hour TIMESTAMP", "whole BOOLEAN", "doors BIGINT", "readings BIGINT", "ids BIGINT"],
        "sums of integers are BIGINT"
    );
}

#[test]
fn aggregates_are_built_on_aggregates_and_reference_tables_and_no_rows_are_a_file_too() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 3);
    let limits = file(&data_dir, "limits.ndjson", "{\"sensor\": 1, \"most\": 1.5}\n");
    let sql = file(
        &data_dir,
        "alarms.sql",
        "SELECT start_time, sensor_id FROM Temperatures JOIN limits ON sensor_id = sensor WHERE max_temp > most",
    );
    run(&data_dir, &format!("temperatures --sql {sql} --table limits={limits}")).expect(0);
    let files = published(&data_dir, "alarms");
    assert_eq!(files.len(), 3);
    assert_eq!(rows(&files, "FROM {}"), ["2025-09-02T02:00:00,1"]);
    assert_eq!(columns(&files[0]), ["start_time TIMESTAMP", "sensor_id BIGINT"]);
    run(&data_dir, &format!("temperatures --sql {sql} --table limits={limits} --dry-run")).expect(0);
}

#[test]
fn a_pattern_stands_for_all_its_files_and_a_name_may_be_given_to_one() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 1);
    file(&data_dir, "sql/one.sql", "SELECT 1 AS x FROM telemetry");
    file(&data_dir, "sql/two.sql", "SELECT 2 AS x FROM telemetry");
    file(&data_dir, "sql/.hidden.sql", "not a query");
    let pattern = data_dir.path().join("sql/*.sql");
    run(&data_dir, &format!("--sql {}", pattern.display())).expect(0);
    assert_eq!((published(&data_dir, "one").len(), published(&data_dir, "two").len()), (1, 1));
    let one = data_dir.path().join("sql/one.sql");
    run(&data_dir, &format!("--sql {} --name three", one.display())).expect(0);
    assert_eq!(published(&data_dir, "three").len(), 1);
    let failed = run(&data_dir, &format!("--sql {} --name three", pattern.display())).expect(2);
    assert!(failed.stderr.contains("--name names the data set of one file, and there are 2"), "{}", failed.stderr);
}

#[test]
fn of_many_queries_those_that_are_wrong_are_named_and_the_others_are_done() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 1);
    file(&data_dir, "sql/bad.sql", "SELECT nothing FROM telemetry");
    file(&data_dir, "sql/good.sql", "SELECT 2 AS x FROM telemetry");
    let run = run(&data_dir, &format!("--sql {}", data_dir.path().join("sql/*.sql").display())).expect(3);
    assert!(run.stderr.contains("bad.sql:1:8: Binder Error"), "{}", run.stderr);
    assert_eq!(published(&data_dir, "good").len(), 1);
}

#[test]
fn rows_go_to_stdout_in_order_of_hours_in_three_formats_and_nothing_is_published() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 3);
    let before = data_dir.files();
    let print = |format: &str| run(&data_dir, &format!("temperatures --output - {format}")).expect(0).stdout;
    assert_eq!(
        print("--format csv --from 2025-09-02T01"),
        "start_time,end_time,sensor_id,sensor_name,sensor_location,avg_temp,min_temp,max_temp,samples,text_samples
2025-09-02T01:00:00,2025-09-02T02:00:00,1,,,1.0,1.0,1.0,1,0
2025-09-02T01:00:00,2025-09-02T02:00:00,2,,,-18.333333333333332,-18.333333333333332,-18.333333333333332,1,0
2025-09-02T02:00:00,2025-09-02T03:00:00,1,,,2.0,2.0,2.0,1,0
2025-09-02T02:00:00,2025-09-02T03:00:00,2,,,-18.88888888888889,-18.88888888888889,-18.88888888888889,1,0
"
    );
    assert_eq!(
        print("--format ndjson --to 2025-09-02T01").lines().next().unwrap(),
        r#"{"start_time":"2025-09-02T00:00:00","end_time":"2025-09-02T01:00:00","sensor_id":1,"sensor_name":null,"sensor_location":null,"avg_temp":0.0,"min_temp":0.0,"max_temp":0.0,"samples":1,"text_samples":0}"#
    );
    let sql = file(&data_dir, "n.sql", "SELECT getvariable('window_start') AS hour, sum(1) AS readings FROM telemetry");
    let before_sql = data_dir.files();
    assert_eq!(
        run(&data_dir, &format!("--sql {sql} --output -")).expect(0).stdout,
        "hour                 readings\n2025-09-02T00:00:00         2\n2025-09-02T01:00:00         2\n2025-09-02T02:00:00         2\n"
    );
    assert_eq!(data_dir.files(), before_sql);
    assert_eq!(before.len() + 1, before_sql.len());
    run(&data_dir, "temperatures").expect(0);
    assert_eq!(print("--format csv").lines().count(), 7, "printed although it is up to date");
}

#[test]
fn the_order_of_a_query_is_the_order_of_the_file() {
    let data_dir = DataDir::new();
    put(&data_dir, "numbers", "2025-09-02T00", "SELECT (i * 7919) % 300007 AS i FROM range(300000) AS r(i)", "1");
    let sql = file(&data_dir, "ordered.sql", "SELECT i FROM numbers ORDER BY i DESC");
    run(&data_dir, &format!("--sql {sql} --threads 2")).expect(0);
    let disorder = "SELECT count(*) AS n FROM (SELECT i, lag(i) OVER (ORDER BY file_row_number) AS before
                    FROM (SELECT * FROM read_parquet('FILE', file_row_number = true))) WHERE before < i";
    let files = published(&data_dir, "ordered");
    assert_eq!(rows(&files, &disorder.replace("FILE", files[0].to_str().unwrap())), ["0"]);
}

#[test]
fn a_query_that_needs_more_memory_than_it_may_have_spills_to_the_given_folder() {
    let data_dir = DataDir::new();
    let spill = tempfile_folder();
    put(
        &data_dir,
        "numbers",
        "2025-09-02T00",
        "SELECT hash(i) AS h, hash(i + 1) AS g FROM range(3000000) AS r(i)",
        "1",
    );
    let sql = file(&data_dir, "sorted.sql", "SELECT h, g FROM numbers ORDER BY h");
    let spill_to = spill.path().display();
    run(&data_dir, &format!("--sql {sql} --memory-limit 60MiB --threads 1 --temp-dir {spill_to}")).expect(0);
    assert_eq!(rows(&published(&data_dir, "sorted"), "SELECT count(*) AS n FROM {}"), ["3000000"]);
}

#[test]
fn a_data_directory_may_have_any_name_and_a_data_set_may_be_kept_elsewhere_by_a_link() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 2);
    let elsewhere = tempfile_folder();
    let odd = data_dir.path().join("it's a \"name\"");
    std::fs::create_dir_all(odd.join("parquet")).unwrap();
    let telemetry = elsewhere.path().join("telemetry");
    let mut copy = std::process::Command::new("cp");
    assert!(copy.arg("-r").arg(data_dir.path().join("parquet/telemetry")).arg(&telemetry).status().unwrap().success());
    std::os::unix::fs::symlink(&telemetry, odd.join("parquet/telemetry")).unwrap();
    let mut command = harness::program("aggregate");
    harness::Run::of(command.arg("--data-dir").arg(&odd).arg("temperatures")).expect(0);
    assert!(odd.join("parquet/temperatures/2025/09/02/01.parquet").exists());
}

fn tempfile_folder() -> harness::tempfile::TempDir {
    harness::tempfile::tempdir().unwrap()
}

#[test]
fn a_folder_whose_name_looks_like_a_pattern_is_that_folder_alone() {
    let above = DataDir::new();
    for (name, value) in [("da*ta[1]", 1.5), ("data1", 9.5)] {
        let data_dir = DataDir::at(&above.path().join(name));
        telemetry(&data_dir, "2025-09-02T10", &[(1, Some(value), None, "Celsius")], "1");
        file(&data_dir, "sensors.csv", &format!("sensor_id,name,location\n1,{name},\n"));
    }
    let data_dir = DataDir::at(&above.path().join("da*ta[1]"));
    let sensors = data_dir.path().join("sensors.csv").display().to_string();
    run(&data_dir, &format!("temperatures --table sensors={sensors}")).expect(0);
    let rows = rows(&published(&data_dir, "temperatures"), "SELECT sensor_name, avg_temp FROM {}");
    assert_eq!(rows, ["da*ta[1],1.5"]);
}
