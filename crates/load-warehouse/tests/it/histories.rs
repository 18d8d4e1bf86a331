//! What happens to data sets over time, on each kind of warehouse.

use std::thread;

use crate::hours::{Expected, Seen, check, publish, publish_readings, readings};
use crate::target::on_each;

fn expect(hours: &[(&str, &str, u64)]) -> Expected {
    hours.iter().map(|(hour, version, rows)| ((*hour).to_owned(), ((*version).to_owned(), *rows))).collect()
}

#[test]
fn a_load_that_is_repeated_changes_nothing() {
    on_each("a repeated load", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 40);
        publish_readings(data_dir, "2025-09-02T11", "a", 3);
        let run = target.run(data_dir, "readings").expect(0);
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
        let expected = expect(&[("2025-09-02T10", "a", 40), ("2025-09-02T11", "a", 3)]);
        check(&target.readings(data_dir), &expected, &mut Seen::new());
        let before = target.picture(data_dir, &["readings"]);
        target.run(data_dir, "readings").expect(0);
        target.run(data_dir, "readings --from 2025-09-02T11").expect(0);
        assert_eq!(target.picture(data_dir, &["readings"]), before);
    });
}

#[test]
fn late_data_replaces_exactly_its_hour_and_no_id_comes_back() {
    on_each("late data", |data_dir, target| {
        let hours = ["2025-09-02T10", "2025-09-02T11", "2025-09-02T12"];
        let mut seen = Seen::new();
        for hour in hours {
            publish_readings(data_dir, hour, "a", 5);
        }
        target.run(data_dir, "readings").expect(0);
        let first = target.readings(data_dir);
        // The last hour, whose rows have the highest ids, becomes empty, and then full again.
        for (version, rows) in [("b", 0), ("c", 2), ("d", 9)] {
            publish_readings(data_dir, hours[2], version, rows);
            target.run(data_dir, "readings").expect(0);
            let expected = expect(&[(hours[0], "a", 5), (hours[1], "a", 5), (hours[2], version, rows)]);
            check(&target.readings(data_dir), &expected, &mut seen);
        }
        let now = target.readings(data_dir);
        assert_eq!(now[..10], first[..10], "the other hours keep their ids");
        assert_eq!(now.last().unwrap().0, 15 + 2 + 9);
    });
}

#[test]
fn hours_that_retention_removes_stay_in_the_warehouse() {
    on_each("retention", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 5);
        publish_readings(data_dir, "2025-09-02T11", "a", 5);
        target.run(data_dir, "readings").expect(0);
        std::fs::remove_file(&data_dir.files_like("parquet/", "10.parquet")[0]).unwrap();
        let before = target.picture(data_dir, &["readings"]);
        target.run(data_dir, "readings").expect(0);
        assert_eq!(target.picture(data_dir, &["readings"]), before);
    });
}

#[test]
fn a_data_set_may_be_called_like_anothers_index() {
    on_each("names of indexes", |data_dir, target| {
        for dataset in ["x", "x_window_start", "y_window_start", "y"] {
            publish(data_dir, dataset, "2025-09-02T10", "a", "SELECT 1 AS n");
            target.run(data_dir, dataset).expect(0);
        }
    });
}

#[test]
fn only_the_hours_asked_for_are_loaded() {
    on_each("a range", |data_dir, target| {
        for hour in ["2025-09-01T23", "2025-09-02T00", "2025-09-02T01"] {
            publish_readings(data_dir, hour, "a", 2);
        }
        target.run(data_dir, "readings --from 2025-09-02T00 --to 2025-09-02T01").expect(0);
        check(&target.readings(data_dir), &expect(&[("2025-09-02T00", "a", 2)]), &mut Seen::new());
    });
}

#[test]
fn a_column_that_appears_later_is_added() {
    on_each("a new column", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        target.run(data_dir, "readings").expect(0);
        let select = format!(
            "SELECT *, 'x' AS quality, 3::DECIMAL(9,3) AS offset_c FROM ({})",
            readings("2025-09-02T11", "b", 2)
        );
        publish(data_dir, "readings", "2025-09-02T11", "b", &select);
        target.run(data_dir, "readings").expect(0);
        let expected = expect(&[("2025-09-02T10", "a", 2), ("2025-09-02T11", "b", 2)]);
        check(&target.readings(data_dir), &expected, &mut Seen::new());
        let added = target.query(data_dir, "SELECT quality, offset_c FROM readings ORDER BY id");
        assert_eq!(added, [["NULL", "NULL"], ["NULL", "NULL"], ["x", "3"], ["x", "3"]]);
        // The older form goes on to be loaded.
        publish_readings(data_dir, "2025-09-02T12", "a", 1);
        target.run(data_dir, "readings").expect(0);
        assert_eq!(target.readings(data_dir).len(), 5);
    });
}

#[test]
fn every_kind_of_column_arrives_as_it_is() {
    on_each("every type", |data_dir, target| {
        let select = "SELECT true AS flag, -7::TINYINT AS tiny, 2147483647 AS whole, (-9223372036854775808)::BIGINT AS big, \
             0.1::DOUBLE AS half, 1.5::FLOAT AS single, 12345.678::DECIMAL(9,3) AS exact, '' AS empty, \
             DATE '0999-12-31' AS day, TIMESTAMP '1969-12-31 23:59:59.999999' AS moment, 'a' || chr(9786) || chr(128512) AS text, \
             sum(1::BIGINT) AS total, 'it' AS \"select\" \
             UNION ALL BY NAME SELECT NULL::BOOLEAN AS flag";
        publish(data_dir, "kinds", "2025-09-02T10", "a", select);
        target.run(data_dir, "kinds").expect(0);
        let columns = "whole, big, half, single, exact, empty, day, moment, text, total, tiny";
        let rows = target.query(data_dir, &format!("SELECT {columns} FROM kinds ORDER BY id"));
        let first: Vec<_> = rows[0].iter().map(String::as_str).collect();
        assert_eq!(
            first,
            [
                "2147483647",
                "-9223372036854775808",
                "0.1",
                "1.5",
                "12345.678",
                "",
                "0999-12-31",
                "1969-12-31 23:59:59.999999",
                "a☺😀",
                "1",
                "-7"
            ]
        );
        assert_eq!(rows[1], vec!["NULL"; 11]);
        let flags = target.query(data_dir, "SELECT CASE WHEN flag THEN 'yes' END FROM kinds ORDER BY id");
        assert_eq!(flags, [["yes"], ["NULL"]]);
    });
}

#[test]
fn a_dry_run_says_what_the_run_then_does_and_does_nothing() {
    on_each("a dry run", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        let files = data_dir.files();
        let plan = "dataset,hour,version,rows\nreadings,2025-09-02T10,new,2\n";
        assert_eq!(target.run(data_dir, "readings --dry-run --format csv").expect(0).stdout, plan);
        assert_eq!(data_dir.files(), files);
        target.run(data_dir, "readings").expect(0);
        publish_readings(data_dir, "2025-09-02T10", "b", 3);
        let before = target.picture(data_dir, &["readings"]);
        let plan = "dataset,hour,version,rows\nreadings,2025-09-02T10,changed,3\n";
        assert_eq!(target.run(data_dir, "readings --dry-run --format csv").expect(0).stdout, plan);
        assert_eq!(target.picture(data_dir, &["readings"]), before);
        target.run(data_dir, "readings").expect(0);
        let plan = "dataset,hour,version,rows\n";
        assert_eq!(target.run(data_dir, "readings --dry-run --format csv").expect(0).stdout, plan);
    });
}

#[test]
fn the_head_of_the_table_is_printed() {
    on_each("the head", |data_dir, target| {
        let select = "SELECT i AS n, 'ä' || i AS text, i / 2 AS half FROM range(9) r(i) ORDER BY i";
        publish(data_dir, "numbers", "2025-09-02T10", "a", select);
        let head = "id,window_start,n,text,half\n1,2025-09-02T10:00:00,0,ä0,0.0\n2,2025-09-02T10:00:00,1,ä1,0.5\n";
        for _ in 0..2 {
            assert_eq!(target.run(data_dir, "numbers --head 2 --format csv").expect(0).stdout, head);
        }
    });
}

#[test]
fn several_data_sets_and_many_hours_are_loaded_in_one_run() {
    on_each("many hours", |data_dir, target| {
        let hours: Vec<_> = (0..30).map(|hour| format!("2025-09-{:02}T{:02}", hour / 24 + 1, hour % 24)).collect();
        let mut expected = Expected::new();
        for (hour, rows) in hours.iter().zip(0..) {
            publish_readings(data_dir, hour, "a", rows);
            publish(data_dir, "numbers", hour, "a", &format!("SELECT {rows} AS n"));
            expected.insert(hour.clone(), ("a".to_owned(), rows));
        }
        let run = target.run(data_dir, "readings numbers readings -v").expect(0);
        assert!(run.stderr.contains("60 hours, 465 rows"), "{}", run.stderr);
        check(&target.readings(data_dir), &expected, &mut Seen::new());
        assert_eq!(target.query(data_dir, "SELECT count(*), sum(n) FROM numbers"), [["30", "435"]]);
    });
}

#[test]
fn loads_side_by_side_double_nothing() {
    on_each("loads side by side", |data_dir, target| {
        let mut expected = Expected::new();
        let mut seen = Seen::new();
        for round in 0..3 {
            for hour in 0..12 {
                let hour = format!("2025-09-02T{hour:02}");
                let version = format!("v{round}");
                publish_readings(data_dir, &hour, &version, 20);
                expected.insert(hour, (version, 20));
            }
            let mut loads: Vec<_> = (0..3)
                .map(|_| target.program(data_dir).arg("readings").stderr(std::process::Stdio::piped()).spawn().unwrap())
                .collect();
            for load in loads.drain(..) {
                let run = harness::Run::from(load.wait_with_output().unwrap());
                assert!(matches!(run.status, Some(0 | 75)), "{run:?}");
            }
            target.run(data_dir, "readings").expect(0);
            check(&target.readings(data_dir), &expected, &mut seen);
        }
    });
}

#[test]
fn hours_replaced_during_the_load_are_loaded_in_a_version_that_was() {
    on_each("replaced hours", |data_dir, target| {
        let hours: Vec<_> = (0..6).map(|hour| format!("2025-09-02T{hour:02}")).collect();
        for hour in &hours {
            publish_readings(data_dir, hour, "v0", 50);
        }
        let mut seen = Seen::new();
        thread::scope(|scope| {
            let replacing = scope.spawn(|| {
                for version in 1..=12_u64 {
                    for hour in &hours {
                        publish_readings(data_dir, hour, &format!("v{version}"), 50 + version);
                    }
                }
            });
            while !replacing.is_finished() {
                let run = target.run(data_dir, "readings");
                assert!(matches!(run.status, Some(0 | 75)), "{run:?}");
                // Whatever versions the table shows, it shows them whole.
                let rows = target.readings(data_dir);
                let held = rows.iter().map(|row| {
                    let version: u64 = row.2[1..].parse().unwrap();
                    (row.1.clone(), (row.2.clone(), 50 + version))
                });
                check(&rows, &held.collect(), &mut seen);
            }
        });
        target.run(data_dir, "readings").expect(0);
        let expected = hours.iter().map(|hour| (hour.clone(), ("v12".to_owned(), 62))).collect();
        check(&target.readings(data_dir), &expected, &mut seen);
    });
}
