//! Reference tables.

use harness::DataDir;

use crate::tree::{connection, file, published, rows, run, telemetry};

fn data_dir() -> DataDir {
    let data_dir = DataDir::new();
    telemetry(&data_dir, "2025-09-02T10", &[(7, Some(1.0), None, "Celsius"), (8, Some(2.0), None, "Celsius")], "1");
    data_dir
}

fn names(data_dir: &DataDir) -> Vec<String> {
    let files = published(data_dir, "temperatures");
    rows(
        &files,
        "SELECT sensor_id AS id, sensor_name AS name, sensor_location AS location FROM {} ORDER BY start_time, id",
    )
}

type Make<'a> = &'a dyn Fn(&DataDir) -> String;

#[test]
fn a_reference_table_may_be_csv_json_ndjson_or_parquet() {
    let expected = ["7,007,Hall 1", "8,,"];
    let parquet = |data_dir: &DataDir| {
        let path = data_dir.path().join("sensors.parquet");
        let sql = format!(
            "COPY (SELECT '7' AS sensor_id, '007' AS name, 'Hall 1' AS location, 5 AS floor) TO '{}'",
            path.display()
        );
        connection().execute_batch(&sql).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let makers: [(&str, Make<'_>); 4] = [
        ("csv", &|data_dir| file(data_dir, "sensors.csv", "name,sensor_id,floor,location\n007,7,5,Hall 1\n")),
        ("json", &|data_dir| {
            file(data_dir, "sensors.json", r#"[{"sensor_id": "7", "name": "007", "location": "Hall 1"}]"#)
        }),
        ("ndjson", &|data_dir| {
            file(data_dir, "sensors.ndjson", "{\"sensor_id\": 7, \"name\": \"007\", \"location\": \"Hall 1\"}\n")
        }),
        ("parquet", &parquet),
    ];
    for (kind, make) in makers {
        let data_dir = data_dir();
        let table = make(&data_dir);
        run(&data_dir, &format!("temperatures --table sensors={table}")).expect(0);
        assert_eq!(names(&data_dir), expected, "{kind}");
    }
}

#[test]
fn a_sensor_that_is_listed_twice_is_an_error_that_names_it() {
    let data_dir = data_dir();
    let sensors = file(&data_dir, "sensors.csv", "sensor_id,name,location\n7,a,b\n8,c,d\n7,e,f\n");
    let failed = run(&data_dir, &format!("temperatures --table sensors={sensors}")).expect(1);
    assert!(failed.stderr.contains("sensors.csv: sensor_id 7 is listed 2 times"), "{}", failed.stderr);
    assert_eq!(published(&data_dir, "temperatures"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_reference_table_that_cannot_be_used_is_named_with_what_is_wrong() {
    let data_dir = data_dir();
    for (name, text, message) in [
        (
            "a.csv",
            "sensor_id,name\n7,a\n",
            "a.csv: has no column location: the table sensors must have the columns sensor_id, name, location",
        ),
        (
            "b.csv",
            "sensor_id,name,location\nseven,a,b\n",
            "b.csv: cannot be read as a table: sensor_id is \"seven\" in a row of it, and must be a whole number",
        ),
        (
            "half.csv",
            "sensor_id,name,location\n7,a,b\n2.7,a,b\n",
            "half.csv: cannot be read as a table: sensor_id is \"2.7\"",
        ),
        (
            "half.json",
            "[{\"sensor_id\": 2.7, \"name\": \"a\", \"location\": \"b\"}]",
            "half.json: cannot be read as a table: sensor_id is \"2.7\"",
        ),
        (
            "tiny.csv",
            "sensor_id,name,location\n1.0000000001,a,b\n",
            "tiny.csv: cannot be read as a table: sensor_id is \"1.0000000001\"",
        ),
        (
            "few.csv",
            "sensor_id,name,location\n7,a,b\n8,c\n",
            "few.csv: cannot be read as a table: CSV error: record 2 (line: 3, byte: 30): found record with 2 fields",
        ),
        (
            "quote.csv",
            "sensor_id,name,location\n7,\"Valve,x\n8,c,d\n",
            "quote.csv: cannot be read as a table: CSV error: record 1 (line: 2,",
        ),
        (
            "latin1.csv",
            "sensor_id,name,location\n7,a,b\n",
            "latin1.csv: cannot be read as a table: line 2 is not UTF-8",
        ),
        ("c.json", "{\"sensor_id\":", "c.json"),
        ("d.txt", "sensor_id\n", "d.txt: a reference table is a .csv, .json, .ndjson or .parquet file"),
        ("e.parquet", "PAR1", "e.parquet"),
    ] {
        let table = file(&data_dir, name, text);
        if name == "latin1.csv" {
            std::fs::write(&table, b"sensor_id,name,location\n7,M\xfcnchen,b\n").unwrap();
        }
        let failed = run(&data_dir, &format!("temperatures --table sensors={table}")).expect(1);
        assert!(failed.stderr.contains(message), "{}", failed.stderr);
    }
    // Separators are those of the header.
    let table = file(&data_dir, "semicolons.csv", "sensor_id;name;location\n7;\"a;b,\";c\n");
    run(&data_dir, &format!("temperatures --table sensors={table}")).expect(0);
    let failed = run(&data_dir, "temperatures --table sensors=/nowhere/sensors.csv").expect(2);
    assert!(
        failed.stderr.contains("/nowhere/sensors.csv: the reference table sensors cannot be read"),
        "{}",
        failed.stderr
    );
    let fifo = data_dir.path().join("fifo.csv");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let failed = run(&data_dir, &format!("temperatures --table sensors={}", fifo.display())).expect(1);
    assert!(failed.stderr.contains("fifo.csv: is a FIFO, and no regular file"), "{}", failed.stderr);
    run(&data_dir, "temperatures --table sensors").expect(2);
    run(&data_dir, "temperatures --table Sensors=x.csv").expect(2);
}

#[test]
fn a_reference_table_has_a_name_of_its_own() {
    let data_dir = data_dir();
    let table = file(&data_dir, "x.csv", "a\n1\n");
    let failed = run(&data_dir, &format!("temperatures --table telemetry={table}")).expect(2);
    assert!(failed.stderr.contains("there is a data set telemetry"), "{}", failed.stderr);
    let failed = run(&data_dir, &format!("temperatures --table sensors={table} --table sensors={table}")).expect(2);
    assert!(failed.stderr.contains("the table sensors is given twice"), "{}", failed.stderr);
    let failed = run(&data_dir, &format!("temperatures --table sensor={table}")).expect(2);
    assert!(failed.stderr.contains("does not read the table sensor: it reads sensors, telemetry"), "{}", failed.stderr);
}

#[test]
fn a_table_that_is_forgotten_empties_no_columns() {
    let data_dir = data_dir();
    let sensors = file(&data_dir, "sensors.csv", "sensor_id,name,location\n7,a,b\n8,c,d\n");
    run(&data_dir, &format!("temperatures --table sensors={sensors}")).expect(0);
    telemetry(&data_dir, "2025-09-02T11", &[(7, Some(1.0), None, "Celsius")], "1");
    for more in ["", "--dry-run", "--explain", "--output -"] {
        let failed = run(&data_dir, &format!("temperatures {more}")).expect(2);
        let remedy = "was made with the table sensors, and now none is given: give it by --table sensors=FILE";
        assert!(failed.stderr.contains(remedy), "{}", failed.stderr);
    }
    assert_eq!(names(&data_dir), ["7,a,b", "8,c,d"]);
    run(&data_dir, "temperatures --rebuild").expect(0);
    assert_eq!(names(&data_dir), ["7,,", "8,,", "7,,"]);
    run(&data_dir, "temperatures").expect(0);
}

#[test]
fn a_reference_table_with_a_column_window_start_means_its_own() {
    let data_dir = data_dir();
    let table =
        file(&data_dir, "shifts.csv", "shift,window_start\nearly,2025-09-02 06:00:00\nlate,2025-09-02 14:00:00\n");
    let query = "SELECT sensor_id, shift FROM telemetry JOIN shifts ON timestamp >= window_start ORDER BY sensor_id";
    let sql = file(&data_dir, "by_shift.sql", query);
    run(&data_dir, &format!("--sql {sql} --table shifts={table}")).expect(0);
    assert_eq!(
        rows(&published(&data_dir, "by_shift"), "SELECT sensor_id, shift FROM {} ORDER BY 1"),
        ["7,early", "8,early"]
    );
}
