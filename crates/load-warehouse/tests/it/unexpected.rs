//! Warehouses in which somebody else has made or changed something: it is said in plain words, with what to do.

use crate::hours::{publish, publish_readings};
use crate::target::{Target, on_each};

/// Words of DuckDB that say nothing to whoever has to act.
#[track_caller]
fn assert_plain(stderr: &str) {
    for word in ["Binder Error", "Catalog Error", "Parser Error", "Conversion Error"] {
        assert!(!stderr.contains(word), "{stderr}");
    }
}

#[test]
fn a_table_called_like_the_load_log_is_told_from_it() {
    for (made, says) in [
        (
            "CREATE TABLE load_log (n INTEGER)",
            "its table load_log is not the load log of this program, because it has no column dataset: rename it",
        ),
        (
            "CREATE VIEW load_log AS SELECT 1 AS dataset",
            "its load_log is a view, not a table of this program: rename it",
        ),
    ] {
        on_each("a foreign load log", |data_dir, target| {
            publish_readings(data_dir, "2025-09-02T10", "a", 2);
            target.change(data_dir, made);
            for arguments in ["readings", "readings --dry-run", "readings --verify"] {
                let run = target.run(data_dir, arguments).expect(1);
                assert!(run.stderr.contains(says), "{}", run.stderr);
                assert_plain(&run.stderr);
            }
        });
    }
}

#[test]
fn a_column_of_the_load_log_of_another_type_is_named_with_the_type_that_it_needs() {
    on_each("a changed load log", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        let time = if matches!(target, Target::MariaDb { .. }) { "DATETIME(6)" } else { "TIMESTAMP" };
        target.change(data_dir, &format!(
            "CREATE TABLE load_log (dataset VARCHAR(63) NOT NULL, window_start {time} NOT NULL, fingerprint VARCHAR(64), \
             row_count DATE, last_id BIGINT, loaded_at {time})"
        ));
        let run = target.run(data_dir, "readings").expect(1);
        let column = if matches!(target, Target::Sqlite | Target::Postgres { .. }) { "dataset" } else { "row_count" };
        assert!(run.stderr.contains(&format!("the column {column} of its table load_log is ")), "{}", run.stderr);
        assert!(run.stderr.contains(", which this program cannot use: make it "), "{}", run.stderr);
        assert_plain(&run.stderr);
    });
}

#[test]
fn a_view_called_like_the_data_set_is_not_loaded_into() {
    on_each("a view", |data_dir, target| {
        publish(data_dir, "n", "2025-09-02T10", "a", "SELECT 1 AS n");
        target.change(data_dir, "CREATE VIEW n AS SELECT 1 AS id, 2 AS window_start, 3 AS n");
        let run = target.run(data_dir, "n").expect(3);
        assert!(run.stderr.contains("n is a view in the warehouse, not a table: rename it"), "{}", run.stderr);
        assert_plain(&run.stderr);
    });
}

#[test]
fn a_column_of_the_tables_own_of_another_type_is_named() {
    on_each("a changed window_start", |data_dir, target| {
        publish(data_dir, "n", "2025-09-02T10", "a", "SELECT 1 AS n");
        target.change(data_dir, "CREATE TABLE n (id BIGINT PRIMARY KEY, window_start DATE NOT NULL, n INTEGER)");
        let run = target.run(data_dir, "n").expect(3);
        let says = "the column window_start of the table n is ";
        assert!(run.stderr.contains(says) && run.stderr.contains("ALTER TABLE"), "{}", run.stderr);
        assert_plain(&run.stderr);
    });
}

#[test]
fn a_column_that_must_have_a_value_and_is_not_the_data_sets_is_named() {
    on_each("a column without a default", |data_dir, target| {
        publish(data_dir, "n", "2025-09-02T10", "a", "SELECT 1 AS n");
        let time = if matches!(target, Target::MariaDb { .. }) { "DATETIME(6)" } else { "TIMESTAMP" };
        target.change(
            data_dir,
            &format!("CREATE TABLE n (id BIGINT PRIMARY KEY, window_start {time} NOT NULL, plant INTEGER NOT NULL)"),
        );
        if matches!(target, Target::Postgres { .. }) {
            target.change(data_dir, &format!("ALTER TABLE n OWNER TO {}", harness::USER));
        }
        let run = target.run(data_dir, "n").expect(3);
        let says = "if it is not the data set's, drop it";
        assert!(run.stderr.contains(says) && run.stderr.contains("plant"), "{}", run.stderr);
        assert_plain(&run.stderr);
    });
}

#[test]
fn a_table_called_like_the_data_set_in_upper_case_is_not_taken_for_one_that_passes() {
    on_each("a table in upper case", |data_dir, target| {
        publish(data_dir, "n", "2025-09-02T10", "a", "SELECT 1 AS n");
        target.change(data_dir, "CREATE TABLE \"N\" (x INTEGER)".replace('"', quote(target)).as_str());
        // Where it is another table, it is nobody's concern.
        let run = target.run(data_dir, "n");
        assert!(matches!(run.status, Some(0 | 3)), "{run:?}");
        if run.status == Some(3) {
            assert!(
                run.stderr.contains("the table n has no column window_start: it is not one of ours"),
                "{}",
                run.stderr
            );
        }
    });
}

fn quote(target: &Target) -> &'static str {
    if matches!(target, Target::MariaDb { .. }) { "`" } else { "\"" }
}

#[test]
fn a_column_that_somebody_has_added_with_values_of_its_own_is_left_alone() {
    on_each("a column of somebody else", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        target.run(data_dir, "readings").expect(0);
        target.change(data_dir, "ALTER TABLE readings ADD COLUMN plant VARCHAR(20) DEFAULT 'north'");
        publish_readings(data_dir, "2025-09-02T11", "a", 2);
        publish_readings(data_dir, "2025-09-02T10", "b", 3);
        target.run(data_dir, "readings").expect(0);
        let rows = target.query(data_dir, "SELECT count(*) FROM readings WHERE plant = 'north'");
        assert_eq!(rows, [["5"]]);
        assert_eq!(target.run(data_dir, "readings --verify").expect(0).stderr, "");
    });
}
