//! What is refused: it is named with what to do, and the rest is loaded.

use harness::DataDir;

use crate::hours::{Expected, Seen, check, publish, publish_readings, readings};
use crate::target::{Target, on_each};

fn one_hour(hour: &str) -> Expected {
    [(hour.to_owned(), ("a".to_owned(), 2))].into()
}

#[test]
fn a_type_that_would_lose_data_is_refused_and_the_rest_is_loaded() {
    on_each("a changed type", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        target.run(data_dir, "readings").expect(0);
        let select = format!("SELECT * REPLACE (value::VARCHAR AS value) FROM ({})", readings("2025-09-02T11", "b", 2));
        publish(data_dir, "readings", "2025-09-02T11", "b", &select);
        publish_readings(data_dir, "2025-09-02T12", "a", 2);
        for _ in 0..2 {
            let run = target.run(data_dir, "readings").expect(3);
            assert!(
                run.stderr.contains("11.parquet: the column value is VARCHAR, but the table's is"),
                "{}",
                run.stderr
            );
            assert!(run.stderr.contains("cast the column"), "{}", run.stderr);
            assert!(run.stderr.contains("ALTER TABLE "), "{}", run.stderr);
        }
        let mut expected = one_hour("2025-09-02T10");
        expected.extend(one_hour("2025-09-02T12"));
        check(&target.readings(data_dir), &expected, &mut Seen::new());
        let said = target.run(data_dir, "readings").expect(3).stderr;
        let (_, statement) = said.split_once("or change the table: ").unwrap();
        target.change(data_dir, statement.lines().next().unwrap());
        target.run(data_dir, "readings").expect(0);
        assert_eq!(target.query(data_dir, "SELECT count(*) FROM readings"), [["6"]]);
    });
}

#[test]
fn a_type_that_loses_nothing_is_taken() {
    on_each("a narrower type", |data_dir, target| {
        publish(data_dir, "n", "2025-09-02T10", "a", "SELECT 5000000000 AS n");
        publish(data_dir, "n", "2025-09-02T11", "a", "SELECT 7::INTEGER AS n");
        target.run(data_dir, "n --to 2025-09-02T11").expect(0);
        target.run(data_dir, "n").expect(0);
        assert_eq!(target.query(data_dir, "SELECT n FROM n ORDER BY id"), [["5000000000"], ["7"]]);
    });
}

#[test]
fn times_of_day_bytes_and_lists_are_stored_as_texts() {
    on_each("types as texts", |data_dir, target| {
        let select = "SELECT 1 AS n, TIME '06:30:15.5' AS t, '\\x00\\xFFa'::BLOB AS b, [1.5, NULL] AS l, ['a\"b', 'ä'] AS s \
                      UNION ALL SELECT 2, NULL, NULL, NULL, [] UNION ALL SELECT 3, TIME '23:59:59.999999', ''::BLOB, [], NULL";
        publish(data_dir, "n", "2025-09-02T10", "a", select);
        for _ in 0..2 {
            target.run(data_dir, "n").expect(0);
            target.run(data_dir, "n --verify").expect(0);
        }
        let rows = target.query(
            data_dir,
            "SELECT coalesce(t, '-'), coalesce(b, '-'), coalesce(l, '-'), coalesce(s, '-') FROM n ORDER BY n",
        );
        let expected = [
            ["06:30:15.5", "00ff61", "[1.5,null]", "[\"a\\\"b\",\"ä\"]"],
            ["-", "-", "-", "[]"],
            ["23:59:59.999999", "", "[]", "-"],
        ];
        assert_eq!(rows, expected);
    });
}

#[test]
fn columns_that_no_table_takes_are_refused_with_what_to_do() {
    on_each("refused columns", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        let refused = [
            (
                "SELECT 1 AS \"ID\"",
                "the column \"ID\" has a name that tables have for themselves: give it another name",
            ),
            ("SELECT 1 AS window_start", "the column \"window_start\" has a name that tables have"),
            ("SELECT {'a': 1} AS n", "the column n is of type nested, which no table takes"),
            (
                "SELECT TIMESTAMPTZ '2025-09-02 10:00:00+00' AS n",
                "TIMESTAMP WITH TIME ZONE, which no table takes: cast it to TIMESTAMP",
            ),
            ("SELECT 1::UBIGINT AS n", "of type UBIGINT, which no table takes: cast it to BIGINT or DECIMAL(38,0)"),
            ("SELECT 1::USMALLINT::UBIGINT AS n", "of type UBIGINT"),
        ];
        for (hour, (select, message)) in refused.iter().enumerate() {
            publish(data_dir, "readings", &format!("2025-09-03T{hour:02}"), "b", select);
            let run = target.run(data_dir, &format!("readings --from 2025-09-03T{hour:02}")).expect(3);
            assert!(run.stderr.contains(&format!("2025/09/03/{hour:02}.parquet: ")), "{}", run.stderr);
            assert!(run.stderr.contains(message), "{message}: {}", run.stderr);
        }
        target.run(data_dir, "readings").expect(3);
        check(&target.readings(data_dir), &one_hour("2025-09-02T10"), &mut Seen::new());
    });
}

#[test]
fn a_foreign_parquet_file_is_named_and_the_rest_is_loaded() {
    on_each("a foreign file", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        let foreign = data_dir.path().join("parquet/readings/2025/09/02/11.parquet");
        let connection = duckdb::Connection::open_in_memory().unwrap();
        let copy = format!("COPY ({}) TO '{}'", readings("2025-09-02T11", "x", 2), foreign.display());
        connection.execute(&copy, []).unwrap();
        std::fs::write(foreign.with_file_name("12.parquet"), "PAR1 but no more").unwrap();
        for _ in 0..2 {
            let run = target.run(data_dir, "readings").expect(3);
            assert!(run.stderr.contains("11.parquet: has no commit record"), "{}", run.stderr);
            assert!(run.stderr.contains("12.parquet: "), "{}", run.stderr);
            assert!(run.stderr.contains("move it out of the tree, and aggregate makes it again"), "{}", run.stderr);
            check(&target.readings(data_dir), &one_hour("2025-09-02T10"), &mut Seen::new());
        }
    });
}

#[test]
fn a_file_damaged_behind_its_footer_keeps_no_other_hour_out() {
    on_each("a damaged file", |data_dir, target| {
        let mut expected = Expected::new();
        for hour in 0..7 {
            let hour = format!("2025-09-02T{hour:02}");
            publish_readings(data_dir, &hour, "a", 2);
            expected.extend(one_hour(&hour));
        }
        let damaged = data_dir.path().join("parquet/readings/2025/09/02/03.parquet");
        let mut bytes = std::fs::read(&damaged).unwrap();
        bytes[4..200].fill(0xff);
        std::fs::write(&damaged, bytes).unwrap();
        let run = target.run(data_dir, "readings").expect(3);
        assert!(
            run.stderr.contains(
                "03.parquet: cannot be read to its end; if it is damaged, put it back from a backup, or move it"
            ),
            "{}",
            run.stderr
        );
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        expected.remove("2025-09-02T03");
        check(&target.readings(data_dir), &expected, &mut Seen::new());
    });
}

#[test]
fn a_table_of_somebody_else_is_left_alone() {
    on_each("a foreign table", |data_dir, target| {
        publish(data_dir, "load_log", "2025-09-02T10", "a", "SELECT 1 AS n");
        let run = target.run(data_dir, "load_log").expect(3);
        assert!(
            run.stderr.contains("the warehouse has a table load_log for itself: give the data set another name"),
            "{}",
            run.stderr
        );
    });
}

#[test]
fn a_misspelt_data_set_is_wrong_usage_once_there_is_any() {
    on_each("no data set", |data_dir, target| {
        std::fs::create_dir(data_dir.path().join("raw")).unwrap();
        assert_eq!(target.run(data_dir, "readinsg").expect(0).stderr, "");
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        for arguments in ["readinsg", "readings readinsg", "readinsg --dry-run"] {
            let run = target.run(data_dir, arguments).expect(2);
            let message = "readinsg: there is no such data set: the tree has readings\n";
            assert!(run.stderr.contains(message), "{}", run.stderr);
        }
        assert_eq!(target.run(data_dir, "telemetry").expect(0).stderr, "");
        target.run(data_dir, "../readings").expect(2);
        target.run(data_dir, "").expect(2);
        assert!(!data_dir.files().contains(&"warehouse.duckdb".to_owned()));
    });
}

#[test]
fn a_time_that_no_server_takes_is_wrong_usage() {
    let data_dir = DataDir::new();
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    for time in ["--timeout 0s", "--timeout 30d", "--wait 30d", "--timeout 9999999999999s", "--wait 500000000000y"] {
        let run = Target::File.run(&data_dir, &format!("readings {time}")).expect(2);
        assert!(run.stderr.contains("24d"), "{}", run.stderr);
    }
}

#[test]
fn what_the_environment_names_is_not_asked_for() {
    let mut program = harness::program("load-warehouse");
    program.env("DATA_DIR", "/nowhere").env("DUCKDB_EXTENSION_DIR", "/nowhere");
    let run = harness::Run::of(&mut program).expect(2);
    assert!(run.stderr.contains("Usage: load-warehouse <DATASET>...\n"), "{}", run.stderr);
    let run = harness::Run::of(program.arg("readings")).expect(1);
    assert!(run.stderr.contains("/nowhere: there is no such data directory"), "{}", run.stderr);
}

#[test]
fn a_table_that_somebody_has_dropped_is_made_anew() {
    on_each("a dropped table", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        target.run(data_dir, "readings").expect(0);
        target.change(data_dir, "DROP TABLE readings");
        let due = target.run(data_dir, "readings -n --format csv").expect(0);
        assert_eq!(due.stdout, "dataset,hour,version,rows\nreadings,2025-09-02T10,new,2\n");
        let run = target.run(data_dir, "readings").expect(0);
        assert!(run.stderr.contains("readings: its table is gone"), "{}", run.stderr);
        check(&target.readings(data_dir), &one_hour("2025-09-02T10"), &mut Seen::new());
        assert_eq!(target.run(data_dir, "readings --verify").expect(0).stderr, "");
        assert_eq!(target.run(data_dir, "readings").expect(0).stderr, "");
    });
}
