//! What `housekeep status` shows, to people and to programs.

use std::fs;
use std::time::Duration;

use crate::common::{DataDir, ago, name, objects, records};
use layout::{Area, DatasetLock, Fingerprint};
use serde_json::{Value, json};

/// The object of a kind and name.
fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && (kind == "disk" || object["name"] == name));
    found.unwrap_or_else(|| panic!("no {kind} {name} in {objects:?}"))
}

#[test]
fn a_folder_that_may_be_the_mount_point_of_a_missing_disk_is_named() {
    let data_dir = DataDir::new();
    let run = data_dir.run("status").expect(0);
    assert!(run.stderr.contains("there is nothing of a data directory in it"), "{}", run.stderr);
}

#[test]
fn an_empty_house_has_a_disk_and_nothing_else() {
    let data_dir = DataDir::new();
    fs::create_dir(data_dir.data.path().join("raw")).unwrap();
    let run = data_dir.run("status").expect(0);
    assert!(run.stdout.starts_with("Disk\nraw  quarantine  parquet"), "{}", run.stdout);
    assert_eq!(run.stderr, "");
    let objects = objects(&data_dir.run("status --format ndjson").expect(0));
    assert_eq!(objects.len(), 1);
    assert_eq!(
        (&objects[0]["kind"], &objects[0]["raw_bytes"], &objects[0]["full_at"]),
        (&json!("disk"), &json!(0), &Value::Null)
    );
    assert!(objects[0]["free_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn streams_show_what_waits() {
    let data_dir = DataDir::new();
    let open = data_dir.open(Area::Raw, "telemetry", ago(1), b"{\"a\": 1}\n");
    data_dir.seal("telemetry", ago(3));
    data_dir.seal("telemetry", ago(5));
    // compact died before it deleted this one, which is in its hour's file.
    let listed = data_dir.seal("telemetry", ago(9));
    let made_of = layout::SegmentCount { name: listed.name.clone(), lines: 1, damaged: 0 };
    data_dir.publish("telemetry", ago(9), 1, layout::Lineage::Segments(vec![made_of]));
    let objects = objects(&data_dir.run("status --format ndjson").expect(0));
    assert_eq!(
        find(&objects, "stream", "telemetry"),
        &json!({"kind": "stream", "name": "telemetry", "open_segments": 1, "open_bytes": 9, "sealed_segments": 2,
                "sealed_bytes": 6, "oldest_sealed": ago(5).to_string(), "last": ago(1).to_string(),
                "described_by": "a file that comes with the programs"})
    );
    assert_eq!(find(&objects, "dataset", "telemetry")["hours_behind"], 8);
    assert_eq!(find(&objects, "disk", "")["raw_bytes"], 18);
    assert!(open.path().exists());
}

#[test]
fn streams_with_a_file_and_no_data_and_with_data_and_no_file_are_shown() {
    let data_dir = DataDir::new();
    let folder = data_dir.tree.root().join("streams");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("press.toml"), "[columns]\nv = 'int'\n").unwrap();
    fs::write(folder.join("wrong.toml"), "[columns]\nv = 'flaot'\n").unwrap();
    data_dir.seal("unknown", ago(3));
    let objects = objects(&data_dir.run("status --format ndjson").expect(0));
    for (name, words) in
        [("press", "streams/press.toml"), ("wrong", "which is wrong"), ("unknown", "nothing: its data")]
    {
        let described = find(&objects, "stream", name)["described_by"].as_str().unwrap();
        assert!(described.contains(words), "{described}");
    }
}

#[test]
fn data_sets_show_what_is_missing_out_of_date_and_not_loaded() {
    let data_dir = DataDir::new();
    let inputs: Vec<_> = [9, 8, 7, 6].map(|hours| (ago(hours), data_dir.stream("telemetry", ago(hours), 10))).into();
    let older = Fingerprint::of(b"older");
    let first = data_dir.aggregate("temperatures", inputs[0].0, &[("telemetry", &inputs[0].1)]);
    let second = data_dir.aggregate("temperatures", inputs[1].0, &[("telemetry", &older)]);
    data_dir.load("temperatures", inputs[0].0, &first);
    let before = objects(&data_dir.run("status --format ndjson").expect(0));
    let temperatures = find(&before, "dataset", "temperatures");
    assert_eq!(temperatures["inputs"], json!(["telemetry"]));
    assert_eq!((&temperatures["missing"], &temperatures["out_of_date"]), (&json!(2), &json!(1)));
    assert_eq!((&temperatures["hours_behind"], &temperatures["rows"]), (&json!(2), &json!(2)));
    assert_eq!((&temperatures["not_loaded"], &temperatures["loaded_stale"]), (&json!(1), &json!(0)));
    let telemetry = find(&before, "dataset", "telemetry");
    assert_eq!((&telemetry["hours"], &telemetry["rows"], &telemetry["expired"]), (&json!(4), &json!(40), &json!(0)));
    assert_eq!((&telemetry["first"], &telemetry["last"]), (&json!(ago(9).to_string()), &json!(ago(6).to_string())));
    assert_eq!((&telemetry["not_loaded"], &telemetry["inputs"]), (&Value::Null, &Value::Null));

    data_dir.load("temperatures", inputs[1].0, &older);
    data_dir.run("clean --keep-parquet telemetry=9h").expect(0);
    let after = objects(&data_dir.run("status --format ndjson").expect(0));
    let temperatures = find(&after, "dataset", "temperatures");
    assert_eq!((&temperatures["not_loaded"], &temperatures["loaded_stale"]), (&json!(0), &json!(1)));
    assert_eq!(find(&after, "dataset", "telemetry")["expired"], 1);
    data_dir.load("temperatures", inputs[1].0, &second);
    let after = objects(&data_dir.run("status --format ndjson").expect(0));
    assert_eq!(find(&after, "dataset", "temperatures")["loaded_stale"], 0);
}

#[test]
fn the_quarantine_is_counted_by_reason_while_it_is_written() {
    let data_dir = DataDir::new();
    data_dir.quarantine("telemetry", ago(5), &["not_json", "wrong_type", "not_json"]);
    let mut open = records(&["torn"]);
    open.extend_from_slice(b"what is this\n{\"reason\": \"half");
    let _open = data_dir.open(Area::Quarantine, "telemetry", ago(1), &open);
    let objects = objects(&data_dir.run("status --format ndjson").expect(0));
    let found = find(&objects, "quarantine", "telemetry");
    assert_eq!(found["reasons"], json!({"not_json": 2, "torn": 1, "unreadable": 1, "wrong_type": 1}));
    assert_eq!(
        (&found["records"], &found["files"], &found["first"]),
        (&json!(5), &json!(2), &json!(ago(5).to_string()))
    );
}

#[test]
fn a_damaged_file_is_shown_and_the_rest_as_well() {
    let data_dir = DataDir::new();
    data_dir.stream("telemetry", ago(5), 7);
    let damaged = data_dir.tree.parquet(&name("telemetry"), ago(30));
    fs::create_dir_all(damaged.parent().unwrap()).unwrap();
    fs::write(&damaged, "").unwrap();
    let foreign = data_dir.tree.parquet(&name("telemetry"), ago(31));
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    let sql = format!("COPY (SELECT 1 AS n) TO '{}' (FORMAT parquet)", foreign.display());
    duckdb::Connection::open_in_memory().unwrap().execute_batch(&sql).unwrap();
    let run = data_dir.run("status --format ndjson").expect(3);
    assert!(
        run.stderr.contains(damaged.to_str().unwrap()) && run.stderr.contains("no commit record"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stderr.matches("put it back from a backup").count(), 2, "{}", run.stderr);
    let objects = objects(&run);
    assert_eq!(objects.iter().filter(|object| object["kind"] == "damaged").count(), 2);
    let telemetry = find(&objects, "dataset", "telemetry");
    assert_eq!((&telemetry["hours"], &telemetry["rows"]), (&json!(3), &json!(7)));
    assert!(data_dir.run("status").expect(3).stdout.contains("\nDamaged files\n"));
}

#[test]
fn people_get_small_tables() {
    let data_dir = DataDir::new();
    let input = data_dir.stream("telemetry", ago(5), 7);
    data_dir.aggregate("temperatures", ago(5), &[("telemetry", &input)]);
    data_dir.quarantine("telemetry", ago(5), &["not_json", "torn"]);
    data_dir.orphan(Area::Parquet, "telemetry", ago(5), Duration::ZERO);
    let lock = DatasetLock::try_acquire(&data_dir.tree, &name("telemetry")).unwrap();
    let table = data_dir.run("status").expect(0).stdout;
    drop(lock);
    let lines: Vec<Vec<_>> =
        table.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    let hour = ago(5).to_string();
    let size = |dataset: &str| {
        let bytes = data_dir.tree.parquet(&name(dataset), ago(5)).metadata().unwrap().len();
        format!("{bytes} B")
    };
    let expected: [&[&str]; 8] = [
        &["Streams"],
        &["name", "open segments", "open", "sealed segments", "sealed", "last"],
        &["Data sets"],
        &[
            "name",
            "inputs",
            "hours",
            "rows",
            "bytes",
            "first",
            "last",
            "expired",
            "missing",
            "out of date",
            "hours behind",
        ],
        &["telemetry", "1", "7", &size("telemetry"), &hour, &hour, "0", "0"],
        &["temperatures", "telemetry", "1", "1", &size("temperatures"), &hour, &hour, "0", "0", "0", "0"],
        &["Unpublished files"],
        &["parquet", "telemetry", "1", "0 B"],
    ];
    for line in &expected[2..] {
        assert!(lines.iter().any(|found| found == line), "{line:?} is not in\n{table}");
    }
    assert!(
        lines.iter().any(|found| found.first() == Some(&"telemetry") && found.last() == Some(&"not_json 1, torn 1")),
        "{table}"
    );
    assert!(table.contains("\n\nDisk\nraw  quarantine"), "{table}");
}

#[test]
fn csv_has_a_line_for_each_property() {
    let data_dir = DataDir::new();
    data_dir.stream("telemetry", ago(5), 7);
    data_dir.quarantine("telemetry", ago(5), &["not_json", "torn"]);
    let csv = data_dir.run("status --format csv").expect(0).stdout;
    assert!(csv.starts_with("kind,name,property,value\n"), "{csv}");
    assert!(csv.contains("\ndataset,telemetry,rows,7\n"), "{csv}");
    assert!(csv.contains("\nquarantine,telemetry,reasons,\"not_json 1, torn 1\"\n"), "{csv}");
    assert!(csv.contains("\ndisk,,free_bytes,"), "{csv}");
}

#[test]
fn the_disk_fills_at_the_rate_of_what_arrived_whatever_hour_it_belongs_to() {
    let data_dir = DataDir::new();
    let old: layout::Hour = "2010-01-01T00".parse().unwrap();
    let input = data_dir.stream("telemetry", old, 7);
    data_dir.aggregate("temperatures", old, &[("telemetry", &input)]);
    let mut open = data_dir.open(Area::Raw, "telemetry", old, b"{}\n");
    open.append(&mut [std::io::IoSlice::new(&vec![b'\n'; 100_000])]).unwrap();
    // Long ago.
    let segment: layout::SegmentName = "01AAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
    let made_of = layout::SegmentCount { name: segment, lines: 10_000, damaged: 0 };
    data_dir.publish("telemetry", old.plus(1), 10_000, layout::Lineage::Segments(vec![made_of]));
    let objects = objects(&data_dir.run("status --format ndjson").expect(0));
    let disk = find(&objects, "disk", "");
    let parquet = |dataset, hour| data_dir.tree.parquet(&name(dataset), hour).metadata().unwrap().len();
    let (new, other) = (parquet("telemetry", old), parquet("telemetry", old.plus(1)));
    let derived = parquet("temperatures", old) * new / (new + other);
    assert_eq!(disk["growth_bytes"], 100_003 + new + derived);
    assert!(disk["full_in_days"].as_u64().is_some() && disk["full_at"].is_string());
}

#[test]
fn a_warehouse_that_is_in_use_is_left_out() {
    let data_dir = DataDir::new();
    let fingerprint = data_dir.stream("telemetry", ago(5), 7);
    data_dir.load("telemetry", ago(5), &fingerprint);
    let open = duckdb::Connection::open(data_dir.tree.warehouse()).unwrap();
    let run = data_dir.run("status --format ndjson").expect(0);
    assert!(run.stderr.contains("what is loaded is not shown"), "{}", run.stderr);
    assert_eq!(find(&objects(&run), "dataset", "telemetry")["not_loaded"], Value::Null);
    drop(open);
    let run = data_dir.run("status --format ndjson").expect(0);
    assert_eq!(find(&objects(&run), "dataset", "telemetry")["not_loaded"], 0);
    assert!(find(&objects(&run), "disk", "")["warehouse_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn a_sqlite_warehouse_is_asked_as_well() {
    let data_dir = DataDir::new();
    let fingerprints = [900, 9].map(|hours| data_dir.stream("telemetry", ago(hours), 7));
    let asked = |command: &str| data_dir.run(&format!("{command} --target sqlite --format ndjson")).expect(0);
    assert_eq!(find(&objects(&asked("status")), "dataset", "telemetry")["not_loaded"], Value::Null);
    data_dir.load_into(warehouse::WarehouseKind::Sqlite, "telemetry", ago(9), &fingerprints[1]);
    let status = objects(&asked("status"));
    assert_eq!(find(&status, "dataset", "telemetry")["not_loaded"], 1);
    assert!(find(&status, "disk", "")["warehouse_bytes"].as_u64().unwrap() > 0);
    asked("clean --keep-parquet 30d");
    assert!(data_dir.has("telemetry", ago(900)), "the warehouse does not hold it yet");
    data_dir.load_into(warehouse::WarehouseKind::Sqlite, "telemetry", ago(900), &fingerprints[0]);
    asked("clean --keep-parquet 30d");
    assert!(!data_dir.has("telemetry", ago(900)) && data_dir.has("telemetry", ago(9)));
}

#[test]
fn what_another_data_directory_has_loaded_is_not_loaded() {
    let (data_dir, other) = (DataDir::new(), DataDir::new());
    let fingerprint = data_dir.stream("telemetry", ago(900), 7);
    other.load("telemetry", ago(900), &fingerprint);
    let warehouse = other.data.path().join("warehouse.duckdb");
    let run =
        |command: &str| data_dir.run(&format!("{command} --file {} --format ndjson", warehouse.display())).expect(0);
    assert_eq!(find(&objects(&run("status")), "dataset", "telemetry")["not_loaded"], 1);
    run("clean --keep-parquet 30d");
    assert!(data_dir.has("telemetry", ago(900)), "the warehouse does not hold it");
}

#[test]
fn status_can_be_taken_while_everything_changes() {
    let data_dir = DataDir::new();
    let seen = harness::DataDir::at(data_dir.data.path());
    let looking = std::thread::spawn(move || {
        for _ in 0..20 {
            let run = seen.run("housekeep", "status");
            assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""));
        }
    });
    let mut hours = (0..200).cycle().map(ago);
    while !looking.is_finished() {
        let hour = hours.next().unwrap();
        let sealed = data_dir.seal("telemetry", hour);
        let quarantined = data_dir.quarantine("telemetry", hour, &["torn"]);
        layout::remove_segments(&[sealed]).unwrap();
        data_dir.tree.remove_unneeded(&quarantined.path).unwrap();
    }
    looking.join().unwrap();
}
