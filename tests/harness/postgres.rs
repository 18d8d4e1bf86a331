//! A real PostgreSQL server of the tests' own: its own folder, socket and loopback port, gone when the tests end.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::tempfile::TempDir;
use crate::warehouse::{PASSWORD, USER, cells, end, extension_is_missing, new_name};
use crate::{Network, within};

/// A running server.
pub struct Postgres {
    folder: TempDir,
    pub port: u16,
    options: Vec<String>,
    /// The network namespace that it runs in, if it is not the usual one.
    space: Option<String>,
    /// A shell that ends the server when its standard input closes: also when the tests are killed.
    guard: Mutex<Child>,
}

/// Runs the server until its standard input ends; then kills its first process, which can start no other then, and those
/// that it has started.
const GUARD: &str = r#""$@" < /dev/null & server=$!; cat > /dev/null
    read -r children < /proc/$server/task/$server/children; kill -9 $server $children; wait $server
    while kill -0 $children; do sleep 0.01; done"#;

impl Postgres {
    /// The server that the tests share, or none, which is said.
    pub fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        missing(test).is_none().then(|| SHARED.get_or_init(|| Self::start(&[], None)))
    }

    /// A server of a test's own, with settings of its own (`name=value`), or none, which is said.
    pub fn own(test: &str, settings: &[&str]) -> Option<Self> {
        missing(test).is_none().then(|| Self::start(settings, None))
    }

    /// A server of a test's own in a network of its own, on its usual port, or none, which is said.
    pub fn within(test: &str, network: &Network) -> Option<Self> {
        missing(test).is_none().then(|| Self::start(&[], Some(network.server())))
    }

    /// A server of a test's own that lives as long as the tests do.
    pub fn kept(test: &str) -> Option<&'static Self> {
        Self::own(test, &[]).map(|server| &*Box::leak(Box::new(server)))
    }

    fn start(settings: &[&str], space: Option<String>) -> Self {
        let folder = TempDir::new().unwrap();
        // The server does not run as root: whoever it runs as must get there.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let secret = folder.path().join("password");
        std::fs::write(&secret, "for root of the tests").unwrap();
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).unwrap();
        let make = as_somebody(&program("initdb").unwrap())
            .arg("-D")
            .arg(folder.path().join("data"))
            .args([
                "-U",
                "root",
                "--no-sync",
                "-E",
                "UTF8",
                "--locale=C",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
            ])
            .arg(format!("--pwfile={}", secret.display()))
            .current_dir("/")
            .output()
            .unwrap();
        assert!(make.status.success(), "{}", String::from_utf8_lossy(&make.stderr));
        // Whoever comes over a network of a test's own.
        let rules = folder.path().join("data/pg_hba.conf");
        std::fs::write(&rules, std::fs::read_to_string(&rules).unwrap() + "host all all samenet scram-sha-256\n")
            .unwrap();
        crate::certificate(folder.path());
        let key = folder.path().join("key.pem");
        let owner = folder.path().join("data").metadata().unwrap();
        std::os::unix::fs::chown(&key, Some(owner.uid()), Some(owner.gid())).unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = if space.is_some() { 5432 } else { free() };
        let options: Vec<_> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let guard = Mutex::new(Self::launch(folder.path(), port, &options, space.as_deref()));
        let server = Self { folder, port, options, space, guard };
        server.wait_until_ready();
        server.sql("postgres", &format!("CREATE ROLE {USER} LOGIN PASSWORD '{}'", PASSWORD.replace('\'', "''")));
        server
    }

    fn launch(folder: &Path, port: u16, settings: &[String], space: Option<&str>) -> Child {
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut server = as_somebody(&program("postgres").unwrap());
        server
            .arg("-D")
            .arg(folder.join("data"))
            .arg("-k")
            .arg(folder)
            .args(["-p", &port.to_string(), "-c", "fsync=off"])
            .args(["-c", &format!("listen_addresses={}", space.map_or("127.0.0.1", |_| "0.0.0.0"))])
            .args(settings.iter().flat_map(|setting| ["-c", setting]));
        if let Some(space) = space {
            server = within(space, &server);
        }
        Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(server.get_program())
            .args(server.get_args())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn wait_until_ready(&self) {
        let end = Instant::now() + Duration::from_secs(120);
        while !self.client("postgres").args(["-c", "SELECT 1"]).output().unwrap().status.success() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "PostgreSQL does not start:\n{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn client(&self, database: &str) -> Command {
        let mut client = Command::new(program("psql").unwrap());
        client.args(["-X", "-q", "-A", "-t", "-F", "\t", "-P", "null=NULL", "-v", "ON_ERROR_STOP=1", "-U", "root"]);
        client.arg("-h").arg(self.folder.path()).args(["-p", &self.port.to_string(), "-d", database]);
        client.env("PGOPTIONS", "-c client_min_messages=warning");
        client
    }

    /// What the server's own client prints: the cells of each row.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> Vec<Vec<String>> {
        cells(self.client(database).args(["-c", sql]))
    }

    /// Has the server's own client run `sql` on the side.
    pub fn start_sql(&self, database: &str, sql: &str) -> Child {
        self.client(database).args(["-c", sql]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// A database that no other test uses.
    pub fn database(&self) -> String {
        let name = new_name();
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {USER}"));
        name
    }

    /// The folder of its socket, of its certificate `cert.pem`, and of its data in `data`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills all of the server with -9.
    pub fn stop(&self) {
        end(&self.guard);
    }

    /// Starts it again, on the same data.
    pub fn restart(&self) {
        *self.guard.lock().unwrap() = Self::launch(self.folder.path(), self.port, &self.options, self.space.as_deref());
        self.wait_until_ready();
    }

    /// Ends all connections of [`USER`], as an administrator can.
    pub fn kill_connections(&self) {
        self.sql(
            "postgres",
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{USER}'"),
        );
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The server refuses to run as root: then it runs as nobody in particular.
fn as_somebody(program: &Path) -> Command {
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout != b"0\n" {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command
}

/// A program of the newest version that is installed.
fn program(name: &str) -> Option<PathBuf> {
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().collect();
    versions.sort_by_key(std::fs::DirEntry::file_name);
    let debian = versions.into_iter().rev().map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<_> = std::env::split_paths(&path).collect();
    debian.chain(path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Says that a test is skipped, and why, if something is missing that it needs.
fn missing(test: &str) -> Option<()> {
    let why = if program("initdb").is_none() || program("postgres").is_none() || program("psql").is_none() {
        "its server is not installed (apt-get install postgresql)".to_owned()
    } else {
        extension_is_missing("postgres_scanner")?
    };
    crate::skipped(&format!("{test} on PostgreSQL, because {why}"));
    Some(())
}
