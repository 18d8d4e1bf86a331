//! What the warehouse itself does to the rows that are written to it is found before they are committed.

use harness::{DataDir, Postgres};

use crate::hours::{Expected, Seen, check, publish_readings};
use crate::target::{Target, on_each};

fn held(hours: &[&str]) -> Expected {
    hours.iter().map(|hour| ((*hour).to_owned(), ("a".to_owned(), 3))).collect()
}

/// Loads two hours, of one of which the table changes the rows by `trigger`.
fn meets(data_dir: &DataDir, target: &Target, trigger: &str, drop: &str, says: &str) {
    publish_readings(data_dir, "2025-09-02T10", "a", 3);
    target.run(data_dir, "readings").expect(0);
    target.change(data_dir, trigger);
    publish_readings(data_dir, "2025-09-02T11", "a", 3);
    publish_readings(data_dir, "2025-09-02T12", "a", 3);
    for _ in 0..2 {
        let run = target.run(data_dir, "readings").expect(3);
        assert!(run.stderr.contains("readings 2025-09-02T11: "), "{}", run.stderr);
        assert!(
            run.stderr.contains("11.parquet: nothing was committed, because the warehouse holds"),
            "{}",
            run.stderr
        );
        assert!(run.stderr.contains(says), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        check(&target.readings(data_dir), &held(&["2025-09-02T10", "2025-09-02T12"]), &mut Seen::new());
        target.run(data_dir, "readings --verify").expect(0);
    }
    target.change(data_dir, drop);
    target.run(data_dir, "readings").expect(0);
    check(&target.readings(data_dir), &held(&["2025-09-02T10", "2025-09-02T11", "2025-09-02T12"]), &mut Seen::new());
}

#[test]
fn rows_that_a_trigger_drops_are_found_before_the_commit() {
    let Some(server) = Postgres::shared("a trigger that drops rows") else { return };
    meets(
        &DataDir::new(),
        &Target::Postgres { server, database: server.database() },
        "CREATE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.note LIKE '2025-09-02T11 a {1}%' THEN RETURN NULL; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER drops BEFORE INSERT ON readings FOR EACH ROW EXECUTE FUNCTION drops()",
        "DROP TRIGGER drops ON readings",
        "in its number of rows, taken, sensor_id, value, note: a trigger",
    );
}

#[test]
fn rows_that_a_trigger_changes_are_found_before_the_commit() {
    on_each("a trigger that changes rows", |data_dir, target| match target {
        Target::Postgres { .. } => meets(
            data_dir,
            target,
            "CREATE FUNCTION changes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.note LIKE '2025-09-02T11%' THEN NEW.value := round(NEW.value); END IF; RETURN NEW; END $$; \
             CREATE TRIGGER changes BEFORE INSERT ON readings FOR EACH ROW EXECUTE FUNCTION changes()",
            "DROP TRIGGER changes ON readings",
            "in value: a trigger",
        ),
        Target::MariaDb { .. } => meets(
            data_dir,
            target,
            "CREATE TRIGGER changes BEFORE INSERT ON readings FOR EACH ROW \
             SET NEW.value = IF(NEW.note LIKE '2025-09-02T11%', NEW.value + 1, NEW.value)",
            "DROP TRIGGER changes",
            "in value: a trigger",
        ),
        Target::Sqlite => meets(
            data_dir,
            target,
            "CREATE TRIGGER changes AFTER INSERT ON readings WHEN NEW.note LIKE '2025-09-02T11%' \
             BEGIN UPDATE readings SET value = 7 WHERE id = NEW.id; END",
            "DROP TRIGGER changes",
            "in value: a trigger",
        ),
        // A DuckDB file has no triggers.
        Target::File => {}
    });
}
