//! Killed at any time and run again, the result is that of a run that nobody disturbed.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::{DataDir, Random, rounds};
use layout::{Commit, Lineage};

use crate::tree::{file, lineage, many_hours, planned, published, rows, run, telemetry};

const HOURS: i64 = 40;

/// All that a data directory holds of the aggregate: rows and records.
fn content(data_dir: &DataDir) -> (Vec<String>, Vec<Lineage>) {
    let files = published(data_dir, "temperatures");
    let lineages = files.iter().map(|file| Commit::read(file).unwrap().lineage).collect();
    (rows(&files, "FROM {} ORDER BY start_time, sensor_id"), lineages)
}

fn undisturbed() -> (Vec<String>, Vec<Lineage>) {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", HOURS);
    run(&data_dir, "temperatures").expect(0);
    content(&data_dir)
}

/// Removes the aggregate, so that the next run makes all of it.
fn clear(data_dir: &DataDir) {
    std::fs::remove_dir_all(data_dir.path().join("parquet/temperatures")).unwrap();
}

#[test]
fn killed_at_random_moments_and_run_again_nothing_is_lost_or_doubled() {
    let expected = undisturbed();
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-09-02T00", HOURS);
    let started = Instant::now();
    run(&data_dir, "temperatures").expect(0);
    let whole = u64::try_from(started.elapsed().as_micros()).unwrap();
    clear(&data_dir);
    let mut random = Random::seeded();
    for round in 0..rounds(50) {
        let mut child = data_dir.program("aggregate").arg("temperatures").stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(whole)));
        let _ = child.kill();
        child.wait().unwrap();
        // Every second time it is killed once more on the way.
        if round % 2 == 1 {
            run(&data_dir, "temperatures").expect(0);
            assert_eq!(content(&data_dir), expected, "round {round}");
            assert_eq!(planned(&data_dir, "temperatures"), [""; 0]);
            clear(&data_dir);
        }
    }
}

#[test]
fn a_run_that_dies_at_any_step_of_publishing_is_finished_by_the_next() {
    let expected = undisturbed();
    for fault in [
        "publish.written",
        "publish.synced:2",
        "publish.renamed:1",
        "publish.renamed:3",
        "publish.renamed:39",
        "publish.done",
    ] {
        let data_dir = DataDir::new();
        many_hours(&data_dir, "2025-09-02T00", HOURS);
        let dead = data_dir.program("aggregate").arg("temperatures").env("FAULT", fault).output().unwrap();
        assert_eq!(dead.status.code(), None, "{fault} is reached");
        for path in published(&data_dir, "temperatures") {
            Commit::read(&path).unwrap();
        }
        run(&data_dir, "temperatures").expect(0);
        assert_eq!(content(&data_dir), expected, "{fault}");
        assert_eq!(planned(&data_dir, "temperatures"), [""; 0]);
    }
}

#[test]
fn an_hour_names_the_input_that_was_read_although_inputs_are_replaced_meanwhile() {
    let data_dir = DataDir::new();
    let hours: Vec<String> = (0..12).map(|hour| format!("2025-09-02T{hour:02}")).collect();
    let publish = |version: i32| {
        for hour in &hours {
            telemetry(&data_dir, hour, &[(1, Some(f64::from(version)), None, "Celsius")], &version.to_string());
        }
    };
    publish(0);
    let sql = file(&data_dir, "version.sql", "SELECT max(measurement_value)::INTEGER AS version FROM telemetry");
    let versions: std::collections::BTreeMap<_, _> =
        (0..2000).map(|version: i32| (lineage(&version.to_string()).fingerprint(), version.to_string())).collect();
    let check = |files: &[PathBuf]| {
        for path in files {
            let Lineage::Query { inputs, .. } = Commit::read(path).unwrap().lineage else { panic!() };
            let Some(layout::Input::Hour(read)) = inputs.values().next() else { panic!() };
            let named = &versions[read];
            assert_eq!(rows(std::slice::from_ref(path), "FROM {}"), [named.as_str()], "{}", path.display());
        }
    };
    let mut version = 0;
    for _ in 0..15 {
        let mut child = data_dir.program("aggregate").args(["--sql", &sql]).stderr(Stdio::piped()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            version += 1;
            publish(version);
        }
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || message.contains("changes again and again"), "{message}");
        check(&published(&data_dir, "version"));
    }
    run(&data_dir, &format!("--sql {sql}")).expect(0);
    let files = published(&data_dir, "version");
    check(&files);
    assert_eq!(rows(&files, "SELECT DISTINCT version FROM {}"), [version.to_string()]);
}

/// Hours, days of hours and months of days.
fn chained() -> (DataDir, String) {
    let data_dir = DataDir::new();
    many_hours(&data_dir, "2025-08-30T12", 60);
    let days = "-- @window: day\nSELECT sensor_id, sum(samples) AS samples FROM temperatures GROUP BY 1 ORDER BY 1";
    file(&data_dir, "sql/days.sql", days);
    file(&data_dir, "sql/months.sql", "-- @window: month\nSELECT sum(samples) AS samples FROM days");
    let arguments = format!("temperatures --sql {}/sql", data_dir.path().display());
    (data_dir, arguments)
}

/// All that a data directory holds of the three: files with their rows and records.
fn all_content(data_dir: &DataDir) -> Vec<(String, Vec<String>, Commit)> {
    let files = ["temperatures", "days", "months"].into_iter().flat_map(|dataset| published(data_dir, dataset));
    files
        .map(|path| {
            let name = path.strip_prefix(data_dir.path()).unwrap().display().to_string();
            (name, rows(std::slice::from_ref(&path), "FROM {}"), Commit::read(&path).unwrap())
        })
        .collect()
}

#[test]
fn killed_among_hours_days_and_months_and_run_again_each_is_made_of_the_ones_that_are_there() {
    let (data_dir, arguments) = chained();
    let started = Instant::now();
    run(&data_dir, &arguments).expect(0);
    let whole = u64::try_from(started.elapsed().as_micros()).unwrap();
    let expected = all_content(&data_dir);
    assert_eq!(rows(&published(&data_dir, "months"), "SELECT sum(samples) AS n FROM {}"), ["120"]);
    let mut random = Random::seeded();
    for round in 0..rounds(16) {
        for dataset in ["temperatures", "days", "months"].iter().take(usize::try_from(round % 4).unwrap()) {
            std::fs::remove_dir_all(data_dir.path().join("parquet").join(dataset)).unwrap();
        }
        let mut child = data_dir.program("aggregate").args(arguments.split(' ')).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(whole)));
        let _ = child.kill();
        child.wait().unwrap();
        run(&data_dir, &arguments).expect(0);
        assert_eq!(all_content(&data_dir), expected, "round {round}");
        assert_eq!(planned(&data_dir, &arguments), [""; 0]);
    }
}

#[test]
fn two_at_once_and_hours_that_are_replaced_meanwhile_end_as_one_run_would() {
    let (data_dir, arguments) = chained();
    let value = |version: i32| [(1, Some(f64::from(version)), None, "Celsius"); 2];
    let start = || data_dir.program("aggregate").args(arguments.split(' ')).stderr(Stdio::piped()).spawn().unwrap();
    for round in 0..4 {
        let mut children = [start(), start()];
        let mut version = 0;
        while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
            version += 1;
            telemetry(
                &data_dir,
                &format!("2025-08-31T{:02}", version % 24),
                &value(version),
                &format!("{round} {version}"),
            );
        }
        for child in children {
            let output = child.wait_with_output().unwrap();
            let message = String::from_utf8_lossy(&output.stderr);
            // A data set that the other works on is left to it.
            let known = ["another process works on", "changes again and again"];
            assert!(message.lines().all(|line| known.iter().any(|known| line.contains(known))), "{message}");
        }
    }
    run(&data_dir, &arguments).expect(0);
    assert_eq!(planned(&data_dir, &arguments), [""; 0]);
    let content = all_content(&data_dir);
    run(&data_dir, &format!("{arguments} --rebuild")).expect(0);
    assert_eq!(all_content(&data_dir), content);
}
