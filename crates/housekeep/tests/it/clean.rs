//! What `housekeep clean` removes, what it keeps and why, and that it may die anywhere.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use warehouse::{Warehouse, WarehouseArgs};

use crate::common::{DataDir, ago, name, objects, session};
use harness::{Random, rounds};
use layout::{Area, DatasetLock, Fingerprint};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn an_hour_goes_when_it_is_old_enough_and_leaves_its_record() {
    let data_dir = DataDir::new();
    data_dir.stream("telemetry", ago(46), 3);
    data_dir.stream("telemetry", ago(48), 3);
    let run = data_dir.run("clean --keep-parquet 2d").expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    assert!(data_dir.has("telemetry", ago(46)) && !data_dir.has("telemetry", ago(48)));
    assert!(data_dir.is_expired("telemetry", ago(48)) && !data_dir.is_expired("telemetry", ago(46)));

    let before = data_dir.picture();
    data_dir.run("clean --keep-parquet 2d").expect(0);
    assert_eq!(data_dir.picture(), before);
}

#[test]
fn without_a_rule_data_is_kept_for_ever() {
    let data_dir = DataDir::new();
    data_dir.stream("telemetry", "1970-01-01T00".parse().unwrap(), 3);
    data_dir.quarantine("telemetry", "1970-01-01T00".parse().unwrap(), &["not_json"]);
    data_dir.seal("telemetry", "1970-01-01T01".parse().unwrap());
    let before = data_dir.picture();
    data_dir.run("clean").expect(0);
    assert_eq!(data_dir.picture(), before);
}

#[test]
fn a_rule_for_one_data_set_comes_before_the_rule_for_all() {
    let data_dir = DataDir::new();
    for dataset in ["a", "b"] {
        data_dir.stream(dataset, ago(100), 1);
    }
    data_dir.run("clean --keep-parquet 3d --keep-parquet a=10d").expect(0);
    assert!(data_dir.has("a", ago(100)) && !data_dir.has("b", ago(100)));
    data_dir.run("clean --keep-parquet a=3d").expect(0);
    assert!(!data_dir.has("a", ago(100)));
}

#[test]
fn rules_for_a_data_set_that_is_to_come_do_nothing_yet() {
    let data_dir = DataDir::new();
    std::fs::create_dir(data_dir.data.path().join("raw")).unwrap();
    assert_eq!(data_dir.run("clean --keep-parquet b=3d").expect(0).stderr, "");
}

#[test]
fn rules_that_contradict_each_other_or_cannot_be_read_are_refused() {
    let data_dir = DataDir::new();
    data_dir.stream("a", ago(100), 1);
    let twice = data_dir.run("clean --keep-parquet 3d --keep-parquet 4d").expect(2);
    assert!(twice.stderr.contains("given twice for all data sets: 3d and 4d"), "{}", twice.stderr);
    data_dir.run("clean --keep-parquet a=3d --keep-parquet a=4d").expect(2);
    let unit = data_dir.run("clean --keep-parquet a=3").expect(2);
    assert!(unit.stderr.contains("write 36h, 90d or 12w"), "{}", unit.stderr);
    data_dir.run("clean --keep-parquet ../a=3d").expect(2);
    assert!(data_dir.has("a", ago(100)));
    let unknown = data_dir.run("clean --keep-parquet b=3d").expect(2);
    assert!(unknown.stderr.contains("b: there is no such data set: the tree has a\n"), "{}", unknown.stderr);
}

#[test]
fn an_hour_with_raw_segments_stays_whatever_is_asked() {
    let data_dir = DataDir::new();
    data_dir.stream("telemetry", ago(100), 3);
    data_dir.stream("telemetry", ago(101), 3);
    let sealed = data_dir.seal("telemetry", ago(100));
    let open = data_dir.open(Area::Raw, "telemetry", ago(101), b"{}\n");
    let run = data_dir.run("clean --keep-parquet 1d --even-if-needed").expect(0);
    assert!(run.stderr.contains("2 overdue hours kept") && run.stderr.contains("run compact"), "{}", run.stderr);
    assert!(data_dir.has("telemetry", ago(100)) && data_dir.has("telemetry", ago(101)));

    layout::remove_segments(&[sealed]).unwrap();
    data_dir.run("clean --keep-parquet 1d").expect(0);
    assert!(!data_dir.has("telemetry", ago(100)) && data_dir.has("telemetry", ago(101)));
    assert!(open.path().exists());
}

#[test]
fn an_hour_stays_until_every_aggregate_has_taken_it_in() {
    let data_dir = DataDir::new();
    let (missing, stale, fresh, recent) = (ago(100), ago(101), ago(102), ago(1));
    for hour in [missing, stale, fresh] {
        let input = data_dir.stream("telemetry", hour, 3);
        if hour == fresh {
            data_dir.aggregate("temperatures", hour, &[("telemetry", &input)]);
        }
    }
    data_dir.aggregate("temperatures", stale, &[("telemetry", &Fingerprint::of(b"older"))]);
    data_dir.aggregate("other", recent, &[("elsewhere", &Fingerprint::of(b"x"))]);
    let run = data_dir.run("clean --keep-parquet telemetry=1d -v").expect(0);
    assert!(
        !data_dir.has("telemetry", fresh) && data_dir.has("telemetry", stale) && data_dir.has("telemetry", missing)
    );
    assert!(run.stderr.contains("temperatures is out of date for this hour: run aggregate"), "{}", run.stderr);
    assert!(run.stderr.contains("temperatures does not have this hour yet: run aggregate"), "{}", run.stderr);

    // In so many words.
    data_dir.run("clean --keep-parquet telemetry=1d --even-if-needed").expect(0);
    assert!(!data_dir.has("telemetry", stale) && !data_dir.has("telemetry", missing));
}

#[test]
fn an_aggregate_whose_hour_has_expired_needs_nothing_any_more() {
    let data_dir = DataDir::new();
    let input = data_dir.stream("telemetry", ago(100), 3);
    data_dir.aggregate("temperatures", ago(100), &[("telemetry", &input)]);
    data_dir.run("clean --keep-parquet temperatures=1d").expect(0);
    assert!(data_dir.has("telemetry", ago(100)) && data_dir.is_expired("temperatures", ago(100)));
    data_dir.stream("telemetry", ago(100), 4);
    data_dir.run("clean --keep-parquet 1d").expect(0);
    assert!(!data_dir.has("telemetry", ago(100)));
}

#[test]
fn an_hour_stays_until_a_warehouse_that_knows_the_data_set_holds_it_as_it_is() {
    let data_dir = DataDir::new();
    let (missing, stale, loaded) = (ago(100), ago(101), ago(102));
    for hour in [missing, stale, loaded] {
        data_dir.stream("unknown", hour, 3);
        let fingerprint = data_dir.stream("telemetry", hour, 3);
        if hour == loaded {
            data_dir.load("telemetry", hour, &fingerprint);
        }
    }
    data_dir.load("telemetry", stale, &Fingerprint::of(b"older"));
    let run = data_dir.run("clean --keep-parquet 1d -v").expect(0);
    assert!(
        !data_dir.has("telemetry", loaded) && data_dir.has("telemetry", stale) && data_dir.has("telemetry", missing)
    );
    assert!([missing, stale, loaded].iter().all(|hour| !data_dir.has("unknown", *hour)));
    assert!(run.stderr.contains("holds an older state of this hour: run load-warehouse"), "{}", run.stderr);
    assert!(run.stderr.contains("does not hold this hour yet: run load-warehouse"), "{}", run.stderr);

    data_dir.run("clean --keep-parquet 1d --even-if-needed").expect(0);
    assert!(!data_dir.has("telemetry", stale) && !data_dir.has("telemetry", missing));
}

#[test]
fn a_wish_that_is_only_just_due_is_kept_without_a_word() {
    let data_dir = DataDir::new();
    data_dir.load("telemetry", ago(100), &Fingerprint::of(b"x"));
    data_dir.stream("telemetry", ago(30), 3);
    let run = data_dir.run("clean --keep-parquet 24h").expect(0);
    assert_eq!(run.stderr, "");
    let run = data_dir.run("clean --keep-parquet 5h").expect(0);
    assert!(run.stderr.contains("1 overdue hour kept"), "{}", run.stderr);
    assert!(data_dir.has("telemetry", ago(30)));
}

#[test]
fn an_hour_whose_table_somebody_has_dropped_is_not_in_the_warehouse() {
    let data_dir = DataDir::new();
    let fingerprint = data_dir.stream("telemetry", ago(100), 3);
    data_dir.stream("telemetry", ago(99), 3);
    data_dir.load("telemetry", ago(100), &fingerprint);
    duckdb::Connection::open(data_dir.tree.warehouse()).unwrap().execute_batch("DROP TABLE telemetry").unwrap();
    let run = data_dir.run("clean --keep-parquet 1d").expect(0);
    assert!(run.stderr.contains("the warehouse does not hold this hour yet"), "{}", run.stderr);
    assert!(data_dir.has("telemetry", ago(100)) && data_dir.has("telemetry", ago(99)));
}

#[test]
fn a_server_that_the_environment_names_is_not_passed_over() {
    let data_dir = DataDir::new();
    data_dir.stream("telemetry", ago(100), 3);
    let clean = |arguments: &[&str]| {
        let mut command = data_dir.data.program("housekeep");
        command.args(["clean", "--keep-parquet=1d"]).args(arguments).env("DB_NAME", "plant");
        harness::Run::of(&mut command)
    };
    let run = clean(&[]).expect(2);
    assert!(run.stderr.contains("--target does not say which kind of server"), "{}", run.stderr);
    assert!(data_dir.has("telemetry", ago(100)));
    clean(&["--even-if-needed"]).expect(0);
    assert!(!data_dir.has("telemetry", ago(100)));
}

#[test]
fn a_warehouse_whose_name_is_wrong_is_not_one_that_needs_nothing() {
    let data_dir = DataDir::new();
    data_dir.stream("telemetry", ago(900), 3);
    let file = data_dir.data.path().join("typo.duckdb");
    let clean = format!("clean --keep-parquet 30d --file {}", file.display());
    let words = "typo.duckdb: nothing was ever loaded into it: check its name, or load into it first";
    for command in [clean.clone(), format!("{clean} --dry-run")] {
        let run = data_dir.run(&command).expect(1);
        assert!(
            run.stderr.contains(words) && run.stderr.contains("no hour of a data set is removed"),
            "{}",
            run.stderr
        );
    }
    // A file that somebody else made is as wrong.
    duckdb::Connection::open(&file).unwrap().execute_batch("CREATE TABLE t (i INT)").unwrap();
    assert!(data_dir.run(&clean).expect(1).stderr.contains(words));
    // And so is one whose first load failed, which has a load log without a line.
    let args = WarehouseArgs { file: Some(file.clone()), ..WarehouseArgs::default() };
    drop(Warehouse::attach_to_write(&args, &session(), &data_dir.tree).unwrap());
    assert!(data_dir.run(&clean).expect(1).stderr.contains(words));
    assert!(data_dir.run(&format!("status --file {}", file.display())).expect(0).stderr.contains(words));
    assert!(data_dir.has("telemetry", ago(900)));
    data_dir.run(&format!("{clean} --even-if-needed")).expect(0);
    assert!(!data_dir.has("telemetry", ago(900)));
}

#[test]
fn while_the_warehouse_cannot_be_asked_no_hour_goes_and_the_rest_does() {
    let data_dir = DataDir::new();
    let fingerprint = data_dir.stream("telemetry", ago(100), 3);
    data_dir.quarantine("telemetry", ago(100), &["not_json"]);
    // No server, or no extension to talk to one.
    let mut command = data_dir.data.program("housekeep");
    command.args(["clean", "--keep-parquet=1d", "--keep-quarantine=1d", "--target=mysql"]);
    command.envs([("DB_HOST", "127.0.0.1"), ("DB_PORT", "1"), ("DB_USER", "u"), ("DB_PASSWORD", "geheim")]);
    let run = harness::Run::of(command.env("DB_NAME", "d"));
    assert!(matches!(run.status, Some(1 | 75)) && !run.stderr.contains("geheim"), "{run:?}");
    assert!(data_dir.has("telemetry", ago(100)));
    assert_eq!(data_dir.data.files_like("quarantine", ".json").len(), 0);

    // Somebody else has the embedded one open for long.
    data_dir.load("telemetry", ago(100), &fingerprint);
    let open = duckdb::Connection::open(data_dir.tree.warehouse()).unwrap();
    data_dir.quarantine("telemetry", ago(100), &["not_json"]);
    let run = data_dir.run("clean --keep-parquet 1d --keep-quarantine 1d").expect(75);
    assert!(run.stderr.contains("no hour of a data set is removed"), "{}", run.stderr);
    assert!(data_dir.has("telemetry", ago(100)));
    assert_eq!(data_dir.data.files_like("quarantine", ".json").len(), 0);
    drop(open);
    data_dir.run("clean --keep-parquet 1d").expect(0);
    assert!(!data_dir.has("telemetry", ago(100)));
}

#[test]
fn a_damaged_file_is_named_and_never_removed() {
    let data_dir = DataDir::new();
    data_dir.stream("telemetry", ago(100), 3);
    let damaged = data_dir.tree.parquet(&name("telemetry"), ago(101));
    std::fs::create_dir_all(damaged.parent().unwrap()).unwrap();
    std::fs::write(&damaged, "PAR1 torn").unwrap();
    let run = data_dir.run("clean --keep-parquet 1d --even-if-needed").expect(3);
    assert!(run.stderr.contains(damaged.to_str().unwrap()), "{}", run.stderr);
    assert!(run.stderr.contains("put it back from a backup"), "{}", run.stderr);
    assert!(damaged.exists() && !data_dir.has("telemetry", ago(100)));
    data_dir.run("clean --keep-parquet 30d").expect(0);
}

#[test]
fn quarantined_input_goes_by_the_hour_of_its_arrival() {
    let data_dir = DataDir::new();
    let old = data_dir.quarantine("telemetry", ago(49), &["not_json"]);
    let young = data_dir.quarantine("telemetry", ago(46), &["not_json"]);
    let open = data_dir.open(Area::Quarantine, "telemetry", ago(49), b"{}\n");
    // Found just now in a segment from long ago, and found then.
    let derived = |suffix: &str| {
        let name = old.path.file_name().unwrap().to_str().unwrap().replace(".json", &format!("-{suffix}.json"));
        let path = old.path.with_file_name(name);
        std::fs::copy(&old.path, &path).unwrap();
        path
    };
    let (found_now, found_then) = (derived("damaged2025090210"), derived("torn"));
    let file = std::fs::File::options().write(true).open(&found_then).unwrap();
    file.set_modified(std::time::SystemTime::from(ago(49).start())).unwrap();
    data_dir.run("clean --keep-quarantine 48h").expect(0);
    assert!(!old.path.exists() && young.path.exists() && open.path().exists());
    assert!(found_now.exists() && !found_then.exists());
}

#[test]
fn orphans_go_by_age_and_in_parquet_by_the_lock() {
    let data_dir = DataDir::new();
    let old = data_dir.orphan(Area::Quarantine, "telemetry", ago(200), 2 * DAY);
    let young = data_dir.orphan(Area::Quarantine, "telemetry", ago(300), DAY / 2);
    let draft = data_dir.orphan(Area::Parquet, "telemetry", ago(200), Duration::ZERO);
    data_dir.stream("telemetry", ago(200), 3);

    let lock = DatasetLock::try_acquire(&data_dir.tree, &name("telemetry")).unwrap().unwrap();
    let plan = data_dir.run("clean --keep-parquet 1d --dry-run --format ndjson").expect(0);
    let plan = paths(&data_dir, &plan);
    assert!(plan.contains(&old) && plan.contains(old.parent().unwrap()));
    assert!(
        !plan.iter().any(|path| *path == young || path.starts_with(data_dir.data.path().join("parquet"))),
        "{plan:?}"
    );
    let run = data_dir.run("clean --keep-parquet 1d").expect(0);
    assert_eq!(run.stderr, "");
    assert!(!old.exists() && young.exists() && draft.exists() && data_dir.has("telemetry", ago(200)));
    let run = data_dir.run("clean -v").expect(0);
    assert!(run.stderr.contains("another process is changing this data set"), "{}", run.stderr);
    assert!(draft.exists());

    drop(lock);
    data_dir.run("clean --orphans-after 1h").expect(0);
    assert!(!young.exists() && !draft.exists() && data_dir.has("telemetry", ago(200)));
}

#[test]
fn empty_folders_go_but_not_where_somebody_may_be_about_to_write() {
    let data_dir = DataDir::new();
    let path = |area: &str, day: &str| data_dir.data.path().join(area).join("telemetry").join(day);
    for (area, day) in
        [("raw", "2024/01/01"), ("raw", "2024/02/01"), ("quarantine", "2024/01/01"), ("parquet", "2024/01")]
    {
        std::fs::create_dir_all(path(area, day)).unwrap();
    }
    let today = chrono::Utc::now().format("%Y/%m/%d").to_string();
    std::fs::create_dir_all(path("raw", &today)).unwrap();
    std::fs::create_dir_all(path("raw", "2024/02/notes")).unwrap();
    data_dir.run("clean").expect(0);
    assert!(
        !path("raw", "2024/01").exists() && !path("quarantine", "2024").exists() && !path("parquet", "2024").exists()
    );
    assert!(
        !path("raw", "2024/02/01").exists() && path("raw", "2024/02/notes").exists() && path("raw", &today).exists()
    );
    assert!(path("parquet", "").exists());
}

#[test]
fn a_missing_data_directory_is_a_mistake() {
    let data_dir = DataDir::new();
    let missing = harness::DataDir::at(&data_dir.data.path().join("missing"));
    let run = missing.run("housekeep", "clean --keep-parquet 1d --keep-quarantine 1d").expect(1);
    assert!(run.stderr.contains("there is no such data directory"), "{}", run.stderr);
    assert!(!missing.path().exists());
}

#[test]
fn the_data_directory_can_be_named_after_the_command_too() {
    let data_dir = DataDir::new();
    data_dir.stream("telemetry", ago(100), 3);
    let mut command = harness::program("housekeep");
    harness::Run::of(command.args(["clean", "--keep-parquet=1d", "--data-dir"]).arg(data_dir.data.path())).expect(0);
    assert!(!data_dir.has("telemetry", ago(100)));
}

#[test]
fn a_dry_run_changes_nothing_and_says_just_what_a_run_does() {
    let data_dir = furnished();
    let before = data_dir.picture();
    let plan = data_dir.run(&format!("{CLEAN} --dry-run --format ndjson")).expect(0);
    assert_eq!(data_dir.picture(), before);
    data_dir.run(CLEAN).expect(0);
    let after = data_dir.picture();
    let gone: BTreeSet<_> = before.keys().filter(|path| !after.contains_key(*path)).cloned().collect();
    assert_eq!(paths(&data_dir, &plan), gone);
    // How many depends on how many days and months the hours fall into.
    assert!(gone.len() > 10, "{gone:?}");
    let kept: Vec<_> = objects(&plan).into_iter().filter(|step| step["action"] == "keep").collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["hour"], ago(100).to_string());
    assert!(kept[0]["reason"].as_str().unwrap().contains("run compact"));

    let table = data_dir.run(&format!("{CLEAN} --dry-run")).expect(0).stdout;
    assert!(table.starts_with("action  kind     name       hour"), "{table}");
    let csv = data_dir.run(&format!("{CLEAN} --dry-run --format csv")).expect(0).stdout;
    assert!(csv.starts_with("action,kind,name,hour,path,bytes,reason\nkeep,parquet,telemetry,"), "{csv}");
}

#[test]
fn to_die_at_any_point_and_run_again_leaves_what_one_run_leaves() {
    let data_dir = furnished();
    let whole = data_dir.copy();
    whole.run(CLEAN).expect(0);
    let expected = relative(&whole);
    for point in ["publish.written", "publish.synced", "publish.renamed", "publish.done", "expire.recorded", "removed"]
    {
        for count in [1, 2, 7] {
            let data_dir = data_dir.copy();
            let mut command = data_dir.data.program("housekeep");
            let status = command
                .args(CLEAN.split(' '))
                .env("FAULT", format!("{point}:{count}"))
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert!(status.signal() == Some(9) || count > 1, "{point}:{count} was not reached");
            data_dir.run(CLEAN).expect(0);
            assert_eq!(relative(&data_dir), expected, "after death at {point}:{count}");
        }
    }
}

#[test]
fn to_be_killed_at_random_moments_and_run_again_leaves_what_one_run_leaves() {
    let data_dir = furnished();
    let whole = data_dir.copy();
    let begin = Instant::now();
    whole.run(CLEAN).expect(0);
    let length = u64::try_from(begin.elapsed().as_micros()).unwrap();
    let expected = relative(&whole);
    let mut random = Random::seeded();
    for round in 0..rounds(10) {
        let data_dir = data_dir.copy();
        for _ in 0..4 {
            let mut command = data_dir.data.program("housekeep");
            let mut child = command.args(CLEAN.split(' ')).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(random.below(length)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        data_dir.run(CLEAN).expect(0);
        assert_eq!(relative(&data_dir), expected, "round {round}");
    }
}

const CLEAN: &str = "clean --keep-parquet 2d --keep-quarantine 2d";

/// A data directory with something of everything, most of it old.
fn furnished() -> DataDir {
    let data_dir = DataDir::new();
    for hours in [1, 98, 99, 100, 130, 131] {
        let input = data_dir.stream("telemetry", ago(hours), 3);
        let aggregate = data_dir.aggregate("temperatures", ago(hours), &[("telemetry", &input)]);
        data_dir.load("temperatures", ago(hours), &aggregate);
        data_dir.quarantine("telemetry", ago(hours), &["not_json"]);
    }
    data_dir.seal("telemetry", ago(100));
    data_dir.orphan(Area::Parquet, "telemetry", ago(99), Duration::ZERO);
    data_dir.orphan(Area::Quarantine, "measurement", ago(500), 2 * DAY);
    data_dir
}

fn paths(data_dir: &DataDir, plan: &harness::Run) -> BTreeSet<PathBuf> {
    let steps = objects(plan).into_iter().filter(|step| step["action"] == "remove");
    steps.map(|step| data_dir.data.path().join(step["path"].as_str().unwrap())).collect()
}

/// What is there, with the content of all but the warehouse.
fn relative(data_dir: &DataDir) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let entries = data_dir.picture().into_iter();
    entries
        .map(|(path, content)| (path.strip_prefix(data_dir.data.path()).unwrap().to_owned(), content))
        .filter(|(path, _)| !path.starts_with("warehouse.duckdb"))
        .collect()
}
