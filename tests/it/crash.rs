//! kill -9 of each program at random moments, again and again, while devices send: in the end the warehouse holds what was
//! sent and written, each message once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::{DataDir, Random, Server, epoch, reading, rounds, until};

/// What the warehouse must say of a sensor in an hour: how many values, the least and the greatest.
type Expected = BTreeMap<(i64, i64), (u64, f64, f64)>;

const STEPS: [(&str, &str); 3] = [("compact", ""), ("aggregate", "temperatures"), ("load-warehouse", "temperatures")];

/// Messages for a few sensors and hours, all of them distinct.
fn messages(random: &mut Random, round: u64, expected: &mut Expected) -> Vec<String> {
    let start = epoch("2025-03-01");
    (0..200)
        .map(|n| {
            let hour: i64 = random.below(6);
            let sensor: i64 = random.below(4);
            let second: i64 = random.below(3600);
            let value = f64::from(u32::try_from(round * 200 + n).unwrap());
            let entry = expected.entry((start + hour * 3600, sensor)).or_insert((0, value, value));
            *entry = (entry.0 + 1, entry.1.min(value), entry.2.max(value));
            reading(start + hour * 3600 + second, sensor, value)
        })
        .collect()
}

/// Sends messages, and ends the server: by a signal that lets it drain, or dead as soon as all is written.
fn send(data_dir: &DataDir, random: &mut Random, sent: &[String]) {
    let server = Server::start(data_dir, &["telemetry"], "--seal-size 4KiB");
    for part in sent.chunks(50) {
        server.send(part.join("\n") + "\n");
    }
    if random.below(2) == 0 {
        server.stop();
        return;
    }
    let count = || -> usize {
        let files = data_dir.files_like("raw/", ".json").into_iter().chain(data_dir.files_like("raw/", ".json.open"));
        files
            .map(|path| std::fs::read_to_string(path).unwrap_or_default())
            .map(|text| text.lines().filter(|line| sent.iter().any(|one| one == line)).count())
            .sum()
    };
    until("all is written", || count() == sent.len());
    server.crash();
}

/// Starts a program and kills it after a random part of the time that it may take.
fn kill_at_random(data_dir: &DataDir, random: &mut Random, (program, arguments): (&str, &str), limit: Duration) {
    let mut command = data_dir.program(program);
    command.args(arguments.split_whitespace()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let moment = Duration::from_micros(random.below(u64::try_from(limit.as_micros()).unwrap()));
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn warehouse(data_dir: &DataDir) -> Expected {
    let run = data_dir.run("load-warehouse", "temperatures --head 1000000 --format ndjson").expect(0);
    let row = |line: &str| -> serde_json::Value { serde_json::from_str(line).unwrap() };
    let number = |row: &serde_json::Value, key: &str| row[key].as_f64().unwrap();
    let mut rows = Expected::new();
    for row in run.stdout.lines().map(row) {
        let hour = epoch(row["start_time"].as_str().unwrap().split(':').next().unwrap());
        let key = (hour, row["sensor_id"].as_i64().unwrap());
        let value = (row["samples"].as_u64().unwrap(), number(&row, "min_temp"), number(&row, "max_temp"));
        assert!(rows.insert(key, value).is_none(), "{key:?} is there twice");
    }
    rows
}

#[test]
fn whatever_is_killed_whenever_the_warehouse_ends_up_exact() {
    let mut random = Random::seeded();
    let data_dir = DataDir::new();
    let mut expected = Expected::new();
    let mut limits = [Duration::from_millis(200); 3];
    for round in 0..rounds(20) {
        let sent = messages(&mut random, round, &mut expected);
        send(&data_dir, &mut random, &sent);
        for (step, limit) in STEPS.into_iter().zip(&mut limits) {
            for _ in 0..random.below(3) {
                kill_at_random(&data_dir, &mut random, step, *limit);
            }
            // Sometimes it is let through, so that the next step has work; it also shows how long it takes. To load what
            // was never made yet is a usage error.
            let usable = step.0 != "load-warehouse" || data_dir.path().join("parquet/temperatures").exists();
            if random.below(3) > 0 && usable {
                let start = Instant::now();
                data_dir.run(step.0, step.1).expect(0);
                *limit = start.elapsed();
            }
        }
    }
    // The last dead writer's segments.
    Server::start(&data_dir, &["telemetry"], "").stop();
    for (program, arguments) in STEPS {
        data_dir.run(program, arguments).expect(0);
    }
    assert_eq!(warehouse(&data_dir), expected);
    assert!(data_dir.files_like("raw/", "json").is_empty(), "all is compacted");
    assert!(data_dir.files_like("quarantine/", "").is_empty(), "nothing was damaged");
    for (program, arguments) in STEPS {
        data_dir.run(program, arguments).expect(0);
    }
    assert_eq!(warehouse(&data_dir), expected, "running again changes nothing");
}
