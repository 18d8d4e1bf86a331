//! Many hours at once, and each by itself: the same files.

use harness::DataDir;
use layout::Commit;

use crate::tree::{columns, file, many_hours, published, rows, run, telemetry};

const HOURS: i64 = 18;

/// The rows of each hour in their order, and the records.
fn content(data_dir: &DataDir, dataset: &str) -> Vec<(Vec<String>, Vec<String>, layout::Fingerprint)> {
    let files = published(data_dir, dataset).into_iter();
    files
        .map(|file| {
            let one = std::slice::from_ref(&file);
            (columns(&file), rows(one, "FROM {}"), Commit::read(&file).unwrap().fingerprint)
        })
        .collect()
}

fn data_dir() -> DataDir {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", HOURS);
    telemetry(&data_dir, "2025-09-02T03", &[(7, Some(1.0), None, "Kelvin"), (5, None, Some("x"), "Celsius")], "1");
    let hour = published(&data_dir, "telemetry")[4].display().to_string();
    crate::tree::put(&data_dir, "telemetry", "2025-09-02T05", &format!("FROM read_parquet('{hour}') WHERE false"), "1");
    data_dir
}

/// Ranges of so few hours that each is made by itself.
fn few_at_a_time() -> impl Iterator<Item = String> {
    let first: layout::Hour = "2025-09-02T00".parse().unwrap();
    (0..HOURS).step_by(6).map(move |at| format!("--from {} --to {}", first.plus(at), first.plus(at + 6)))
}

#[test]
fn hours_made_at_once_are_those_that_are_made_one_by_one() {
    let queries = [
        (
            "sums",
            "SELECT sensor_id, sum(sensor_id) AS total, getvariable('window_end') AS until FROM telemetry GROUP BY 1 ORDER BY total DESC",
        ),
        ("hot", "SELECT timestamp, measurement_value AS v FROM telemetry WHERE measurement_value > 0 ORDER BY v"),
        (
            "all_kinds",
            "SELECT measurement_unit, max(timestamp) AS last, count(*) AS n FROM telemetry GROUP BY ALL ORDER BY n, last",
        ),
        ("totals", "SELECT count(*) AS n FROM telemetry"),
        (
            "dates",
            "SELECT getvariable('window_date') AS day, sensor_id FROM (SELECT sensor_id FROM telemetry) AS t ORDER BY sensor_id",
        ),
    ];
    let (at_once, by_itself) = (data_dir(), data_dir());
    let sensors = "sensor_id,name,location\n1,a,b\n";
    for (name, sql) in queries {
        let explain =
            run(&at_once, &format!("--sql {} --explain", file(&at_once, &format!("{name}.sql"), sql))).expect(0);
        let how = if name == "totals" { "window by window" } else { "many hours at once" };
        assert!(explain.stdout.contains(how), "{name}: {}", explain.stdout);
        run(&at_once, &format!("--sql {}", file(&at_once, &format!("{name}.sql"), sql))).expect(0);
        let sql = file(&by_itself, &format!("{name}.sql"), sql);
        for range in few_at_a_time() {
            run(&by_itself, &format!("--sql {sql} {range}")).expect(0);
        }
        assert_eq!(content(&at_once, name), content(&by_itself, name), "{name}");
        assert_eq!(content(&at_once, name).len(), usize::try_from(HOURS).unwrap());
    }
    for data_dir in [&at_once, &by_itself] {
        file(data_dir, "sensors.csv", sensors);
    }
    let temperatures = |data_dir: &DataDir, range: &str| {
        run(data_dir, &format!("temperatures --table sensors={}/sensors.csv {range}", data_dir.path().display()))
            .expect(0)
    };
    temperatures(&at_once, "");
    for range in few_at_a_time() {
        temperatures(&by_itself, &range);
    }
    assert_eq!(content(&at_once, "temperatures"), content(&by_itself, "temperatures"));
}

#[test]
fn a_damaged_hour_among_many_is_named_and_the_others_are_done() {
    let data_dir = data_dir();
    let path = published(&data_dir, "telemetry")[10].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4..80].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let partial = run(&data_dir, "temperatures").expect(3);
    assert!(partial.stderr.contains("temperatures 2025-09-02T10"), "{}", partial.stderr);
    assert_eq!(partial.stderr.lines().count(), 1, "{}", partial.stderr);
    assert_eq!(published(&data_dir, "temperatures").len(), usize::try_from(HOURS).unwrap() - 1);
}

#[test]
fn files_of_an_older_query_with_other_types_are_not_read_as_if_they_were_alike() {
    for (name, more) in [("plain", ""), ("numbered", ", 0::BIGINT AS file_index")] {
        let data_dir = DataDir::new();
        many_hours(&data_dir, "2025-09-02T00", HOURS);
        let make = |x: &str, range: &str| {
            let sql = format!("SELECT sensor_id, {x} AS x{more} FROM telemetry GROUP BY sensor_id");
            run(&data_dir, &format!("--sql {} {range}", file(&data_dir, &format!("{name}.sql"), &sql))).expect(0);
        };
        make("count(*)", "");
        make("count(*) + 0.5::DOUBLE", "--from 2025-09-02T08");
        let sql =
            file(&data_dir, "sums.sql", &format!("SELECT sensor_id, sum(x) AS total FROM {name} GROUP BY sensor_id"));
        run(&data_dir, &format!("--sql {sql}")).expect(0);
        let total = |hour: usize| {
            rows(&published(&data_dir, "sums")[hour..=hour], "FROM (SELECT sensor_id, total::DOUBLE FROM {})")
        };
        let at_once: Vec<_> = (0..usize::try_from(HOURS).unwrap()).map(total).collect();
        for range in few_at_a_time() {
            run(&data_dir, &format!("--sql {sql} --rebuild {range}")).expect(0);
        }
        let by_itself: Vec<_> = (0..usize::try_from(HOURS).unwrap()).map(total).collect();
        assert_eq!(at_once, by_itself, "{name}");
        assert!(at_once[10][0].contains(".5"), "{:?}", at_once[10]);
    }
}
