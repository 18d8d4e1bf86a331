//! kill -9 at every point and at any moment, then again, then exact comparison.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{DataDir, Random, rounds};

use crate::hours::{Expected, Seen, check, publish, publish_readings, readings};
use crate::target::{Target, on_each};

#[test]
fn killed_at_any_point_the_next_run_completes_the_load() {
    on_each("death at each point", |data_dir, target| {
        let mut seen = Seen::new();
        for (round, point) in
            ["load.begun", "load.deleted", "load.inserted", "load.before_commit", "load.committed"].iter().enumerate()
        {
            let mut before = Expected::new();
            if round > 0 {
                before = target.readings(data_dir).into_iter().map(|row| (row.1, (row.2, 30))).collect();
            }
            let mut after = Expected::new();
            for hour in 0..4 {
                let (hour, version) = (format!("2025-09-02T{hour:02}"), format!("v{round}"));
                publish_readings(data_dir, &hour, &version, 30);
                after.insert(hour, (version, 30));
            }
            let killed = target.program(data_dir).arg("readings").env("FAULT", point).output().unwrap();
            assert_eq!(killed.status.code(), None, "{point}: {}", String::from_utf8_lossy(&killed.stderr));
            let is_committed = *point == "load.committed";
            check(&target.readings(data_dir), if is_committed { &after } else { &before }, &mut seen);
            target.run(data_dir, "readings").expect(0);
            check(&target.readings(data_dir), &after, &mut seen);
            let picture = target.picture(data_dir, &["readings"]);
            target.run(data_dir, "readings").expect(0);
            assert_eq!(target.picture(data_dir, &["readings"]), picture);
        }
    });
}

#[test]
fn killed_at_random_moments_nothing_is_lost_or_doubled() {
    on_each("death at random moments", |data_dir, target| {
        let mut random = Random::seeded();
        let mut seen = Seen::new();
        let mut expected = Expected::new();
        let mut usual = Duration::from_millis(400);
        for round in 0..rounds(30) {
            for _ in 0..4 {
                let hour = format!("2025-09-02T{:02}", random.below(24_u64));
                let (version, rows) = (format!("v{round}_{}", random.below(1000_u64)), random.below(120_u64));
                publish_readings(data_dir, &hour, &version, rows);
                expected.insert(hour, (version, rows));
            }
            kill_after(target, data_dir, usual * random.below(1100_u32) / 1000);
            if random.below(3_u64) == 0 {
                let begun = Instant::now();
                target.run(data_dir, "readings").expect(0);
                usual = begun.elapsed();
                check(&target.readings(data_dir), &expected, &mut seen);
            }
        }
        target.run(data_dir, "readings").expect(0);
        check(&target.readings(data_dir), &expected, &mut seen);
    });
}

#[test]
fn an_interrupted_load_leaves_nothing_that_it_spilled() {
    let (data_dir, spill) = (DataDir::new(), DataDir::new());
    let run = |arguments: &[&str]| {
        let mut env = Command::new("env");
        // Whoever runs the tests in the background has it ignored.
        env.args(["--default-signal=TERM"]).arg(data_dir.program("load-warehouse").get_program()).arg("readings");
        env.env("DATA_DIR", data_dir.path()).args(arguments).arg("--temp-dir").arg(spill.path());
        env.spawn().unwrap()
    };
    publish_readings(&data_dir, "2025-09-02T10", "a", 300_000);
    assert!(run(&[]).wait().unwrap().success());
    publish(&data_dir, "readings", "2025-09-02T10", "b", &readings("2025-09-02T10", "a", 300_001));
    let mut load = run(&["--memory-limit", "60MB", "--threads", "1"]);
    let is_spilling = || !spill.files().is_empty();
    harness::until("it spills", || is_spilling() || load.try_wait().unwrap().is_some());
    harness::kill("-TERM", load.id());
    assert_eq!(load.wait().unwrap().signal(), Some(15));
    assert!(!is_spilling());
    let tmp = data_dir.files_like("", ".tmp");
    assert!(tmp.is_empty(), "{tmp:?}");
}

fn kill_after(target: &Target, data_dir: &DataDir, time: Duration) {
    let mut load = target.program(data_dir).arg("readings").stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(time);
    let _ = load.kill();
    load.wait().unwrap();
}
