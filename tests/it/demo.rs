//! The pipeline as a whole against a query that knows nothing of it: the series of both cities go in as messages, and the
//! warehouse must hold, row for row, what DuckDB computes from the series themselves.

use std::io::Write as _;
use std::process::Stdio;
use std::thread;

use harness::{DataDir, reading};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data");

/// The first `lines` messages of a city's series.
fn series(city: &str, lines: usize) -> String {
    let path = format!("{DATA}/{city}.ndjson.gz");
    let output = std::process::Command::new("gzip").args(["-dc", &path]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().take(lines).flat_map(|line| [line, "\n"]).collect()
}

/// Pipes messages into a tcp-ingest of their own.
fn ingest(data_dir: &DataDir, messages: &str) {
    let mut program =
        data_dir.program("tcp-ingest").args(["--stdin", "telemetry"]).stdin(Stdio::piped()).spawn().unwrap();
    program.stdin.take().unwrap().write_all(messages.as_bytes()).unwrap();
    assert!(program.wait().unwrap().success());
}

fn run_the_rest(data_dir: &DataDir) {
    data_dir.run("compact", "").expect(0);
    data_dir.run("aggregate", &format!("temperatures --table sensors={DATA}/sensors.csv")).expect(0);
    data_dir.run("load-warehouse", "temperatures").expect(0);
}

/// How many rows are in the warehouse and not in the query over `sent`, or the other way round; and how many there are.
fn difference(data_dir: &DataDir, sent: &[String]) -> (i64, i64) {
    let file = data_dir.path().join("sent.ndjson");
    std::fs::write(&file, sent.concat()).unwrap();
    let session = duckdb::Connection::open_in_memory().unwrap();
    session
        .execute_batch(&format!(
            "ATTACH '{warehouse}' AS warehouse (READ_ONLY);
             CREATE TABLE expected AS
             WITH sent AS (
                 SELECT make_timestamp(timestamp * 1000000) AS time, sensor_id, json_type(measurement.value) = 'VARCHAR' AS text,
                        CASE WHEN measurement.unit = 'Fahrenheit' THEN (TRY_CAST(measurement.value AS DOUBLE) - 32) * 5 / 9
                             ELSE TRY_CAST(measurement.value AS DOUBLE) END AS celsius
                 FROM read_json('{sent}', format = 'newline_delimited', columns = {{
                     timestamp: 'BIGINT', sensor_id: 'BIGINT', measurement: 'STRUCT(value JSON, unit VARCHAR)'}}))
             SELECT date_trunc('hour', time) AS start_time, date_trunc('hour', time) + INTERVAL 1 HOUR AS end_time,
                    sent.sensor_id, any_value(sensors.name) AS sensor_name, any_value(sensors.location) AS sensor_location,
                    round(avg(celsius) FILTER (NOT text), 9) AS avg_temp, min(celsius) FILTER (NOT text) AS min_temp,
                    max(celsius) FILTER (NOT text) AS max_temp, count(*) FILTER (NOT text) AS samples,
                    count(*) FILTER (text) AS text_samples
             FROM sent LEFT JOIN read_csv('{DATA}/sensors.csv') AS sensors USING (sensor_id) GROUP BY ALL;
             CREATE TABLE actual AS SELECT start_time, end_time, sensor_id, sensor_name, sensor_location,
                 round(avg_temp, 9) AS avg_temp, min_temp, max_temp, samples, text_samples FROM warehouse.temperatures;",
            warehouse = data_dir.path().join("warehouse.duckdb").display(),
            sent = file.display(),
        ))
        .unwrap();
    let count = "SELECT (SELECT count(*) FROM ((FROM expected EXCEPT ALL FROM actual) UNION ALL (FROM actual EXCEPT ALL FROM expected))),
                        (SELECT count(*) FROM actual)";
    session.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

#[test]
fn the_warehouse_holds_what_a_query_over_the_series_gives() {
    let data_dir = DataDir::new();
    let mut sent = vec![series("seattle", 600), series("san_francisco", 500)];
    // Both at once, as two devices would.
    thread::scope(|scope| {
        for messages in &sent {
            scope.spawn(|| ingest(&data_dir, messages));
        }
    });
    run_the_rest(&data_dir);
    assert_eq!(difference(&data_dir, &sent), (0, 1100));

    // Late messages for hours that are done: more values for sensors 1 and 2, text, and a sensor that no table names.
    let hour = harness::epoch("2010-01-05T07");
    let text = reading(hour + 61, 2, 1.5).replace("1.5", r#""n/a""#);
    let late = [reading(hour + 59, 1, -3.25), reading(hour + 60, 1, 12.75), text, reading(hour + 3600, 3, 7.0)];
    sent.push(late.join("\n") + "\n");
    ingest(&data_dir, &sent[2]);
    run_the_rest(&data_dir);
    assert_eq!(difference(&data_dir, &sent), (0, 1101));

    // And again, with nothing new.
    run_the_rest(&data_dir);
    assert_eq!(difference(&data_dir, &sent), (0, 1101));
}

#[test]
fn the_script_for_cron_runs_queries_of_ones_own_with_their_tables() {
    let data_dir = DataDir::new();
    ingest(&data_dir, &series("seattle", 48));
    let queries = data_dir.path().join("queries");
    std::fs::create_dir(&queries).unwrap();
    let sql = "-- @window: day\nSELECT hall, max(max_temp) AS warmest FROM temperatures JOIN halls USING (sensor_id) GROUP BY hall";
    std::fs::write(queries.join("warm_days.sql"), sql).unwrap();
    let halls = data_dir.path().join("halls.csv");
    std::fs::write(&halls, "sensor_id,hall\n1,north\n2,south\n").unwrap();
    let pipeline = || {
        let mut script = std::process::Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/pipeline.sh"));
        let programs = std::path::PathBuf::from(data_dir.program("compact").get_program());
        script.env("DATA_DIR", data_dir.path()).env("BIN", programs.parent().unwrap()).env("QUERIES", &queries);
        script.env("TABLES", format!("halls={}", halls.display())).env("LOAD", "temperatures warm_days");
        harness::Run::of(&mut script).expect(0)
    };
    pipeline();
    let days = |run: harness::Run| run.stdout.lines().count();
    let loaded = data_dir.run("load-warehouse", "warm_days --head 9 --format ndjson").expect(0);
    assert!(loaded.stdout.contains("\"warmest\""), "{}", loaded.stdout);
    assert_eq!(days(loaded), data_dir.files_like("parquet/warm_days/", ".parquet").len());
    data_dir.run("load-warehouse", "--verify temperatures warm_days").expect(0);
    assert_eq!(pipeline().stdout, "");
}
