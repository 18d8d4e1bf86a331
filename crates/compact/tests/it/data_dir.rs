//! Data directories with characters in their paths that mean something to DuckDB: every program works there, or refuses
//! before it does anything. And one that belongs to somebody else: one message, however many hours it has.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use harness::{DataDir, Run, epoch, reading};

use crate::common::HOUR;

fn readings(sensor: i64) -> Vec<String> {
    vec![reading(epoch(HOUR) + sensor, sensor, 20.5)]
}

/// Makes a data directory of this name and calls `check` with it.
fn in_data_dir(name: &OsStr, check: impl FnOnce(&DataDir)) {
    let folder = harness::tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.join("raw")).unwrap();
    check(&DataDir::at(&path));
}

#[test]
fn a_data_directory_whose_path_looks_like_a_pattern_is_one_as_any_other() {
    for name in ["da?ta", "da*ta[1]", "da{a,b}", "da\\ta", "da'ta", "da\"ta", "da ta", "da\nta", "hour=10", "$HOME;#%"]
    {
        in_data_dir(OsStr::new(name), |data_dir| {
            data_dir.seal("telemetry", HOUR, &readings(1));
            data_dir.run("compact", "").expect(0);
            data_dir.seal("telemetry", HOUR, &readings(2));
            data_dir.run("compact", "--dedup").expect(0);
            let verified = data_dir.run("compact", "--verify --format ndjson").expect(0).stdout;
            assert!(verified.contains(r#""rows":2,"state":"ok""#), "{name}: {verified}");
            data_dir.run("aggregate", "temperatures").expect(0);
            let printed = data_dir.run("aggregate", "temperatures --output - --format csv").expect(0).stdout;
            assert_eq!(printed.lines().count(), 3, "{name}: {printed}");
            let load = data_dir.run("load-warehouse", "temperatures");
            if name.contains('?') {
                assert!(load.status == Some(1) && load.stderr.contains("name another file (--file)"), "{load:?}");
                let file = data_dir.path().with_file_name("warehouse.duckdb");
                data_dir.run("load-warehouse", &format!("temperatures --file {}", file.display())).expect(0);
            } else {
                load.expect(0);
                data_dir.run("load-warehouse", "temperatures --verify").expect(0);
            }
            assert!(data_dir.run("housekeep", "status").expect(0).stdout.contains("temperatures"), "{name}");
            data_dir.run("housekeep", "clean --keep-parquet 1d --even-if-needed").expect(0);
            assert_eq!(data_dir.files_like("parquet/", ".expired.json").len(), 2, "{name}");
        });
    }
}

#[test]
fn a_data_directory_that_duckdb_cannot_find_is_refused_before_anything_is_done() {
    for name in [&b"da\xffta"[..], b"da\\?ta", b"d[a\\ta"] {
        in_data_dir(OsStr::from_bytes(name), |data_dir| {
            let name = String::from_utf8_lossy(name);
            for (program, arguments) in [
                ("tcp-ingest", "--stdin telemetry"),
                ("compact", ""),
                ("aggregate", "temperatures"),
                ("load-warehouse", "--all"),
                ("housekeep", "status"),
            ] {
                let run = data_dir.run(program, arguments);
                assert!(run.status == Some(2) && run.stderr.contains("rename the folder"), "{name}: {run:?}");
                let mut by_environment = harness::program(program);
                by_environment.args(arguments.split_whitespace()).env("DATA_DIR", data_dir.path());
                assert_eq!(Run::of(&mut by_environment).status, Some(2), "{program}: {name}");
            }
            assert!(data_dir.files().is_empty(), "{name}: {:?}", data_dir.files());
        });
    }
}

/// Runs a program as root without the right to read the files of other users: an ordinary user could not load the libraries
/// that the tests are linked with.
fn without_privileges(data_dir: &DataDir, program: &str, arguments: &str) -> Run {
    let program = data_dir.program(program);
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]).arg(program.get_program());
    Run::of(command.args(program.get_args()).args(arguments.split_whitespace()))
}

#[test]
fn a_tree_of_another_user_is_one_message_in_every_program() {
    let data_dir = DataDir::new();
    let hours: Vec<_> = (0..31).map(|n| HOUR.parse::<layout::Hour>().unwrap().plus(n).to_string()).collect();
    let seal = |sensor| {
        for hour in &hours {
            data_dir.seal("telemetry", hour, &[reading(epoch(hour), sensor, 20.5)]);
        }
    };
    seal(1);
    data_dir.run("compact", "").expect(0);
    seal(2);
    for file in data_dir.files_like("parquet/", ".parquet") {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        if std::os::unix::fs::chown(&file, Some(65534), None).is_err() {
            return harness::skipped("a tree of another user, because only root can give files away");
        }
    }
    for (program, arguments) in [
        ("compact", ""),
        ("aggregate", "temperatures"),
        ("load-warehouse", "telemetry"),
        ("housekeep", "status"),
        ("housekeep", "clean --keep-parquet 1d"),
    ] {
        let run = without_privileges(&data_dir, program, arguments).expect(3);
        let errors: Vec<_> = run.stderr.lines().filter(|line| line.contains("error: ")).collect();
        assert_eq!(errors.len(), 1, "{program}: {}", run.stderr);
        let name = if program == "aggregate" { "temperatures" } else { "telemetry" };
        let hours = format!("{name} 2025-09-02T10 to 2025-09-03T16: ");
        for words in [&*hours, "Permission denied", "make it readable", "-v names each"] {
            assert!(errors[0].contains(words), "{program}: {words}: {}", errors[0]);
        }
    }
}
