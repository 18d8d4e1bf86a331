//! Reference tables.

use harness::House;

use crate::tree::{connection, file, published, rows, run, telemetry};

fn house() -> House {
    let house = House::new();
    telemetry(&house, "2025-09-02T10", &[(7, Some(1.0), None, "Celsius"), (8, Some(2.0), None, "Celsius")], "1");
    house
}

fn names(house: &House) -> Vec<String> {
    let files = published(house, "temperatures");
    rows(
        &files,
        "SELECT sensor_id AS id, sensor_name AS name, sensor_location AS location FROM {} ORDER BY start_time, id",
    )
}

type Make<'a> = &'a dyn Fn(&House) -> String;

#[test]
fn a_reference_table_may_be_csv_json_ndjson_or_parquet() {
    let expected = ["7,007,Hall 1", "8,,"];
    let parquet = |house: &House| {
        let path = house.path().join("sensors.parquet");
        let sql = format!(
            "COPY (SELECT '7' AS sensor_id, '007' AS name, 'Hall 1' AS location, 5 AS floor) TO '{}'",
            path.display()
        );
        connection().execute_batch(&sql).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let makers: [(&str, Make<'_>); 4] = [
        ("csv", &|house| file(house, "sensors.csv", "name,sensor_id,floor,location\n007,7,5,Hall 1\n")),
        ("json", &|house| file(house, "sensors.json", r#"[{"sensor_id": "7", "name": "007", "location": "Hall 1"}]"#)),
        ("ndjson", &|house| {
            file(house, "sensors.ndjson", "{\"sensor_id\": 7, \"name\": \"007\", \"location\": \"Hall 1\"}\n")
        }),
        ("parquet", &parquet),
    ];
    for (kind, make) in makers {
        let house = house();
        let table = make(&house);
        run(&house, &format!("temperatures --table sensors={table}")).expect(0);
        assert_eq!(names(&house), expected, "{kind}");
    }
}

#[test]
fn a_sensor_that_is_listed_twice_is_an_error_that_names_it() {
    let house = house();
    let sensors = file(&house, "sensors.csv", "sensor_id,name,location\n7,a,b\n8,c,d\n7,e,f\n");
    let failed = run(&house, &format!("temperatures --table sensors={sensors}")).expect(1);
    assert!(failed.stderr.contains("sensors.csv: sensor_id 7 is listed 2 times"), "{}", failed.stderr);
    assert_eq!(published(&house, "temperatures"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_reference_table_that_cannot_be_used_is_named_with_what_is_wrong() {
    let house = house();
    for (name, text, message) in [
        (
            "a.csv",
            "sensor_id,name\n7,a\n",
            "a.csv: has no column location: the table sensors has the columns sensor_id, name, location",
        ),
        ("b.csv", "sensor_id,name,location\nseven,a,b\n", "b.csv: cannot be read as a table"),
        ("c.json", "{\"sensor_id\":", "c.json"),
        ("d.txt", "sensor_id\n", "d.txt: a reference table is a .csv, .json, .ndjson or .parquet file"),
        ("e.parquet", "PAR1", "e.parquet"),
    ] {
        let table = file(&house, name, text);
        let failed = run(&house, &format!("temperatures --table sensors={table}")).expect(1);
        assert!(failed.stderr.contains(message), "{}", failed.stderr);
    }
    let failed = run(&house, "temperatures --table sensors=/nowhere/sensors.csv").expect(2);
    assert!(
        failed.stderr.contains("/nowhere/sensors.csv: the reference table sensors cannot be read"),
        "{}",
        failed.stderr
    );
    run(&house, "temperatures --table sensors").expect(2);
    run(&house, "temperatures --table Sensors=x.csv").expect(2);
}

#[test]
fn a_reference_table_has_a_name_of_its_own() {
    let house = house();
    let table = file(&house, "x.csv", "a\n1\n");
    let failed = run(&house, &format!("temperatures --table telemetry={table}")).expect(2);
    assert!(failed.stderr.contains("there is a data set telemetry"), "{}", failed.stderr);
    let failed = run(&house, &format!("temperatures --table sensors={table} --table sensors={table}")).expect(2);
    assert!(failed.stderr.contains("the table sensors is given twice"), "{}", failed.stderr);
    let failed = run(&house, &format!("temperatures --table sensor={table}")).expect(2);
    assert!(failed.stderr.contains("does not read the table sensor: it reads sensors, telemetry"), "{}", failed.stderr);
}

#[test]
fn a_table_that_is_forgotten_empties_no_columns() {
    let house = house();
    let sensors = file(&house, "sensors.csv", "sensor_id,name,location\n7,a,b\n8,c,d\n");
    run(&house, &format!("temperatures --table sensors={sensors}")).expect(0);
    telemetry(&house, "2025-09-02T11", &[(7, Some(1.0), None, "Celsius")], "1");
    for more in ["", "--dry-run", "--explain", "--output -"] {
        let failed = run(&house, &format!("temperatures {more}")).expect(2);
        let remedy = "was made with the table sensors, and now none is given: give it by --table sensors=FILE";
        assert!(failed.stderr.contains(remedy), "{}", failed.stderr);
    }
    assert_eq!(names(&house), ["7,a,b", "8,c,d"]);
    run(&house, "temperatures --rebuild").expect(0);
    assert_eq!(names(&house), ["7,,", "8,,", "7,,"]);
    run(&house, "temperatures").expect(0);
}
