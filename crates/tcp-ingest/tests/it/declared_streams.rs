//! Streams that stream files describe: served, changed while data is under way, tried out, and replayed from the quarantine.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use harness::{DataDir, Run, Server, until};

use crate::common::{lines, quarantined};

const PRESS: &str =
    "time = 't'\n[columns]\nt = { type = 'timestamp', format = 'epoch_s' }\nv = { type = 'int', range = [0, 9] }\n";

fn declare(data_dir: &DataDir, text: &str) {
    fs::create_dir_all(data_dir.path().join("streams")).unwrap();
    fs::write(data_dir.path().join("streams/press.toml"), text).unwrap();
}

/// Runs the program with an input.
fn run(data_dir: &DataDir, arguments: &str, input: &str) -> Run {
    let mut command = data_dir.program("tcp-ingest");
    command.args(arguments.split_whitespace());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that fails at once does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap().into()
}

#[test]
fn what_is_accepted_is_kept_with_the_version_that_accepted_it() {
    let data_dir = DataDir::new();
    declare(&data_dir, PRESS);
    run(&data_dir, "--stdin press", "{\"t\":3600,\"v\":5}\n{\"t\":3600,\"v\":50}\n").expect(3);
    assert_eq!(lines(&data_dir, "raw"), ["{\"t\":3600,\"v\":5}"]);
    assert_eq!(quarantined(&data_dir).len(), 1);
    let [version] = &data_dir.files_like("raw/press/", ".toml")[..] else { panic!("{:?}", data_dir.files()) };
    assert_eq!(fs::read_to_string(version).unwrap(), PRESS);
    let version = version.file_stem().unwrap().to_str().unwrap();
    assert!(data_dir.files_like("raw/press/", ".json")[0].to_str().unwrap().contains(&format!("{version}.json")));
}

#[test]
fn a_changed_file_is_taken_up_by_sighup_and_a_wrong_one_is_not() {
    let data_dir = DataDir::new();
    declare(&data_dir, PRESS);
    let server = Server::start(&data_dir, &["press"], "");
    let mut connection = server.connect();
    connection.write_all(b"{\"t\":1,\"v\":5}\n").unwrap();
    until("it is written", || lines(&data_dir, "raw").len() == 1);
    for (wrong, words) in [
        ("time = 't'\n[columns]\nt = 'flaot'\n", "`flaot` is no type"),
        (&PRESS.replace("'int', range = [0, 9]", "'text'"), "the column `v` is VARCHAR, and was BIGINT"),
        (&PRESS.replace("time = 't'\n", ""), "its rows are placed by the time of arrival, and were by `t`"),
    ] {
        declare(&data_dir, wrong);
        server.signal("-HUP");
        until("it is refused", || {
            server.log().contains(words) && server.log().matches("the old one goes on").count() > 0
        });
        connection.write_all(b"{\"t\":2,\"v\":6}\n").unwrap();
    }
    until("the old worker goes on", || lines(&data_dir, "raw").len() == 4);
    // A worker that dies cannot be refused its file: sources are connected.
    assert!(server.kill_worker());
    connection.write_all(b"{\"t\":3,\"v\":7}\n").unwrap();
    until("the next worker goes on", || lines(&data_dir, "raw").len() == 5);
    assert!(server.log().contains("going on with the version that was in use"), "{}", server.log());
    declare(&data_dir, &PRESS.replace("[0, 9]", "[0, 99]"));
    server.signal("-HUP");
    until("it is taken up", || server.log().contains("was replaced by a new one"));
    connection.write_all(b"{\"t\":4,\"v\":70}\n").unwrap();
    until("it is written by the new rule", || lines(&data_dir, "raw").len() == 6);
    server.stop();
    assert_eq!(quarantined(&data_dir).len(), 0);
    assert_eq!(data_dir.files_like("raw/press/", ".toml").len(), 2);
}

#[test]
fn a_file_whose_rows_cannot_stand_beside_those_that_are_there_is_refused_at_the_start() {
    let data_dir = DataDir::new();
    declare(&data_dir, PRESS);
    run(&data_dir, "--stdin press", "{\"t\":1,\"v\":5}\n").expect(0);
    declare(&data_dir, &PRESS.replace("'int', range = [0, 9]", "'float'"));
    let refused = run(&data_dir, "--stdin press", "{\"t\":1,\"v\":5}\n").expect(2);
    assert!(
        refused.stderr.contains("the column `v` is DOUBLE, and was BIGINT, which it does not hold"),
        "{}",
        refused.stderr
    );
    assert_eq!(lines(&data_dir, "raw").len(), 1);
    // So is one that takes the place of a shipped stream, of which there is data from before versions were kept.
    data_dir.seal("telemetry", "2025-09-02T10", &[harness::reading(1_756_807_200, 1, 1.0)]);
    let other = "[columns]\nsensor_id = 'text'\n";
    fs::write(data_dir.path().join("streams/telemetry.toml"), other).unwrap();
    let refused = run(&data_dir, "--stdin telemetry", "").expect(2);
    assert!(refused.stderr.contains("its rows are placed by"), "{}", refused.stderr);
    // Another name, and it is another stream.
    fs::rename(data_dir.path().join("streams/press.toml"), data_dir.path().join("streams/press_2.toml")).unwrap();
    run(&data_dir, "--stdin press_2", "{\"t\":1,\"v\":5}\n").expect(0);
}

#[test]
fn a_capture_is_tried_and_nothing_is_written() {
    let data_dir = DataDir::new();
    declare(&data_dir, PRESS);
    let tried = run(&data_dir, "--check press", "{\"t\":3600,\"v\":5}\n\n{\"t\":3600,\"v\":50}\n{\"t\":7200,\"v\":6}")
        .expect(3);
    for words in ["constraint", "at most 9", "1970-01-01T01", "1970-01-01T02", "empty lines"] {
        assert!(tried.stdout.contains(words), "{}", tried.stdout);
    }
    run(&data_dir, "--check press", "{\"t\":3600,\"v\":5}\n").expect(0);
    assert!(run(&data_dir, "--check press", "").expect(0).stdout.contains("BIGINT"));
    declare(&data_dir, "[columns]\nv = 'flaot'\n");
    let wrong = run(&data_dir, "--check press", "").expect(2);
    assert!(wrong.stderr.contains("streams/press.toml:2:5: `flaot` is no type"), "{}", wrong.stderr);
    assert_eq!(data_dir.files(), ["streams/press.toml"]);
    assert!(run(&data_dir, "--check nothing", "").expect(2).stderr.contains("there is no stream nothing"));
    let proposed = run(&data_dir, "--infer", "{\"t\":1756807200,\"v\":5}\n").expect(0);
    declare(&data_dir, &proposed.stdout);
    run(&data_dir, "--check press", "{\"t\":1756807200,\"v\":5}\n").expect(0);
}

/// What the quarantine has after messages of which 3 of 5 fit the mended file.
fn with_quarantine() -> DataDir {
    let data_dir = DataDir::new();
    declare(&data_dir, PRESS);
    let sent = "{\"t\":1,\"v\":1}\n{\"t\":2,\"v\":20}\n{\"t\":3601,\"v\":30}\nnothing\n{\"t\":4,\"v\":400}\n{\"t\":5,\"v\":50}\n";
    run(&data_dir, "--stdin press", sent).expect(3);
    declare(&data_dir, &PRESS.replace("[0, 9]", "[0, 99]"));
    data_dir
}

fn accepted(data_dir: &DataDir) -> Vec<String> {
    let mut all = lines(data_dir, "raw");
    all.sort();
    all
}

const REPLAYED: [&str; 4] = ["{\"t\":1,\"v\":1}", "{\"t\":2,\"v\":20}", "{\"t\":3601,\"v\":30}", "{\"t\":5,\"v\":50}"];

#[test]
fn what_a_mended_file_accepts_is_replayed_once() {
    let data_dir = with_quarantine();
    run(&data_dir, "--replay press --from 2100", "").expect(0);
    assert_eq!(lines(&data_dir, "raw").len(), 1);
    for _ in 0..2 {
        run(&data_dir, "--replay press", "").expect(3);
        assert_eq!(accepted(&data_dir), REPLAYED);
        assert_eq!(quarantined(&data_dir).len(), 2);
    }
    // Mended once more, and now all but what is no JSON fits.
    declare(&data_dir, &PRESS.replace("[0, 9]", "[0, 999]"));
    run(&data_dir, "--replay press", "").expect(3);
    assert_eq!((accepted(&data_dir).len(), quarantined(&data_dir).len()), (5, 1));
}

#[test]
fn a_replay_that_dies_anywhere_is_finished_by_the_next_one_whatever_the_file_is_by_then() {
    let points = [
        "replay.begun",
        "draft.made:1",
        "draft.made:2",
        "draft.made:3",
        "publish.written",
        "draft.synced:1",
        "publish.synced",
        "publish.renamed:1",
        "publish.renamed:2",
        "replay.accepted",
        "publish.renamed:3",
        "replay.rest",
    ];
    for point in points {
        let data_dir = with_quarantine();
        let mut command = data_dir.program("tcp-ingest");
        let died = command.args(["--replay", "press"]).env("FAULT", point).stdin(Stdio::null()).output().unwrap();
        assert_eq!(died.status.code(), None, "{point} is not reached");
        // The file changes once more, before it is done again; twice, because a second run must change nothing.
        declare(&data_dir, &PRESS.replace("[0, 9]", "[0, 60]"));
        for _ in 0..2 {
            run(&data_dir, "--replay press", "").expect(3);
        }
        assert_eq!(accepted(&data_dir), REPLAYED, "{point}");
        assert_eq!(quarantined(&data_dir).len(), 2, "{point}");
    }
}
