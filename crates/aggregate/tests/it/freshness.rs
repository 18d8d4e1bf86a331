//! What is made when: all that is out of date, and nothing else.

use harness::DataDir;
use layout::{Commit, Fingerprint, Lineage};

use crate::tree::{expire, file, identity, many_hours, planned, published, put, rows, run, telemetry};

#[test]
fn a_run_with_nothing_to_do_touches_no_file() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 30);
    run(&data_dir, "temperatures").expect(0);
    let files = published(&data_dir, "temperatures");
    assert_eq!(files.len(), 30);
    let before = (data_dir.files(), identity(&files));
    let again = run(&data_dir, "temperatures -v").expect(0);
    assert!(again.stderr.contains("temperatures: 0 hours made, 0 failed, 30 up to date"), "{}", again.stderr);
    assert_eq!(again.stderr.lines().count(), 1);
    assert_eq!((data_dir.files(), identity(&files)), before);
}

#[test]
fn late_data_makes_exactly_its_hour_anew() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 5);
    run(&data_dir, "temperatures").expect(0);
    let files = published(&data_dir, "temperatures");
    let before = identity(&files);
    telemetry(&data_dir, "2025-09-02T03", &[(1, Some(100.0), None, "Celsius"), (1, Some(3.0), None, "Celsius")], "2");
    assert_eq!(planned(&data_dir, "temperatures"), ["temperatures,2025-09-02T03,telemetry has changed"]);
    run(&data_dir, "temperatures").expect(0);
    let after = identity(&files);
    for hour in [0, 1, 2, 4] {
        assert_eq!(before[hour], after[hour]);
    }
    assert_eq!(rows(&files[3..4], "SELECT sensor_id, avg_temp, samples FROM {}"), ["1,51.5,2"]);
    assert_eq!(planned(&data_dir, "temperatures"), [""; 0]);
}

#[test]
fn another_reference_table_or_query_makes_all_hours_anew() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 3);
    let reasons = |arguments: &str| {
        let planned = planned(&data_dir, arguments).into_iter();
        planned.map(|line| line.split(',').nth(2).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let sensors = file(&data_dir, "sensors.csv", "sensor_id,name,location\n1,a,b\n");
    let temperatures = format!("temperatures --table sensors={sensors}");
    run(&data_dir, "temperatures").expect(0);
    assert_eq!(reasons(&temperatures), ["the table sensors has changed"; 3]);
    run(&data_dir, &temperatures).expect(0);
    assert_eq!(reasons(&temperatures), [""; 0]);
    file(&data_dir, "sensors.csv", "sensor_id,name,location\n1,a,c\n");
    assert_eq!(reasons(&temperatures), ["the table sensors has changed"; 3]);
    run(&data_dir, &temperatures).expect(0);
    let files = published(&data_dir, "temperatures");
    assert_eq!(rows(&files, "SELECT DISTINCT sensor_location FROM {} WHERE sensor_id = 1"), ["c"]);

    let sql = file(&data_dir, "rows.sql", "SELECT count(*) AS n FROM telemetry");
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    assert_eq!(reasons(&format!("--sql {sql}")), [""; 0]);
    file(&data_dir, "rows.sql", "SELECT count(*) + 1 AS n FROM telemetry");
    assert_eq!(reasons(&format!("--sql {sql}")), ["the query has changed"; 3]);
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    assert_eq!(rows(&published(&data_dir, "rows"), "FROM {}"), ["3"; 3]);
}

#[test]
fn a_dry_run_changes_nothing_and_lists_what_is_then_done() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 4);
    let before = data_dir.files();
    let plan = planned(&data_dir, "temperatures --from 2025-09-02T01 --to 2025-09-02T03");
    assert_eq!(plan, ["temperatures,2025-09-02T01,not made yet", "temperatures,2025-09-02T02,not made yet"]);
    assert_eq!(data_dir.files(), before);
    assert!(!data_dir.path().join("parquet/temperatures").exists());
    run(&data_dir, "temperatures --from 2025-09-02T01 --to 2025-09-02T03").expect(0);
    let made: Vec<_> = data_dir.files().into_iter().filter(|file| !before.contains(file)).collect();
    assert_eq!(made, ["parquet/temperatures/2025/09/02/01.parquet", "parquet/temperatures/2025/09/02/02.parquet"]);
}

#[test]
fn rebuild_makes_the_hours_of_the_range_anew_and_no_others() {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", 3);
    run(&data_dir, "temperatures").expect(0);
    let files = published(&data_dir, "temperatures");
    let before = identity(&files);
    run(&data_dir, "temperatures --from 2025-09-02T01 --to 2025-09-02T02").expect(0);
    assert_eq!(identity(&files), before);
    run(&data_dir, "temperatures --from 2025-09-02T01 --to 2025-09-02T02 --rebuild").expect(0);
    let after = identity(&files);
    assert_eq!((&before[0], &before[2]), (&after[0], &after[2]));
    assert_ne!(before[1].0, after[1].0);
}

#[test]
fn the_record_of_an_hour_names_what_it_was_made_of() {
    let data_dir = DataDir::new();
    let input = telemetry(&data_dir, "2025-09-02T10", &[(1, Some(1.0), None, "Celsius")], "1");
    let sensors = file(&data_dir, "sensors.csv", "sensor_id,name,location\n");
    run(&data_dir, &format!("temperatures --table sensors={sensors}")).expect(0);
    let commit = Commit::read(&published(&data_dir, "temperatures")[0]).unwrap();
    let Lineage::Query { inputs, tables, .. } = &commit.lineage else { panic!("{commit:?}") };
    let read = Commit::read(&input).unwrap().fingerprint;
    assert_eq!(*inputs, [("telemetry".parse().unwrap(), layout::Input::Hour(read))].into());
    assert_eq!(*tables, [("sensors".to_owned(), Fingerprint::of(b"sensor_id,name,location\n"))].into());
    assert_eq!(commit.rows, 1);
}

#[test]
fn an_hour_of_which_retention_removed_a_part_is_left_alone() {
    let data_dir = DataDir::new();
    let hours = ["2025-09-02T00", "2025-09-02T01", "2025-09-02T02"];
    let sql =
        file(&data_dir, "both.sql", "SELECT (SELECT count(*) FROM telemetry) AS t, (SELECT count(*) FROM doors) AS d");
    for hour in hours {
        telemetry(&data_dir, hour, &[(1, Some(1.0), None, "Celsius")], "1");
        put(&data_dir, "doors", hour, "SELECT 1 AS door", "1");
    }
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    let before = identity(&published(&data_dir, "both"));
    expire(&data_dir, "doors", hours[0]);
    assert_eq!(planned(&data_dir, &format!("--sql {sql} --rebuild")).len(), 2, "one input is gone");
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    assert_eq!(identity(&published(&data_dir, "both")), before);
    expire(&data_dir, "both", hours[1]);
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    assert_eq!(published(&data_dir, "both").len(), 2, "what retention removed is not made again");
}
