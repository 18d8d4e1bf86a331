//! Many hours at once, and each by itself: the same files.

use harness::DataDir;
use layout::Commit;

use crate::tree::{columns, file, many_hours, published, put, rows, run, telemetry};

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
    put(&data_dir, "telemetry", "2025-09-02T05", &format!("FROM read_parquet('{hour}') WHERE false"), "1");
    data_dir
}

/// Ranges of so few hours that each is made by itself.
fn few_at_a_time() -> impl Iterator<Item = String> {
    let first: layout::Hour = "2025-09-02T00".parse().unwrap();
    (0..HOURS).step_by(6).map(move |at| format!("--from {} --to {}", first.plus(at), first.plus(at + 6)))
}

/// Queries with the names of their data sets, and whether they are run over many hours at once. What a query does with
/// the rows of an hour must not reach into the next, whatever it is.
const QUERIES: [(&str, bool, &str); 25] = [
    (
        "hottest",
        true,
        "SELECT window_start AS hour, timestamp AS t, measurement_value AS v FROM telemetry WHERE measurement_value > 0 ORDER BY v DESC",
    ),
    (
        "sums_of_sums",
        true,
        "SELECT t.window_start AS hour, sum(n) AS all_of_it FROM (SELECT window_start, sensor_id, count(*) AS n FROM telemetry GROUP BY 1, 2) AS t \
         GROUP BY t.window_start HAVING sum(n) > 0",
    ),
    (
        "distinct_on",
        false,
        "SELECT DISTINCT ON (sensor_id) sensor_id, window_start AS hour FROM telemetry ORDER BY sensor_id",
    ),
    (
        "once_each",
        false,
        "SELECT sensor_id, window_start AS hour FROM telemetry UNION SELECT -1, window_start FROM telemetry ORDER BY sensor_id",
    ),
    (
        "cubed",
        false,
        "SELECT window_start AS hour, sensor_id, count(*) AS n FROM telemetry GROUP BY CUBE (window_start, sensor_id) HAVING hour IS NOT NULL ORDER BY n, sensor_id",
    ),
    (
        "sums",
        true,
        "SELECT sensor_id, sum(sensor_id) AS total, window_start AS hour FROM telemetry GROUP BY ALL ORDER BY total DESC",
    ),
    (
        "hot",
        false,
        "SELECT timestamp, measurement_value AS v FROM telemetry WHERE measurement_value > 0 AND timestamp >= window_start ORDER BY v",
    ),
    (
        "all_kinds",
        false,
        "SELECT measurement_unit, max(timestamp - window_start) AS last, count(*) AS n FROM telemetry GROUP BY ALL ORDER BY n, last",
    ),
    (
        "dates",
        false,
        "SELECT window_start::DATE AS day, sensor_id FROM (SELECT window_start, sensor_id FROM telemetry) AS t ORDER BY sensor_id; -- all",
    ),
    ("totals", false, "SELECT count(*) AS n, max(window_start) AS hour FROM telemetry"),
    ("first", false, "SELECT sensor_id, window_start AS hour FROM telemetry ORDER BY sensor_id LIMIT 1"),
    (
        "second",
        false,
        "SELECT sensor_id, window_start AS hour FROM telemetry ORDER BY sensor_id DESC NULLS FIRST LIMIT 1 OFFSET 1",
    ),
    (
        "units",
        false,
        "SELECT DISTINCT measurement_unit AS unit FROM telemetry WHERE window_start IS NOT NULL ORDER BY unit",
    ),
    (
        "ranks",
        false,
        "SELECT sensor_id, row_number() OVER (ORDER BY sensor_id) AS rank FROM telemetry WHERE window_start IS NOT NULL ORDER BY rank",
    ),
    (
        "above",
        false,
        "SELECT sensor_id FROM telemetry WHERE sensor_id >= (SELECT avg(sensor_id) FROM telemetry WHERE window_start IS NOT NULL) ORDER BY sensor_id",
    ),
    (
        "pairs",
        false,
        "SELECT a.sensor_id AS one, b.sensor_id AS other FROM telemetry AS a JOIN telemetry AS b ON a.sensor_id < b.sensor_id WHERE a.window_start IS NOT NULL ORDER BY one, other",
    ),
    (
        "both",
        false,
        "WITH c AS (SELECT sensor_id FROM telemetry WHERE window_start IS NOT NULL) SELECT sensor_id AS n FROM c UNION ALL SELECT -1 ORDER BY n",
    ),
    (
        "rolled_up",
        false,
        "SELECT sensor_id, count(window_start) AS n FROM telemetry GROUP BY ROLLUP (sensor_id) ORDER BY sensor_id NULLS FIRST",
    ),
    ("without", false, "SELECT * EXCLUDE (window_start) FROM telemetry ORDER BY sensor_id"),
    ("undated", false, "SELECT sensor_id, count(*) AS n FROM telemetry GROUP BY sensor_id ORDER BY sensor_id"),
    (
        "variables",
        false,
        "SELECT window_start AS hour, getvariable('window_end') AS until FROM telemetry GROUP BY ALL ORDER BY hour",
    ),
    ("in_part", false, "SELECT sensor_id AS id_in_hour, window_start AS hour FROM telemetry ORDER BY -sensor_id"),
    (
        "unless_hot",
        false,
        "SELECT sensor_id FROM telemetry WHERE sensor_id NOT IN (SELECT sensor_id FROM telemetry WHERE measurement_value > 1e9) AND window_start IS NOT NULL ORDER BY sensor_id",
    ),
    (
        "so_far",
        false,
        "SELECT t.sensor_id AS sensor, x.n AS n, window_start AS hour FROM telemetry AS t, LATERAL (SELECT count(*) AS n FROM telemetry AS u WHERE u.sensor_id <= t.sensor_id AND u.timestamp <= t.timestamp) AS x ORDER BY sensor, n",
    ),
    ("own_name", false, "SELECT max(window_start) AS latest FROM (SELECT *, timestamp AS window_start FROM telemetry)"),
];

#[test]
fn hours_made_at_once_are_those_that_are_made_one_by_one() {
    let (at_once, by_itself) = (data_dir(), data_dir());
    let sensors = "sensor_id,name,location\n1,a,b\n";
    for (name, in_batches, sql) in QUERIES {
        let explain =
            run(&at_once, &format!("--sql {} --explain", file(&at_once, &format!("{name}.sql"), sql))).expect(0);
        let how = if in_batches { "many hours at once" } else { "window by window" };
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
    let made = content(&at_once, "temperatures");
    assert_eq!(made, content(&by_itself, "temperatures"));
    // What an earlier version has made is up to date and the same.
    let first = file(&at_once, "first_text.sql", include_str!("temperatures_before.sql"));
    run(&at_once, &format!("--sql {first} --table sensors={}/sensors.csv", at_once.path().display())).expect(0);
    let rows = |(columns, rows, _)| (columns, rows);
    let before = content(&at_once, "first_text").into_iter().map(rows);
    assert_eq!(made.into_iter().map(rows).collect::<Vec<_>>(), before.collect::<Vec<_>>());
    let commit = Commit::read(&published(&at_once, "temperatures")[0]).unwrap();
    assert!(commit.to_json().contains("\"query\":\"bd940815b7f01e42bdf5c06a95da3bdf\""), "{}", commit.to_json());
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
        // Made by a version that took any name for a column.
        let first: layout::Hour = "2025-09-02T00".parse().unwrap();
        for at in 0..HOURS {
            let x = if at < 8 { "1::BIGINT" } else { "1.5::DOUBLE" };
            let select = format!("SELECT sensor_id, {x} AS x{more} FROM range(1, 3) AS sensors(sensor_id)");
            put(&data_dir, name, &first.plus(at).to_string(), &select, "1");
        }
        let sql = file(
            &data_dir,
            "sums.sql",
            &format!(
                "SELECT sensor_id, sum(x) AS total FROM {name} GROUP BY sensor_id, window_start ORDER BY sensor_id"
            ),
        );
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
