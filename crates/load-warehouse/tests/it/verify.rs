//! `--verify`: finds what somebody did to the warehouse, and nothing else.

use crate::hours::{expire, publish_readings, readings};
use crate::target::{Target, on_each};

#[test]
fn what_was_changed_in_the_warehouse_is_named() {
    on_each("a changed warehouse", |data_dir, target| {
        assert_eq!(
            target.run(data_dir, "readings --verify --format csv").expect(0).stdout,
            "dataset,hour,rows,in_warehouse,finding\n"
        );
        for hour in 10..15 {
            publish_readings(data_dir, &format!("2025-09-02T{hour}"), "a", 30);
        }
        let select = format!("SELECT *, 7 AS later FROM ({})", readings("2025-09-02T15", "a", 3));
        crate::hours::publish(data_dir, "readings", "2025-09-02T15", "a", &select);
        target.run(data_dir, "readings").expect(0);
        let run = target.run(data_dir, "readings --verify --format csv").expect(0);
        assert_eq!(run.stdout.lines().count(), 7, "{}", run.stdout);
        assert_eq!(run.stdout.matches(",ok\n").count(), 6, "{}", run.stdout);
        // A version that is not loaded yet, and an hour that has expired, are no differences.
        publish_readings(data_dir, "2025-09-02T14", "b", 31);
        publish_readings(data_dir, "2025-09-02T16", "a", 5);
        expire(data_dir, "readings", "2025-09-02T13");
        let picture = target.picture(data_dir, &["readings"]);
        let run = target.run(data_dir, "readings --verify --format csv").expect(0);
        let noted: Vec<_> = run.stdout.lines().skip(1).filter(|line| !line.ends_with(",ok")).collect();
        assert_eq!(
            noted,
            [
                "readings,2025-09-02T14,30,30,\"ok, but the tree has a newer version, which is not loaded yet\"",
                "readings,2025-09-02T16,5,0,not loaded yet",
            ]
        );
        assert_eq!(target.picture(data_dir, &["readings"]), picture);
        for sql in [
            "UPDATE readings SET value = value + 1e-9 WHERE id = 3",
            "UPDATE readings SET sensor_id = CASE id WHEN 31 THEN 8 ELSE 7 END WHERE id IN (31, 32)",
            "DELETE FROM readings WHERE id IN (70, 100)",
        ] {
            target.change(data_dir, sql);
        }
        let run = target.run(data_dir, "readings --verify --format csv").expect(3);
        let lines = run.stdout.lines().skip(1);
        let wrong: Vec<_> = lines.filter(|line| !line.ends_with(",ok") && !line.contains("not loaded yet")).collect();
        assert_eq!(
            wrong,
            [
                "readings,2025-09-02T10,30,30,differs from the file in value",
                "readings,2025-09-02T11,30,30,differs from the file in which values belong to one row",
                "readings,2025-09-02T12,30,29,1 row missing or too many",
                "readings,2025-09-02T13,30,29,1 row missing or too many",
            ]
        );
        assert!(run.stderr.contains("4 of 6 hours differ from what was loaded or cannot be read"), "{}", run.stderr);
        let run = target.run(data_dir, "readings --verify --from 2025-09-02T14").expect(0);
        assert_eq!(run.stdout.lines().count(), 4, "{}", run.stdout);
    });
}

#[test]
fn a_file_that_is_gone_is_named_unless_retention_removed_it() {
    on_each("a file that is gone", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 30);
        let run = target.run(data_dir, "readings --verify --format csv").expect(0);
        assert!(run.stdout.ends_with("readings,2025-09-02T10,30,0,not loaded yet\n"), "{}", run.stdout);
        publish_readings(data_dir, "2025-09-02T11", "a", 30);
        target.run(data_dir, "readings").expect(0);
        std::fs::remove_file(&data_dir.files_like("parquet/", "11.parquet")[0]).unwrap();
        let run = target.run(data_dir, "readings --verify --format csv").expect(3);
        assert!(run.stdout.contains("readings,2025-09-02T10,30,30,ok\n"), "{}", run.stdout);
        assert!(
            run.stdout.contains("readings,2025-09-02T11,30,30,\"the tree has no file of it, although"),
            "{}",
            run.stdout
        );
    });
}

#[test]
fn a_damaged_file_is_named_also_if_its_hour_is_not_loaded() {
    on_each("a damaged file", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 30);
        target.run(data_dir, "readings").expect(0);
        publish_readings(data_dir, "2025-09-02T11", "a", 30);
        std::fs::write(&data_dir.files_like("parquet/", "11.parquet")[0], "no Parquet").unwrap();
        let run = target.run(data_dir, "readings --verify --format csv").expect(3);
        assert!(run.stdout.contains("readings,2025-09-02T11,0,0,"), "{}", run.stdout);
        assert!(run.stderr.contains("1 of 2 hours differ"), "{}", run.stderr);
    });
}

#[test]
fn a_data_set_of_which_the_tree_has_nothing_any_more_is_verified() {
    on_each("a data set that is gone", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 30);
        crate::hours::publish(data_dir, "other", "2025-09-02T10", "a", "SELECT 1 AS n");
        target.run(data_dir, "--all").expect(0);
        target.run(data_dir, "--all --verify").expect(0);
        std::fs::remove_dir_all(data_dir.path().join("parquet/other")).unwrap();
        for names in ["--all", "other"] {
            let run = target.run(data_dir, &format!("{names} --verify --format csv")).expect(3);
            assert!(run.stdout.contains("other,2025-09-02T10,1,1,\"the tree has no file of it"), "{}", run.stdout);
        }
        target.run(data_dir, "another --verify").expect(2);
        target.run(data_dir, "other").expect(2);
        target.run(data_dir, "--all").expect(0);
    });
}

#[test]
fn a_column_that_somebody_has_dropped_is_named() {
    on_each("a dropped column", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 3);
        target.run(data_dir, "readings").expect(0);
        // DuckDB changes no table that has an index.
        let index = if matches!(target, Target::File) { "DROP INDEX \"readings.window_start\"; " } else { "" };
        target.change(data_dir, &format!("{index}ALTER TABLE readings DROP COLUMN value"));
        let run = target.run(data_dir, "readings --verify --format csv").expect(3);
        assert!(run.stdout.contains("differs from the file in value, which the table does not have"), "{}", run.stdout);
    });
}
