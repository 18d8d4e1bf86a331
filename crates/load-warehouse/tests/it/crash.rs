//! kill -9 at every point and at any moment, then again, then exact comparison.

use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::{House, Random, rounds};

use crate::hours::{Expected, Seen, check, publish_readings};
use crate::target::{Target, on_each};

#[test]
fn killed_at_any_point_the_next_run_completes_the_load() {
    on_each("death at each point", |house, target| {
        let mut seen = Seen::new();
        for (round, point) in
            ["load.begun", "load.deleted", "load.inserted", "load.before_commit", "load.committed"].iter().enumerate()
        {
            let mut before = Expected::new();
            if round > 0 {
                before = target.readings(house).into_iter().map(|row| (row.1, (row.2, 30))).collect();
            }
            let mut after = Expected::new();
            for hour in 0..4 {
                let (hour, version) = (format!("2025-09-02T{hour:02}"), format!("v{round}"));
                publish_readings(house, &hour, &version, 30);
                after.insert(hour, (version, 30));
            }
            let killed = target.program(house).arg("readings").env("FAULT", point).output().unwrap();
            assert_eq!(killed.status.code(), None, "{point}: {}", String::from_utf8_lossy(&killed.stderr));
            let is_committed = *point == "load.committed";
            check(&target.readings(house), if is_committed { &after } else { &before }, &mut seen);
            target.run(house, "readings").expect(0);
            check(&target.readings(house), &after, &mut seen);
            let picture = target.picture(house, &["readings"]);
            target.run(house, "readings").expect(0);
            assert_eq!(target.picture(house, &["readings"]), picture);
        }
    });
}

#[test]
fn killed_at_random_moments_nothing_is_lost_or_doubled() {
    on_each("death at random moments", |house, target| {
        let mut random = Random::seeded();
        let mut seen = Seen::new();
        let mut expected = Expected::new();
        let mut usual = Duration::from_millis(400);
        for round in 0..rounds(30) {
            for _ in 0..4 {
                let hour = format!("2025-09-02T{:02}", random.below(24_u64));
                let (version, rows) = (format!("v{round}_{}", random.below(1000_u64)), random.below(120_u64));
                publish_readings(house, &hour, &version, rows);
                expected.insert(hour, (version, rows));
            }
            kill_after(target, house, usual * random.below(1100_u32) / 1000);
            if random.below(3_u64) == 0 {
                let begun = Instant::now();
                target.run(house, "readings").expect(0);
                usual = begun.elapsed();
                check(&target.readings(house), &expected, &mut seen);
            }
        }
        target.run(house, "readings").expect(0);
        check(&target.readings(house), &expected, &mut seen);
    });
}

fn kill_after(target: &Target, house: &House, time: Duration) {
    let mut load = target.program(house).arg("readings").stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(time);
    let _ = load.kill();
    load.wait().unwrap();
}
