//! People and pipes at the prompt: the list of published files, the summary, and the bar on a terminal.

use std::io::Read as _;
use std::process::{Command, Stdio};

use crate::common::{HOUR, parquet, sensors};
use harness::{DataDir, Run, epoch, reading};

fn readings(hour: &str, sensors: impl IntoIterator<Item = i64>) -> Vec<String> {
    sensors.into_iter().map(|sensor| reading(epoch(hour) + sensor % 3600, sensor, 20.5)).collect()
}

const HOURS: [&str; 3] = ["2025-09-02T09", HOUR, "2025-09-02T11"];

fn paths(data_dir: &DataDir, hours: &[&str]) -> Vec<String> {
    hours.iter().map(|hour| parquet(data_dir, "telemetry", hour).to_str().unwrap().to_owned()).collect()
}

/// What was printed, in order: hours that are done side by side come as they are done.
fn sorted(text: &str, terminator: char) -> Vec<String> {
    let mut paths: Vec<_> = text.split_terminator(terminator).map(str::to_owned).collect();
    paths.sort();
    paths
}

#[test]
fn print_lists_each_file_that_was_published_and_nothing_else() {
    let data_dir = DataDir::new();
    for hour in HOURS {
        data_dir.seal("telemetry", hour, &readings(hour, [1]));
    }
    let run = data_dir.run("compact", "--print").expect(0);
    assert_eq!((sorted(&run.stdout, '\n'), run.stderr.as_str()), (paths(&data_dir, &HOURS), ""));
    assert_eq!(data_dir.run("compact", "--print").expect(0).stdout, "", "nothing was published");
    // A late segment, and one of an hour whose file was published by somebody who may have died before it said so.
    let listed = data_dir.seal("telemetry", HOUR, &readings(HOUR, [2]));
    let bytes = std::fs::read(&listed).unwrap();
    data_dir.seal("telemetry", HOURS[2], &readings(HOURS[2], [2]));
    assert_eq!(sorted(&data_dir.run("compact", "--print0").expect(0).stdout, '\0'), paths(&data_dir, &HOURS[1..]));
    std::fs::write(&listed, &bytes).unwrap();
    assert_eq!(
        sorted(&data_dir.run("compact", "--print0 --format csv").expect(0).stdout, '\0'),
        paths(&data_dir, &[HOUR])
    );
    assert!(!listed.exists());
}

#[test]
fn print_of_a_dry_run_lists_what_would_be_published() {
    let data_dir = DataDir::new();
    let listed = data_dir.seal("telemetry", HOURS[0], &readings(HOURS[0], [1]));
    let bytes = std::fs::read(&listed).unwrap();
    data_dir.run("compact", "").expect(0);
    std::fs::write(&listed, &bytes).unwrap();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, [2]));
    let before = data_dir.files();
    let run = data_dir.run("compact", "-n --print").expect(0);
    assert_eq!(run.stdout, format!("{}\n", paths(&data_dir, &[HOUR])[0]));
    let run = data_dir.run("compact", "--dry-run --print0").expect(0);
    assert_eq!(run.stdout, format!("{}\0", paths(&data_dir, &[HOUR])[0]));
    assert_eq!(data_dir.files(), before);
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let data_dir = DataDir::new();
    for flags in ["--print --print0", "--verify --print", "--verify --print0", "--verify -n", "--verify --dedup"] {
        assert!(data_dir.run("compact", flags).expect(2).stderr.contains("cannot be used with"), "{flags}");
    }
}

#[test]
fn a_file_that_could_not_be_published_is_not_listed() {
    let data_dir = DataDir::new();
    for hour in HOURS {
        data_dir.seal("telemetry", hour, &readings(hour, [1]));
    }
    std::fs::create_dir_all(parquet(&data_dir, "telemetry", HOUR).join("x")).unwrap();
    let run = data_dir.run("compact", "--print").expect(3);
    // Each once, also those of the batch that failed as a whole.
    assert_eq!(sorted(&run.stdout, '\n'), paths(&data_dir, &[HOURS[0], HOURS[2]]));
}

#[test]
fn a_reader_of_the_list_that_goes_away_does_not_stop_the_work() {
    let data_dir = DataDir::new();
    // More hours than are published together.
    for n in 0..80 {
        let hour = "2025-03-01T00".parse::<layout::Hour>().unwrap().plus(n).to_string();
        data_dir.seal("telemetry", &hour, &readings(&hour, [n]));
    }
    let mut program = data_dir.program("compact");
    let mut child =
        program.args(["--print", "--threads", "1"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
    assert_eq!(sensors(&data_dir), (0..80).collect::<Vec<_>>());
}

#[test]
fn a_list_that_cannot_be_written_is_said_and_the_work_is_done() {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, [1]));
    let full = std::fs::File::create("/dev/full").unwrap();
    let run = Run::from(data_dir.program("compact").arg("--print").stdout(full).output().unwrap()).expect(3);
    assert!(run.stderr.contains("the list of published files"), "{}", run.stderr);
    assert_eq!(sensors(&data_dir), [1]);
}

#[test]
fn verbose_is_one_line() {
    let data_dir = DataDir::new();
    data_dir.seal("telemetry", HOUR, &readings(HOUR, 0..10));
    let run = data_dir.run("compact", "-v").expect(0);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("1 hour, 10 rows") && run.stderr.contains("MB/s"), "{}", run.stderr);
}

/// Runs compact on a terminal of 120 columns and returns what it showed.
fn on_a_terminal(data_dir: &DataDir, flags: &str) -> Option<String> {
    let program = data_dir.program("compact");
    let words: Vec<_> = std::iter::once(program.get_program()).chain(program.get_args()).collect();
    let words: Vec<_> = words.iter().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let command = format!("stty columns 120 rows 30; exec {} {flags}", words.join(" "));
    let run = Command::new("script").args(["-qec", &command, "/dev/null"]).env("TERM", "xterm").output();
    let Ok(output) = run else {
        harness::skipped("there is no script (Debian package bsdutils) to make a terminal");
        return None;
    };
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_terminal_shows_hours_rows_rate_and_time_left_also_inside_one_large_hour() {
    let data_dir = DataDir::new();
    // Large enough for several looks at it.
    let lines = readings(HOUR, 0..600_000);
    for part in lines.chunks(200_000) {
        data_dir.seal("telemetry", HOUR, part);
    }
    data_dir.seal("telemetry", HOURS[2], &["damaged".to_owned(), reading(epoch(HOURS[2]), 1, 1.0)]);
    let Some(shown) = on_a_terminal(&data_dir, "--threads 1 --dedup --print") else { return };
    for words in ["0/2 hours", "1/2 hours", " rows", "B/s", " left"] {
        assert!(shown.contains(words), "{words:?} is not in {shown:?}");
    }
    // Inside the first hour, before it is done.
    let inside: Vec<_> = shown.split("0/2 hours, ").skip(1).filter_map(|rest| rest.split_once(" row")).collect();
    let rows: Vec<f64> =
        inside.iter().filter_map(|(rows, _)| rows.split(' ').next().unwrap().replace(',', "").parse().ok()).collect();
    assert!(rows.iter().any(|rows| *rows > 0.0), "the bar stood still: {shown:?}");
    // Messages and paths stand on lines of their own.
    for (path, hour) in paths(&data_dir, &[HOUR, HOURS[2]]).iter().zip([HOUR, HOURS[2]]) {
        let line = shown.lines().find(|line| line.contains(path.as_str()) && !line.contains("warn"));
        let line = line.unwrap_or_else(|| panic!("{hour} is not listed: {shown:?}"));
        assert!(line.trim_end_matches('\r').ends_with(path.as_str()), "{line:?}");
    }
    assert_eq!(sensors(&data_dir).len(), 600_001);
    // Nothing to show, nothing shown.
    assert_eq!(on_a_terminal(&data_dir, "").unwrap(), "");
}
