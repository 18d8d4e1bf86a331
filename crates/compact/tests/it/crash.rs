//! Dying at any point, running side by side: every line is in Parquet, raw or quarantine, and when the work is done it is
//! there exactly once.

use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::{DEATHS, quarantine, sensors};
use harness::{DataDir, Random, Run, SmallDisk, epoch, kill, reading, rounds, until};

const HOURS: [&str; 4] = ["2025-09-01T23", "2025-09-02T00", "2025-09-02T01", "2025-09-03T10"];

/// What was sealed: sensor ids of good lines, each used once, and the text of damaged ones.
#[derive(Debug, Default)]
struct Sent {
    good: Vec<i64>,
    bad: Vec<String>,
}

impl Sent {
    /// Seals a segment of `lines` lines of which one may be damaged.
    fn seal(&mut self, data_dir: &DataDir, hour: &str, lines: usize, damaged: bool) {
        let mut text = Vec::new();
        for line in 0..lines {
            let id = i64::try_from(self.good.len() + self.bad.len()).unwrap();
            if damaged && line == lines / 2 {
                let bad = format!("damaged {id}");
                self.bad.push(bad.clone());
                text.push(bad);
            } else {
                self.good.push(id);
                text.push(reading(epoch(hour), id, 20.0));
            }
        }
        data_dir.seal("telemetry", hour, &text);
    }

    /// Everything is done: raw/ is empty, each good line is in Parquet once, each damaged one in quarantine once.
    #[track_caller]
    fn verify(&self, data_dir: &DataDir, what: &str) {
        assert_eq!(data_dir.files_like("raw/", "").len(), 0, "{what}");
        assert_eq!(sensors(data_dir), self.good, "{what}");
        let mut found: Vec<_> = quarantine(data_dir).iter().map(|r| r["line"].as_str().unwrap().to_owned()).collect();
        let mut sent = self.bad.clone();
        found.sort();
        sent.sort();
        assert_eq!(found, sent, "{what}");
    }

    /// Nothing is lost in between: a line that is not in Parquet (once) or quarantine is still in raw/.
    #[track_caller]
    fn verify_nothing_lost(&self, data_dir: &DataDir, what: &str) {
        let parquet = sensors(data_dir);
        assert!(parquet.is_sorted_by(|a, b| a < b), "a row is doubled: {what}");
        let raw: String =
            data_dir.files_like("raw/", ".json").iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let raw: HashSet<&str> = raw.lines().collect();
        let there: HashSet<i64> = parquet.iter().copied().chain(raw.iter().filter_map(|line| sensor(line))).collect();
        let lost: Vec<_> = self.good.iter().filter(|id| !there.contains(id)).collect();
        assert!(lost.is_empty(), "{lost:?} are lost: {what}");
        let kept = quarantine(data_dir);
        for bad in &self.bad {
            assert!(
                raw.contains(bad.as_str()) || kept.iter().any(|record| record["line"] == **bad),
                "{bad} is lost: {what}"
            );
        }
    }
}

/// The sensor id of a reading.
fn sensor(line: &str) -> Option<i64> {
    line.split_once("\"sensor_id\": ")?.1.split_once(',')?.0.parse().ok()
}

/// Segments for every kind of hour: new ones, one with late data, one with a restored segment, one with damage.
fn mixed(disk: Option<&SmallDisk>) -> (DataDir, Sent) {
    let (data_dir, mut sent) = (disk.map_or_else(DataDir::new, |disk| DataDir::within(disk.path())), Sent::default());
    sent.seal(&data_dir, HOURS[0], 5, false);
    sent.seal(&data_dir, HOURS[1], 5, false);
    let restored = data_dir.files_like("raw/", ".json").remove(0);
    let bytes = std::fs::read(&restored).unwrap();
    data_dir.run("compact", "").expect(0);
    std::fs::write(&restored, &bytes).unwrap();
    for (hour, damaged) in [(HOURS[1], false), (HOURS[2], true), (HOURS[2], false), (HOURS[3], false)] {
        sent.seal(&data_dir, hour, 7, damaged);
    }
    (data_dir, sent)
}

#[test]
fn dying_at_any_point_loses_and_doubles_nothing() {
    let mut died = 0;
    // In memory, where syncing takes no time: there are many of them.
    let disk = SmallDisk::mount("size=16m");
    for point in DEATHS {
        for count in 1.. {
            let (data_dir, sent) = mixed(disk.as_ref());
            let fault = format!("{point}:{count}");
            let run = Run::of(data_dir.program("compact").env("FAULT", &fault).args(["--threads", "1"]));
            if run.status.is_some() {
                assert!(count > 1, "{point} is never reached");
                sent.verify(&data_dir, &fault);
                break;
            }
            died += 1;
            sent.verify_nothing_lost(&data_dir, &fault);
            // Twice, because the second run must find nothing to do.
            let again = data_dir.run("compact", "");
            assert!(matches!(again.status, Some(0 | 3)), "{fault}: {}", again.stderr);
            sent.verify(&data_dir, &fault);
            data_dir.run("compact", "").expect(0);
            sent.verify(&data_dir, &fault);
        }
    }
    assert!(died >= 80, "only {died} deaths");
}

fn spawn(data_dir: &DataDir) -> Child {
    let mut program = data_dir.program("compact");
    program.args(["--threads", "2"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Seals what a round adds: some hours, some of them late, now and then a large or a damaged segment.
fn seal_some(random: &mut Random, data_dir: &DataDir, sent: &mut Sent) {
    for _ in 0..=random.below(4) {
        let hour = HOURS[random.below(HOURS.len())];
        let lines = if random.below(8) == 0 { 20_000 } else { 1 + random.below(40) };
        sent.seal(data_dir, hour, lines, random.below(6) == 0);
    }
}

#[test]
fn kill_9_at_random_moments_loses_and_doubles_nothing() {
    let mut random = Random::seeded();
    let (data_dir, mut sent) = (DataDir::new(), Sent::default());
    let mut killed = 0;
    for round in 0..rounds(60) {
        seal_some(&mut random, &data_dir, &mut sent);
        let mut child = spawn(&data_dir);
        std::thread::sleep(Duration::from_micros(random.below(120_000)));
        if child.try_wait().unwrap().is_none() {
            killed += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if round % 4 == 3 {
            sent.verify_nothing_lost(&data_dir, &format!("round {round}"));
            let run = data_dir.run("compact", "");
            assert!(matches!(run.status, Some(0 | 3)), "{}", run.stderr);
            sent.verify(&data_dir, &format!("round {round}"));
        }
    }
    eprintln!("{killed} killed, {} lines", sent.good.len() + sent.bad.len());
    assert!(killed > 10, "only {killed} were killed at work");
}

#[test]
fn two_at_once_do_the_work_once() {
    let mut random = Random::seeded();
    let (data_dir, mut sent) = (DataDir::new(), Sent::default());
    for round in 0..rounds(25) {
        seal_some(&mut random, &data_dir, &mut sent);
        let children = [spawn(&data_dir), spawn(&data_dir), spawn(&data_dir)];
        for mut child in children {
            let status = child.wait().unwrap().code();
            assert!(matches!(status, Some(0 | 3 | 75)), "round {round}: {status:?}");
        }
        // Whoever had the lock did all that there was.
        sent.verify(&data_dir, &format!("round {round}"));
    }
}

#[test]
fn an_interrupted_run_leaves_no_draft() {
    let data_dir = DataDir::new();
    let lines: Vec<_> = (0..400_000).map(|n| reading(epoch("2025-09-02T10") + n % 3600, n, 1.0)).collect();
    data_dir.seal("telemetry", "2025-09-02T10", &lines);
    let begun =
        |child: &mut Child| !data_dir.files_like("parquet/", ".tmp").is_empty() || child.try_wait().unwrap().is_some();
    // Whoever runs the tests in the background has it ignored.
    let compact = |signal: &str| {
        let mut env = Command::new("env");
        env.arg(signal).arg(data_dir.program("compact").get_program()).args(["--threads", "1", "--data-dir"]);
        env.arg(data_dir.path()).spawn().unwrap()
    };
    for signal in ["INT", "TERM"] {
        // It may have ended before the signal comes.
        let interrupted = (0..50).any(|_| {
            if data_dir.files_like("raw/", ".json").is_empty() {
                data_dir.seal("telemetry", "2025-09-02T10", &lines);
            }
            let mut child = compact(&format!("--default-signal={signal}"));
            until("it has begun", || begun(&mut child));
            kill(&format!("-{signal}"), child.id());
            child.wait().unwrap().signal().is_some()
        });
        assert!(interrupted, "{signal}");
        assert!(data_dir.files_like("parquet/", ".tmp").is_empty(), "{:?}", data_dir.files());
    }
    if data_dir.files_like("raw/", ".json").is_empty() {
        data_dir.seal("telemetry", "2025-09-02T10", &lines);
    }
    // What is ignored in the background of a script goes on being ignored.
    let mut child = compact("--ignore-signal=INT");
    until("it has begun", || begun(&mut child));
    kill("-INT", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(data_dir.files_like("raw/", ".json").len(), 0);
}
