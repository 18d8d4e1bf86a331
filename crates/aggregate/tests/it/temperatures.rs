//! The built-in aggregate.

use harness::DataDir;

use crate::tree::{columns, file, published, rows, run, telemetry};

const SENSORS: &str = "sensor_id,name,location\n1,Seattle,Washington USA\n2,San Francisco,California USA\n";

fn mixed(data_dir: &DataDir) {
    telemetry(
        data_dir,
        "2025-09-02T10",
        &[
            (1, Some(10.0), None, "Celcius"),
            (1, Some(20.0), None, "Celsius"),
            (1, Some(68.0), None, "Fahrenheit"),
            (1, Some(14.0), None, "Fahrenheit"),
            (1, None, Some("n/a"), "Celsius"),
            (2, None, Some("error"), "Fahrenheit"),
            (2, None, Some(""), "Celcius"),
            (9, Some(-40.0), None, "Fahrenheit"),
        ],
        "1",
    );
}

#[test]
fn units_are_normalised_text_is_counted_apart_and_names_come_from_the_reference_table() {
    let data_dir = DataDir::new();
    mixed(&data_dir);
    let sensors = file(&data_dir, "sensors.csv", SENSORS);
    let done = run(&data_dir, &format!("temperatures --table sensors={sensors}")).expect(0);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""));

    let files = published(&data_dir, "temperatures");
    assert_eq!(files, [data_dir.path().join("parquet/temperatures/2025/09/02/10.parquet")]);
    assert_eq!(
        columns(&files[0]),
        [
            "start_time TIMESTAMP",
            "end_time TIMESTAMP",
            "sensor_id BIGINT",
            "sensor_name VARCHAR",
            "sensor_location VARCHAR",
            "avg_temp DOUBLE",
            "min_temp DOUBLE",
            "max_temp DOUBLE",
            "samples BIGINT",
            "text_samples BIGINT",
        ]
    );
    assert_eq!(
        rows(&files, "FROM {}"),
        [
            "2025-09-02T10:00:00,2025-09-02T11:00:00,1,Seattle,Washington USA,10.0,-10.0,20.0,4,1",
            "2025-09-02T10:00:00,2025-09-02T11:00:00,2,San Francisco,California USA,,,,0,2",
            "2025-09-02T10:00:00,2025-09-02T11:00:00,9,,,-40.0,-40.0,-40.0,1,0",
        ]
    );
}

#[test]
fn without_a_reference_table_names_and_locations_are_unknown() {
    let data_dir = DataDir::new();
    mixed(&data_dir);
    run(&data_dir, "temperatures").expect(0);
    let files = published(&data_dir, "temperatures");
    let named = "SELECT count(*) AS n, count(sensor_name) AS names, count(sensor_location) AS locations FROM {}";
    assert_eq!(rows(&files, named), ["3,0,0"]);
    assert!(columns(&files[0]).contains(&"sensor_name VARCHAR".to_owned()));
}

#[test]
fn an_hour_with_rows_of_other_sensors_only_is_a_file_with_them() {
    let data_dir = DataDir::new();
    telemetry(&data_dir, "2025-09-02T10", &[(7, None, Some("x"), "Celsius")], "1");
    run(&data_dir, "temperatures").expect(0);
    let files = published(&data_dir, "temperatures");
    assert_eq!(rows(&files, "SELECT samples, text_samples FROM {}"), ["0,1"]);
}
