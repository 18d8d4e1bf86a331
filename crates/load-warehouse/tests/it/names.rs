//! The names of columns: one rule for every kind of warehouse.

use crate::hours::publish;
use crate::target::on_each;

#[test]
fn a_column_that_changes_between_upper_and_lower_case_is_the_same_column() {
    on_each("case of names", |data_dir, target| {
        publish(data_dir, "n", "2025-09-02T10", "a", "SELECT 1 AS \"Ärger\", 'x' AS \"Value\"");
        publish(data_dir, "n", "2025-09-02T11", "a", "SELECT 'y' AS value, 2 AS \"ärger\"");
        target.run(data_dir, "n --to 2025-09-02T11").expect(0);
        target.run(data_dir, "n").expect(0);
        let rows = || target.query(data_dir, "SELECT * FROM n ORDER BY id");
        let row = |id: &str, hour: &str, n: &str, text: &str| {
            vec![id.into(), format!("2025-09-02 {hour}:00:00"), n.into(), text.into()]
        };
        assert_eq!(rows(), [row("1", "10", "1", "x"), row("2", "11", "2", "y")]);
        assert_eq!(target.run(data_dir, "n --verify").expect(0).stderr, "");
        publish(data_dir, "n", "2025-09-02T10", "b", "SELECT unnest([1, 3]) AS \"ärger\", 'x' AS value");
        target.run(data_dir, "n").expect(0);
        assert_eq!(rows(), [row("1", "10", "1", "x"), row("2", "11", "2", "y"), row("3", "10", "3", "x")]);
        assert_eq!(target.run(data_dir, "n --verify").expect(0).stderr, "");
    });
}

#[test]
fn a_name_that_some_warehouse_cannot_have_is_refused_before_anything_is_made() {
    let names = [
        ("long".to_owned(), format!("1 AS \"{}\"", "x".repeat(64))),
        ("of Unicode".to_owned(), format!("1 AS \"{}\"", "ä".repeat(32))),
        ("emoji".to_owned(), "1 AS \"heiß 😀\"".to_owned()),
        ("space".to_owned(), "1 AS \"a \"".to_owned()),
        ("control".to_owned(), "1 AS \"a\tb\"".to_owned()),
        ("case".to_owned(), "1 AS \"Ärger\", 2 AS \"ärger\"".to_owned()),
    ];
    on_each("odd names", |data_dir, target| {
        for (hour, (what, columns)) in names.iter().enumerate() {
            publish(data_dir, "n", &format!("2025-09-02T{hour:02}"), what, &format!("SELECT 1 AS n, {columns}"));
        }
        for key in ["", " --key n"] {
            let run = target.run(data_dir, &format!("n{key}")).expect(3);
            assert_eq!(
                run.stderr.matches(": give it another name in the query, by AS name").count(),
                6,
                "{}",
                run.stderr
            );
        }
        publish(data_dir, "n", "2025-09-03T00", "a", "SELECT 7 AS n");
        target.run(data_dir, "n").expect(3);
        let row = ["1", "2025-09-03 00:00:00", "7"].map(str::to_owned).to_vec();
        assert_eq!(target.query(data_dir, "SELECT * FROM n"), [row]);
    });
}
