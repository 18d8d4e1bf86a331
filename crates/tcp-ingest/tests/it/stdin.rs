//! Standard input as the source, and standard output as a tee.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use harness::{DataDir, Run, reading, until};

use crate::common::{check_written, lines, quarantined};

#[test]
fn a_pipe_that_pauses_is_sealed_and_a_reader_that_stalls_can_be_left() {
    let data_dir = DataDir::new();
    let mut command = data_dir.program("tcp-ingest");
    command.args(["--stdin", "telemetry", "--stdout", "--seal-after", "200ms", "--sync-every", "50ms"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all((reading(0, 1, 1.0) + "\n").as_bytes()).unwrap();
    until("it is sealed", || data_dir.files_like("raw/", ".json").len() == 1);
    // Nobody reads its output: it fills, and then it may only be left by a signal.
    let feeder =
        std::thread::spawn(
            move || while input.write_all((reading(0, 2, 1.0) + "\n").repeat(1000).as_bytes()).is_ok() {},
        );
    until("the output is full", || {
        let before = lines(&data_dir, "raw").len();
        std::thread::sleep(Duration::from_millis(100));
        before > 1000 && lines(&data_dir, "raw").len() == before
    });
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    feeder.join().unwrap();
}

#[test]
fn a_reader_that_stalls_after_the_end_of_the_input_can_be_left_too() {
    let data_dir = DataDir::new();
    let mut command = data_dir.program("tcp-ingest");
    command.args(["--stdin", "telemetry", "--stdout"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // More than a pipe holds, and less than is held for the reader.
    child.stdin.take().unwrap().write_all((reading(0, 1, 1.0) + "\n").repeat(2000).as_bytes()).unwrap();
    until("all is sealed", || data_dir.files_like("raw/", ".open").is_empty() && lines(&data_dir, "raw").len() == 2000);
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none(), "it waits for the reader");
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    until("it ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130), "all is written, but not all went to stdout");
}

#[test]
fn a_pipe_is_read_to_its_end_and_passed_on() {
    let data_dir = DataDir::new();
    let good: Vec<_> = (0..3).map(|sensor| reading(0, sensor, 1.0)).collect();
    let run = |input: String| {
        let mut child = data_dir
            .program("tcp-ingest")
            .args(["--stdin", "telemetry", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Run::from(child.wait_with_output().unwrap())
    };
    let clean = run(format!("{}\n{}", good[0], good[1])).expect(0);
    assert_eq!(clean.stdout, format!("{}\n{}\n", good[0], good[1]), "a complete last line needs no terminator");
    assert_eq!(clean.stderr, "");
    let torn = run(format!("nonsense\n{}\n{}", good[2], &good[0][..20])).expect(3);
    assert_eq!(torn.stdout, format!("{}\n", good[2]));
    assert!(torn.stderr.contains("2 lines were rejected"), "{}", torn.stderr);
    assert_eq!(lines(&data_dir, "raw"), good);
    assert!(data_dir.files_like("raw/", ".open").is_empty());
    assert_eq!(quarantined(&data_dir).len(), 2);
}

#[test]
fn a_pipe_puts_back_what_is_removed_too() {
    let folder = harness::tempfile::tempdir().unwrap();
    let data_dir = DataDir::at(&folder.path().join("data"));
    let mut command = data_dir.program("tcp-ingest");
    command.args(["--stdin", "telemetry", "--sync-every", "50ms"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let sent: Vec<_> = (0..20).map(|n| reading(0, n, 1.0) + "\n").collect();
    pipe.write_all(sent[..10].concat().as_bytes()).unwrap();
    until("it is written", || lines(&data_dir, "raw").len() == 10);
    fs::remove_dir_all(data_dir.path()).unwrap();
    until("it is there again", || lines(&data_dir, "raw").len() == 10);
    pipe.write_all(sent[10..].concat().as_bytes()).unwrap();
    drop(pipe);
    assert!(child.wait().unwrap().success());
    assert_eq!(check_written(&data_dir).len(), 20);
}

#[test]
fn a_pipe_that_is_stopped_without_its_data_directory_names_what_is_lost_and_what_is_not_sealed() {
    let folder = harness::tempfile::tempdir().unwrap();
    let data_dir = DataDir::at(&folder.path().join("data"));
    let log = folder.path().join("log");
    let mut command = data_dir.program("tcp-ingest");
    command.args(["--stdin", "telemetry", "--sync-every", "50ms", "--seal-after", "200ms"]);
    let mut child = command.stdin(Stdio::piped()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let line = reading(0, 1, 1.0) + "\n";
    input.write_all(line.as_bytes()).unwrap();
    until("it is written", || lines(&data_dir, "raw").len() == 1);
    fs::rename(data_dir.path(), folder.path().join("elsewhere")).unwrap();
    let said = |what: &str| fs::read_to_string(&log).unwrap().contains(what);
    until("it cannot be sealed", || said("trying again every second"));
    input.write_all(line.as_bytes()).unwrap();
    until("the next line cannot be written", || said("reading waits"));
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let lost = format!("lost, because read and not written: the last {} bytes", line.len());
    assert!(said(&lost) && said("not sealed, and open until the next start: 1 segment"), "{lost}");
}
