//! A data set in a warehouse belongs to one data directory.

use std::process::{Command, Stdio};

use harness::{DataDir, Run};

use crate::hours::{publish, publish_readings};
use crate::target::{Target, on_each};

fn over(target: &Target, other: &DataDir, data_dir: &DataDir, arguments: &str) -> Run {
    Run::of(target.program_over(other, data_dir).args(arguments.split_whitespace()))
}

/// The statement that a refusal names.
#[track_caller]
fn statement(run: &Run) -> &str {
    let (_, statement) = run.stderr.split_once("run there: ").unwrap_or_else(|| panic!("{}", run.stderr));
    statement.lines().next().unwrap()
}

#[test]
fn another_data_directory_is_refused_until_the_data_set_is_given_over_to_it() {
    on_each("another data directory", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        publish_readings(data_dir, "2025-09-02T11", "a", 2);
        target.run(data_dir, "readings").expect(0);
        let before = target.picture(data_dir, &["readings"]);
        let other = DataDir::new();
        publish_readings(&other, "2025-09-02T10", "b", 3);
        for arguments in ["readings --dry-run", "readings", "--all", "readings --verify", "readings --head 1"] {
            let run = over(target, &other, data_dir, arguments).expect(1);
            let whose = std::fs::read_to_string(data_dir.path().join("tree-id")).unwrap();
            let whose = format!("its table readings is that of the data directory with the tree-id {}", whose.trim());
            assert!(run.stderr.contains(&whose) && run.stderr.lines().count() == 1, "{}", run.stderr);
            assert_eq!(
                (run.stdout.lines().count() <= 1, target.picture(data_dir, &["readings"])),
                (true, before.clone())
            );
        }
        let refused = over(target, &other, data_dir, "readings").expect(1);
        target.change(data_dir, statement(&refused));
        over(target, &other, data_dir, "readings").expect(0);
        let rows =
            target.query(data_dir, "SELECT window_start, count(*) FROM readings GROUP BY window_start ORDER BY 1");
        assert_eq!(rows, [["2025-09-02 10:00:00", "3"], ["2025-09-02 11:00:00", "2"]]);
        assert!(target.run(data_dir, "readings").expect(1).stderr.contains("tree-id"));
    });
}

#[test]
fn two_data_directories_may_share_a_warehouse_that_have_different_data_sets() {
    on_each("a shared warehouse", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        target.run(data_dir, "readings").expect(0);
        let before = target.picture(data_dir, &["readings"]);
        let other = DataDir::new();
        publish_readings(&other, "2025-09-02T10", "b", 3);
        publish(&other, "numbers", "2025-09-02T10", "a", "SELECT 1 AS n");
        let run = over(target, &other, data_dir, "--all").expect(3);
        assert!(run.stderr.contains("readings: ") && run.stderr.lines().count() == 1, "{}", run.stderr);
        assert_eq!(target.query(data_dir, "SELECT n FROM numbers"), [["1"]]);
        assert_eq!(target.picture(data_dir, &["readings"])[0], before[0]);
        over(target, &other, data_dir, "numbers --verify").expect(0);
        let verified = over(target, &other, data_dir, "--all --verify --format csv").expect(3);
        assert!(verified.stdout.ends_with("\nnumbers,2025-09-02T10,1,1,ok\n"), "{}", verified.stdout);
        // What only the other directory has is no concern of this one.
        assert_eq!(target.run(data_dir, "--all --verify").expect(0).stderr, "");
        assert_eq!(target.run(data_dir, "--all").expect(0).stderr, "");
    });
}

#[test]
fn of_two_data_directories_that_load_at_once_one_gets_the_table() {
    on_each("two directories at once", |data_dir, target| {
        let other = DataDir::new();
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        publish_readings(&other, "2025-09-02T10", "b", 3);
        let start = |mut command: Command| command.arg("readings").stderr(Stdio::piped()).spawn().unwrap();
        let loads = [start(target.program(data_dir)), start(target.program_over(&other, data_dir))];
        let runs = loads.map(|load| Run::from(load.wait_with_output().unwrap()));
        let rows = target.query(data_dir, "SELECT count(*) FROM readings");
        let (winner, loser) = if rows == [["2"]] { (&runs[0], &runs[1]) } else { (&runs[1], &runs[0]) };
        assert_eq!(winner.status, Some(0), "{runs:?}");
        assert!(loser.status == Some(1) && loser.stderr.contains("tree-id"), "{runs:?}");
    });
}

#[test]
fn a_data_directory_that_moved_or_was_put_back_goes_on() {
    on_each("a moved directory", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        target.run(data_dir, "readings").expect(0);
        let above = DataDir::new();
        let moved = DataDir::at(&above.path().join("moved"));
        let copy = Command::new("cp").arg("-a").arg(data_dir.path()).arg(moved.path()).status().unwrap();
        assert!(copy.success());
        publish_readings(&moved, "2025-09-02T10", "b", 3);
        publish_readings(&moved, "2025-09-02T11", "a", 1);
        over(target, &moved, data_dir, "readings").expect(0);
        assert_eq!(target.query(data_dir, "SELECT count(*) FROM readings"), [["4"]]);
    });
}

#[test]
fn a_warehouse_that_names_no_data_directory_goes_to_the_one_that_has_what_was_loaded() {
    on_each("a warehouse without owner", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        publish_readings(data_dir, "2025-09-02T11", "a", 2);
        target.run(data_dir, "readings").expect(0);
        let index = "DROP INDEX IF EXISTS \"readings.window_start\";";
        let index = if matches!(target, Target::File) { index } else { "" };
        target.change(data_dir, &format!("{index} ALTER TABLE load_log DROP COLUMN tree"));
        std::fs::remove_file(data_dir.path().join("tree-id")).unwrap();
        let log = target.query(data_dir, "SELECT * FROM load_log ORDER BY window_start");
        for hours in [&["2025-09-02T10"][..], &["2025-09-03T10"]] {
            let other = DataDir::new();
            for hour in hours {
                publish_readings(&other, hour, "b", 3);
            }
            for arguments in ["readings --dry-run", "readings", "readings --verify"] {
                let run = over(target, &other, data_dir, arguments).expect(1);
                let says = "is that of a data directory that has none of the versions that were loaded";
                assert!(run.stderr.contains(says), "{}", run.stderr);
            }
        }
        assert_eq!(target.query(data_dir, "SELECT count(*) FROM readings"), [["4"]]);
        publish_readings(data_dir, "2025-09-02T10", "b", 3);
        target.run(data_dir, "readings").expect(0);
        let after = target.query(data_dir, "SELECT * FROM load_log ORDER BY window_start");
        let id = std::fs::read_to_string(data_dir.path().join("tree-id")).unwrap();
        assert_eq!(after[1][..6], log[1], "the line of the hour that stayed");
        assert!(after.iter().all(|line| line[6] == id.trim()), "{after:?}");
        assert_eq!(target.run(data_dir, "readings --verify").expect(0).stderr, "");
    });
}

#[test]
fn a_warehouse_of_an_earlier_version_is_taken_over_as_it_is() {
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/loaded_by_0.1.0.tar.gz");
    for target in [Target::File, Target::Sqlite] {
        let data_dir = DataDir::new();
        let unpacked = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(data_dir.path()).status().unwrap();
        assert!(unpacked.success());
        let rows = |table: &str| target.query(&data_dir, &format!("SELECT * FROM {table} ORDER BY id"));
        let before = [rows("telemetry"), rows("temperatures")];
        let due = target.run(&data_dir, "--all --dry-run --format csv").expect(0);
        let hours = "telemetry,2025-09-02T11,new,3\ntemperatures,2025-09-02T11,new,3\n";
        assert_eq!(due.stdout, format!("dataset,hour,version,rows\n{hours}"));
        target.run(&data_dir, "--all").expect(0);
        for (table, before) in ["telemetry", "temperatures"].into_iter().zip(&before) {
            let after = rows(table);
            assert_eq!((&after[..before.len()], after.len()), (&before[..], before.len() + 3), "{table}");
        }
        assert_eq!(target.run(&data_dir, "--all --verify").expect(0).stderr, "");
        let other = DataDir::new();
        publish(&other, "telemetry", "2025-09-02T10", "b", "SELECT 1 AS sensor_id");
        assert!(over(&target, &other, &data_dir, "telemetry").expect(1).stderr.contains("tree-id"));
    }
}

#[test]
fn runs_that_find_a_load_log_of_an_earlier_version_at_once_add_its_column_once() {
    on_each("an old load log", |data_dir, target| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        target.run(data_dir, "readings").expect(0);
        for hour in 11..15 {
            let index = "DROP INDEX IF EXISTS \"readings.window_start\";";
            let index = if matches!(target, Target::File) { index } else { "" };
            target.change(data_dir, &format!("{index} ALTER TABLE load_log DROP COLUMN tree"));
            publish_readings(data_dir, &format!("2025-09-02T{hour}"), "a", 2);
            let start =
                || target.program(data_dir).arg("readings").args(["--wait", "1m"]).stderr(Stdio::piped()).spawn();
            let loads = [start(), start(), start()];
            for load in loads {
                Run::from(load.unwrap().wait_with_output().unwrap()).expect(0);
            }
        }
        assert_eq!(target.query(data_dir, "SELECT count(*) FROM readings"), [["10"]]);
    });
}
