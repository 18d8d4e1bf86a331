//! The lines of crontab.example in a real cron daemon: at boot it receives, and the warehouse fills by itself.
//!
//! The daemon runs in a mount namespace of its own, where the folders of crontabs are replaced by the test's, so that the
//! machine's are neither read nor touched; and in a process namespace of its own, so that all it started dies with it. That
//! takes root, and Debian's cron.
//!
//! The example is changed mechanically: the values of its settings (paths, ports, no more) are replaced by the test's, and
//! the five fields of each schedule: what runs every minute still does, what runs every hour is moved to even minutes,
//! what runs once a day to odd ones. `@reboot` stays, and the commands stay to the letter.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::{program, reading, skipped, tempfile};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What must be there for the test, or why it is skipped.
fn missing() -> Option<String> {
    let uid = Command::new("id").arg("-u").output().unwrap().stdout;
    if uid != b"0\n" {
        return Some("a cron daemon of one's own needs root".into());
    }
    let lacks = |path: &&str| !Path::new(path).exists();
    let absent = ["/usr/sbin/cron", "/usr/bin/unshare", "/usr/bin/flock", "/var/spool/cron/crontabs"];
    if let Some(path) = absent.iter().find(|path| lacks(path)) {
        return Some(format!("{path} is missing: apt-get install cron util-linux"));
    }
    let unshare = Command::new("unshare").args(["--mount", "--pid", "--fork", "--mount-proc", "true"]).output();
    let unshare = unshare.unwrap();
    (!unshare.status.success())
        .then(|| format!("no namespaces here: {}", String::from_utf8_lossy(&unshare.stderr).trim_end()))
}

/// The example with the test's settings, every schedule moved to these minutes.
fn crontab(folder: &Path, telemetry: u16, measurement: u16) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let settings = [
        ("BIN", path("bin")),
        ("SCRIPTS", fs::canonicalize(format!("{ROOT}/scripts")).unwrap().display().to_string()),
        ("DATA_DIR", path("data")),
        ("SENSORS", fs::canonicalize(format!("{ROOT}/tests/data/sensors.csv")).unwrap().display().to_string()),
        ("LOCKS", path("locks")),
        ("LOGS", path("logs")),
        ("TELEMETRY", format!("127.0.0.1:{telemetry}")),
        ("MEASUREMENT", format!("127.0.0.1:{measurement}")),
    ];
    let example = fs::read_to_string(format!("{ROOT}/crontab.example")).unwrap();
    // A library that the tests find by the environment must be found by the jobs.
    let libraries = std::env::var("LD_LIBRARY_PATH").map(|path| format!("LD_LIBRARY_PATH={path}"));
    let moved = example.lines().map(|line| {
        if let Some((name, value)) = settings.iter().find(|(name, _)| line.starts_with(&format!("{name}="))) {
            return format!("{name}={value}");
        }
        if !line.starts_with(|first: char| first.is_ascii_digit() || first == '*') {
            return line.to_owned();
        }
        let fields: Vec<&str> = line.splitn(6, ' ').collect();
        let minutes = match fields[..2] {
            ["*", _] => "*",
            [_, "*"] => "*/2",
            _ => "1-59/2",
        };
        format!("{minutes} * * * * {}", fields[5])
    });
    let text = libraries.into_iter().chain(moved).collect::<Vec<_>>().join("\n") + "\n";
    for (name, value) in &settings {
        assert!(text.contains(&format!("\n{name}={value}\n")), "the example has no setting {name}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(!line.contains("/opt/") && !line.contains("/srv/"), "a path that the settings do not name: {line}");
    }
    text
}

/// The daemon in its namespaces. Dropped, it is killed with all that it started.
struct Cron(Child);

impl Cron {
    fn start(folder: &Path, crontab: &str) -> Self {
        for name in ["crontabs", "cron.d", "locks", "logs", "bin"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        fs::write(folder.join("crontab"), "").unwrap();
        let table = folder.join("crontabs/root");
        fs::write(&table, crontab).unwrap();
        fs::set_permissions(&table, fs::Permissions::from_mode(0o600)).unwrap();
        let mail = folder.join("sendmail");
        fs::write(&mail, format!("#!/bin/sh\ncat >>{}\n", folder.join("mail").display())).unwrap();
        fs::set_permissions(&mail, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["tcp-ingest", "compact", "aggregate", "load-warehouse", "housekeep"] {
            let built = program(name);
            std::os::unix::fs::symlink(built.get_program(), folder.join("bin").join(name)).unwrap();
        }
        // /run is fresh too: the machine's daemon may hold its lock there, and @reboot runs once per content of it.
        let script = r#"
            set -e
            mount --bind "$1/crontabs" /var/spool/cron/crontabs
            mount --bind "$1/cron.d" /etc/cron.d
            mount --bind "$1/crontab" /etc/crontab
            mount -t tmpfs tmpfs /run
            mkdir /run/upper /run/work
            mount -t overlay -o lowerdir=/usr/sbin,upperdir=/run/upper,workdir=/run/work overlay /usr/sbin
            ln -sf "$1/sendmail" /usr/sbin/sendmail
            exec /usr/sbin/cron -f
        "#;
        let child = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"])
            .arg(folder)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Cron {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until there is an answer; fails the test with what `folder` has to say when there is none in time.
#[track_caller]
fn wait_for<T>(what: &str, folder: &Path, seconds: u64, mut answer: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        if start.elapsed() > Duration::from_secs(seconds) {
            let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
            panic!("{what}: not within {seconds} s\nmail:\n{}\nlog:\n{}", text("mail"), text("logs/ingest.log"));
        }
        sleep(Duration::from_millis(200));
    }
}

/// The process that was started as `program` and by none of its kind.
fn process(program: &Path) -> Option<String> {
    let text = |pid: &str, name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let program = program.to_str().unwrap();
    let pids: Vec<String> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|pid| text(pid, "cmdline").split('\0').next() == Some(program))
        .collect();
    let parent = |pid: &str| text(pid, "stat").rsplit(") ").next()?.split(' ').nth(1).map(str::to_owned);
    pids.iter().find(|pid| parent(pid).is_none_or(|parent| !pids.contains(&parent))).cloned()
}

/// The rows of the table, read from a copy, so that no job of the daemon finds the warehouse locked.
fn table(folder: &Path) -> Option<Vec<(i64, String, i64, f64)>> {
    let copy = tempfile::tempdir().unwrap();
    for name in ["warehouse.duckdb", "warehouse.duckdb.wal"] {
        let from = folder.join("data").join(name);
        if name == "warehouse.duckdb" || from.exists() {
            fs::copy(from, copy.path().join(name)).ok()?;
        }
    }
    let warehouse = duckdb::Connection::open(copy.path().join("warehouse.duckdb")).ok()?;
    let mut query = warehouse
        .prepare("SELECT sensor_id, sensor_name, samples, avg_temp FROM temperatures ORDER BY start_time, sensor_id")
        .ok()?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).ok()?;
    rows.collect::<Result<_, _>>().ok()
}

fn send(port: u16, lines: &[String]) {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
}

fn run_before_boot(folder: &Path, name: &str, arguments: &[&str], input: &str) {
    let mut command = program(name);
    command.arg("--data-dir").arg(folder.join("data")).args(arguments).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_example_fills_the_warehouse_from_boot_on() {
    if let Some(reason) = missing() {
        return skipped(&reason);
    }
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let hour = i64::try_from(now).unwrap() / 3600 * 3600 - 5 * 3600;
    let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (telemetry, measurement) = (port(), port());
    // Before the machine went down, an hour was received and compacted.
    fs::create_dir(folder.join("data")).unwrap();
    run_before_boot(folder, "tcp-ingest", &["--stdin", "telemetry"], &(reading(hour - 3600, 1, 18.5) + "\n"));
    run_before_boot(folder, "compact", &[], "");

    let _cron = Cron::start(folder, &crontab(folder, telemetry, measurement));

    // @reboot has started it.
    wait_for("tcp-ingest listens", folder, 30, || TcpStream::connect(("127.0.0.1", telemetry)).ok());
    let lines = [(10, 1, 20.0), (20, 1, 22.0), (30, 2, 9.5)];
    send(telemetry, &lines.map(|(second, sensor, value)| reading(hour + second, sensor, value)));
    // SIGTERM drains and seals, and the line that runs every minute starts it again.
    let ingest = folder.join("bin/tcp-ingest");
    let first = process(&ingest).expect("tcp-ingest runs");
    assert!(Command::new("kill").args(["-TERM", &first]).status().unwrap().success());

    let rows = wait_for("the table is filled", folder, 240, || table(folder).filter(|rows| rows.len() > 1));
    let (seattle, francisco) = ("Seattle".to_owned(), "San Francisco".to_owned());
    assert_eq!(rows, [(1, seattle.clone(), 1, 18.5), (1, seattle, 2, 21.0), (2, francisco, 1, 9.5)]);
    let second = wait_for("tcp-ingest runs again", folder, 90, || process(&ingest).filter(|pid| *pid != first));
    assert!(TcpStream::connect(("127.0.0.1", telemetry)).is_ok(), "tcp-ingest ({second}) does not listen");

    // The line with the percent signs wrote to a file named after the month.
    let status = wait_for("the state of the data directory is noted", folder, 90, || {
        let names = fs::read_dir(folder.join("logs")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names = names.filter_map(|name| name.into_string().ok());
        names
            .find(|name| name.starts_with("status-"))
            .filter(|name| folder.join("logs").join(name).metadata().unwrap().len() > 0)
    });
    let digits = status.strip_prefix("status-").unwrap().strip_suffix(".ndjson").unwrap();
    assert!(digits.len() == 7 && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'), "{status}");
    let mail = fs::read_to_string(folder.join("mail")).unwrap_or_default();
    assert_eq!(mail, "", "success is silent");
}
