//! What is made when: all that is out of date, and nothing else.

use harness::House;
use layout::{Commit, Fingerprint, Lineage};

use crate::tree::{expire, file, identity, many_hours, planned, published, put, rows, run, telemetry};

#[test]
fn a_run_with_nothing_to_do_touches_no_file() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 30);
    run(&house, "temperatures").expect(0);
    let files = published(&house, "temperatures");
    assert_eq!(files.len(), 30);
    let before = (house.files(), identity(&files));
    let again = run(&house, "temperatures -v").expect(0);
    assert!(again.stderr.contains("temperatures: 0 hours made, 0 failed, 30 up to date"), "{}", again.stderr);
    assert_eq!(again.stderr.lines().count(), 1);
    assert_eq!((house.files(), identity(&files)), before);
}

#[test]
fn late_data_makes_exactly_its_hour_anew() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 5);
    run(&house, "temperatures").expect(0);
    let files = published(&house, "temperatures");
    let before = identity(&files);
    telemetry(&house, "2025-09-02T03", &[(1, Some(100.0), None, "Celsius"), (1, Some(3.0), None, "Celsius")], "2");
    assert_eq!(planned(&house, "temperatures"), ["temperatures,2025-09-02T03,telemetry has changed"]);
    run(&house, "temperatures").expect(0);
    let after = identity(&files);
    for hour in [0, 1, 2, 4] {
        assert_eq!(before[hour], after[hour]);
    }
    assert_eq!(rows(&files[3..4], "SELECT sensor_id, avg_temp, samples FROM {}"), ["1,51.5,2"]);
    assert_eq!(planned(&house, "temperatures"), [""; 0]);
}

#[test]
fn another_reference_table_or_query_makes_all_hours_anew() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 3);
    let reasons = |arguments: &str| {
        let planned = planned(&house, arguments).into_iter();
        planned.map(|line| line.split(',').nth(2).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let sensors = file(&house, "sensors.csv", "sensor_id,name,location\n1,a,b\n");
    let temperatures = format!("temperatures --table sensors={sensors}");
    run(&house, "temperatures").expect(0);
    assert_eq!(reasons(&temperatures), ["the table sensors has changed"; 3]);
    run(&house, &temperatures).expect(0);
    assert_eq!(reasons(&temperatures), [""; 0]);
    file(&house, "sensors.csv", "sensor_id,name,location\n1,a,c\n");
    assert_eq!(reasons(&temperatures), ["the table sensors has changed"; 3]);
    run(&house, &temperatures).expect(0);
    let files = published(&house, "temperatures");
    assert_eq!(rows(&files, "SELECT DISTINCT sensor_location FROM {} WHERE sensor_id = 1"), ["c"]);

    let sql = file(&house, "rows.sql", "SELECT count(*) AS n FROM telemetry");
    run(&house, &format!("--sql {sql}")).expect(0);
    assert_eq!(reasons(&format!("--sql {sql}")), [""; 0]);
    file(&house, "rows.sql", "SELECT count(*) + 1 AS n FROM telemetry");
    assert_eq!(reasons(&format!("--sql {sql}")), ["the query has changed"; 3]);
    run(&house, &format!("--sql {sql}")).expect(0);
    assert_eq!(rows(&published(&house, "rows"), "FROM {}"), ["3"; 3]);
}

#[test]
fn a_dry_run_changes_nothing_and_lists_what_is_then_done() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 4);
    let before = house.files();
    let plan = planned(&house, "temperatures --from 2025-09-02T01 --to 2025-09-02T03");
    assert_eq!(plan, ["temperatures,2025-09-02T01,not made yet", "temperatures,2025-09-02T02,not made yet"]);
    assert_eq!(house.files(), before);
    assert!(!house.path().join("parquet/temperatures").exists());
    run(&house, "temperatures --from 2025-09-02T01 --to 2025-09-02T03").expect(0);
    let made: Vec<_> = house.files().into_iter().filter(|file| !before.contains(file)).collect();
    assert_eq!(made, ["parquet/temperatures/2025/09/02/01.parquet", "parquet/temperatures/2025/09/02/02.parquet"]);
}

#[test]
fn rebuild_makes_the_hours_of_the_range_anew_and_no_others() {
    let house = House::new();
    many_hours(&house, "2025-09-02T00", 3);
    run(&house, "temperatures").expect(0);
    let files = published(&house, "temperatures");
    let before = identity(&files);
    run(&house, "temperatures --from 2025-09-02T01 --to 2025-09-02T02").expect(0);
    assert_eq!(identity(&files), before);
    run(&house, "temperatures --from 2025-09-02T01 --to 2025-09-02T02 --rebuild").expect(0);
    let after = identity(&files);
    assert_eq!((&before[0], &before[2]), (&after[0], &after[2]));
    assert_ne!(before[1].0, after[1].0);
}

#[test]
fn the_record_of_an_hour_names_what_it_was_made_of() {
    let house = House::new();
    let input = telemetry(&house, "2025-09-02T10", &[(1, Some(1.0), None, "Celsius")], "1");
    let sensors = file(&house, "sensors.csv", "sensor_id,name,location\n");
    run(&house, &format!("temperatures --table sensors={sensors}")).expect(0);
    let commit = Commit::read(&published(&house, "temperatures")[0]).unwrap();
    let Lineage::Query { inputs, tables, .. } = &commit.lineage else { panic!("{commit:?}") };
    let read = Commit::read(&input).unwrap().fingerprint;
    assert_eq!(*inputs, [("telemetry".parse().unwrap(), read.into())].into());
    assert_eq!(*tables, [("sensors".to_owned(), Fingerprint::of(b"sensor_id,name,location\n"))].into());
    assert_eq!(commit.rows, 1);
}

#[test]
fn an_hour_of_which_retention_removed_a_part_is_left_alone() {
    let house = House::new();
    let hours = ["2025-09-02T00", "2025-09-02T01", "2025-09-02T02"];
    let sql =
        file(&house, "both.sql", "SELECT (SELECT count(*) FROM telemetry) AS t, (SELECT count(*) FROM doors) AS d");
    for hour in hours {
        telemetry(&house, hour, &[(1, Some(1.0), None, "Celsius")], "1");
        put(&house, "doors", hour, "SELECT 1 AS door", "1");
    }
    run(&house, &format!("--sql {sql}")).expect(0);
    let before = identity(&published(&house, "both"));
    expire(&house, "doors", hours[0]);
    assert_eq!(planned(&house, &format!("--sql {sql} --rebuild")).len(), 2, "one input is gone");
    run(&house, &format!("--sql {sql}")).expect(0);
    assert_eq!(identity(&published(&house, "both")), before);
    expire(&house, "both", hours[1]);
    run(&house, &format!("--sql {sql}")).expect(0);
    assert_eq!(published(&house, "both").len(), 2, "what retention removed is not made again");
}
