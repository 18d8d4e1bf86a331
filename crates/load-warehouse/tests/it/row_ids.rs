//! Which row is which: ids that stay, or a key of the data's own.

use crate::hours::publish;
use crate::target::on_each;

/// Publishes the means of some sensors as an hour: `(sensor, mean)`.
fn means(data_dir: &harness::DataDir, hour: &str, version: &str, rows: &[(&str, &str)]) {
    let rows: Vec<_> =
        rows.iter().map(|(sensor, mean)| format!("({sensor}, {mean}, 'it''s ü', {mean} > 20)")).collect();
    let select = format!(
        "SELECT sensor::BIGINT AS sensor, mean::DOUBLE AS mean, mean::DECIMAL(9,3) AS exact, note, hot, \
         TIMESTAMP '{}:00:00.000001' AS taken, DATE '2025-09-02' AS day FROM (VALUES {}) v(sensor, mean, note, hot)",
        hour.replace('T', " "),
        rows.join(", ")
    );
    publish(data_dir, "means", hour, version, &select);
}

#[test]
fn a_row_that_does_not_change_keeps_its_id() {
    on_each("rows that stay", |data_dir, target| {
        means(
            data_dir,
            "2025-09-02T10",
            "a",
            &[("1", "20.1"), ("2", "20.2"), ("3", "0.30000000000000004"), ("3", "1")],
        );
        means(data_dir, "2025-09-02T11", "a", &[("1", "NULL")]);
        target.run(data_dir, "means").expect(0);
        let ids = "SELECT id, sensor, mean FROM means ORDER BY id";
        let before = target.query(data_dir, ids);
        assert_eq!(before.len(), 5);
        // Another mean of one sensor, one row more, and a new hour between.
        means(
            data_dir,
            "2025-09-02T10",
            "b",
            &[("4", "7"), ("1", "20.1"), ("2", "20.25"), ("3", "0.30000000000000004"), ("3", "1")],
        );
        means(data_dir, "2025-09-02T09", "a", &[("9", "9")]);
        target.run(data_dir, "means").expect(0);
        let after = target.query(data_dir, ids);
        let changed = |row: &&Vec<String>| !before.contains(row);
        let new: Vec<_> = after.iter().filter(changed).map(|row| row.join(" ")).collect();
        assert_eq!(new, ["6 9 9", "7 4 7", "8 2 20.25"], "{after:?}");
        assert_eq!(after.len(), 7);
        // The third digit from the end of a floating number is a change; the same rows in another order are none.
        means(data_dir, "2025-09-02T10", "c", &[("3", "1"), ("3", "0.3"), ("2", "20.25"), ("1", "20.1"), ("4", "7")]);
        target.run(data_dir, "means").expect(0);
        let last = target.query(data_dir, ids);
        let new: Vec<_> = last.iter().filter(|row| !after.contains(row)).map(|row| row.join(" ")).collect();
        assert_eq!(new, ["9 3 0.3"], "{last:?}");
        target.run(data_dir, "means --verify").expect(0);
    });
}

#[test]
fn of_rows_that_are_alike_as_many_stay_as_there_are() {
    on_each("rows that are alike", |data_dir, target| {
        let copies = |version: &str, rows: u64| {
            publish(
                data_dir,
                "copies",
                "2025-09-02T10",
                version,
                &format!("SELECT 'x' AS text, NULL::DOUBLE AS n FROM range({rows})"),
            );
            target.run(data_dir, "copies").expect(0);
            let ids = target.query(data_dir, "SELECT id FROM copies ORDER BY id");
            ids.into_iter().map(|row| row[0].clone()).collect::<Vec<_>>()
        };
        assert_eq!(copies("a", 3), ["1", "2", "3"]);
        assert_eq!(copies("b", 2), ["1", "2"]);
        assert_eq!(copies("c", 4), ["1", "2", "4", "5"]);
    });
}

#[test]
fn a_column_that_goes_or_comes_changes_the_rows_that_have_it() {
    on_each("a column that goes", |data_dir, target| {
        publish(data_dir, "wide", "2025-09-02T10", "a", "SELECT * FROM (VALUES (1, NULL), (2, 'x')) v(n, text)");
        target.run(data_dir, "wide").expect(0);
        publish(data_dir, "wide", "2025-09-02T10", "b", "SELECT * FROM (VALUES (1), (2)) v(n)");
        target.run(data_dir, "wide").expect(0);
        let rows = "SELECT id, n, text FROM wide ORDER BY id";
        assert_eq!(target.query(data_dir, rows), [["1", "1", "NULL"], ["3", "2", "NULL"]]);
        publish(data_dir, "wide", "2025-09-02T10", "c", "SELECT * FROM (VALUES (1, 7), (2, NULL)) v(n, more)");
        target.run(data_dir, "wide").expect(0);
        let rows = "SELECT id, n, more FROM wide ORDER BY id";
        assert_eq!(target.query(data_dir, rows), [["3", "2", "NULL"], ["4", "1", "7"]]);
    });
}

#[test]
fn a_key_of_the_data_is_the_tables_key() {
    on_each("a key", |data_dir, target| {
        let rows = |version: &str, hour: &str, rows: &str| {
            publish(data_dir, "keyed", hour, version, &format!("SELECT * FROM (VALUES {rows}) v(sensor, place, n)"));
        };
        rows("a", "2025-09-02T10", "(1, 'a', 1.5), (1, 'b', 2), (2, 'a', 3)");
        let run = target.run(data_dir, "keyed --key sensor,nothing").expect(3);
        assert!(run.stderr.contains("--key names the column nothing"), "{}", run.stderr);
        target.run(data_dir, "keyed --key window_start,sensor,place").expect(0);
        rows("b", "2025-09-02T10", "(1, 'a', 1.5), (1, 'b', 7), (3, 'a', 3)");
        rows("a", "2025-09-02T11", "(1, 'a', 4)");
        // Once it is made, the table itself tells what its key is.
        target.run(data_dir, "keyed").expect(0);
        let all = "SELECT sensor, place, n FROM keyed ORDER BY window_start, sensor, place";
        let expected = [["1", "a", "1.5"], ["1", "b", "7"], ["3", "a", "3"], ["1", "a", "4"]];
        assert_eq!(target.query(data_dir, all), expected);
        let head = target.run(data_dir, "keyed --head 1 --format csv").expect(0).stdout;
        assert!(head.starts_with("window_start,sensor,place,n\n2025-09-02T10:00:00,"), "{head}");
        // Two rows with one key are refused, and nothing of their hour is changed.
        rows("c", "2025-09-02T10", "(1, 'a', 1), (1, 'a', 2)");
        rows("b", "2025-09-02T11", "(1, 'a', 5)");
        let run = target.run(data_dir, "keyed").expect(3);
        assert!(run.stderr.contains("10.parquet: "), "{}", run.stderr);
        let expected = [["1", "a", "1.5"], ["1", "b", "7"], ["3", "a", "3"], ["1", "a", "5"]];
        assert_eq!(target.query(data_dir, all), expected);
        rows("d", "2025-09-02T10", "(1, 'a', 1)");
        target.run(data_dir, "keyed --key window_start,sensor,place").expect(0);
        target.run(data_dir, "keyed --verify").expect(0);
        publish(data_dir, "other", "2025-09-02T10", "a", "SELECT 1 AS n");
        target.run(data_dir, "other").expect(0);
        publish(data_dir, "other", "2025-09-02T10", "b", "SELECT 2 AS n");
        let run = target.run(data_dir, "other --key n").expect(3);
        assert!(run.stderr.contains("the table other has an id, so it was made without --key"), "{}", run.stderr);
    });
}

#[test]
fn what_cannot_be_a_key_is_refused_before_anything_is_made_of_it() {
    on_each("a bad key", |data_dir, target| {
        let rows = |hour: &str, version: &str, rows: &str| {
            publish(data_dir, "keyed", hour, version, &format!("SELECT * FROM (VALUES {rows}) v(sensor, place, n)"));
        };
        rows("2025-09-02T10", "a", "(1, 'a', 1), (2, NULL, 2)");
        rows("2025-09-02T11", "a", "(1, 'a', 1), (1, 'b', 2)");
        for (arguments, status, says) in [
            ("--key sensor,Sensor", 2, "--key names the column sensor twice"),
            ("--key sensor,nothing", 3, "keyed 2025-09-02T10 to 2025-09-02T11: not loaded: "),
            ("--key sensor,nothing", 3, "10.parquet: --key names the column nothing, which"),
            ("--key sensor,place --to 2025-09-02T11", 3, "10.parquet: --key names place, which is NULL in some rows"),
            ("--key window_start", 3, "keyed 2025-09-02T10 to 2025-09-02T11: not loaded: "),
            ("--key window_start", 3, "10.parquet: --key names window_start, which are the same in several rows"),
        ] {
            let run = target.run(data_dir, &format!("keyed {arguments}")).expect(status);
            assert!(run.stderr.contains(says), "{says}: {}", run.stderr);
        }
        target.run(data_dir, "keyed -n --key sensor").expect(0);
        let run = target.run(data_dir, "keyed --key sensor").expect(3);
        assert!(run.stderr.contains("11.parquet: --key names sensor, which are the same in several"), "{}", run.stderr);
        assert_eq!(target.query(data_dir, "SELECT sensor, n FROM keyed ORDER BY n"), [["1", "1"], ["2", "2"]]);
        // Rows of different hours meet in the table.
        rows("2025-09-02T11", "b", "(3, 'a', 3)");
        rows("2025-09-02T12", "a", "(1, 'a', 4)");
        let run = target.run(data_dir, "keyed --key sensor").expect(3);
        assert!(
            run.stderr.contains("12.parquet: ") && run.stderr.contains("several rows have the same key"),
            "{}",
            run.stderr
        );
        assert_eq!(
            target.query(data_dir, "SELECT sensor, n FROM keyed ORDER BY n"),
            [["1", "1"], ["2", "2"], ["3", "3"]]
        );
        assert!(!run.stderr.contains("change values"), "{}", run.stderr);
        // Nor does it matter who made the key.
        publish(data_dir, "other", "2025-09-02T10", "a", "SELECT 1 AS n");
        target.run(data_dir, "other").expect(0);
        target.change(data_dir, "CREATE UNIQUE INDEX mine ON other (n)");
        publish(data_dir, "other", "2025-09-02T11", "a", "SELECT 1 AS n");
        let run = target.run(data_dir, "other").expect(3);
        assert!(run.stderr.contains("or of an index that somebody made"), "{}", run.stderr);
    });
}

#[test]
fn all_data_sets_are_loaded_in_one_run() {
    on_each("all data sets", |data_dir, target| {
        std::fs::create_dir(data_dir.path().join("raw")).unwrap();
        assert_eq!(target.run(data_dir, "--all").expect(0).stderr, "");
        publish(data_dir, "one", "2025-09-02T10", "a", "SELECT 1 AS n");
        publish(data_dir, "two", "2025-09-02T10", "a", "SELECT 2 AS n");
        target.run(data_dir, "--all one").expect(2);
        target.run(data_dir, "--all").expect(0);
        assert_eq!(target.query(data_dir, "SELECT n FROM one UNION ALL SELECT n FROM two ORDER BY n"), [["1"], ["2"]]);
    });
}
