//! A real MariaDB server of the tests' own: its own folder, socket and loopback port, gone when the tests end.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::tempfile::TempDir;
use crate::warehouse::{PASSWORD, USER, cells, end, new_name};
use crate::{Network, within};

/// A running server.
pub struct MariaDb {
    folder: TempDir,
    pub port: u16,
    options: Vec<String>,
    /// The network namespace that it runs in, if it is not the usual one.
    space: Option<String>,
    /// A shell that ends the server when its standard input closes: also when the tests are killed.
    guard: Mutex<Child>,
}

impl MariaDb {
    /// The server that the tests share, or none, which is said.
    pub fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        missing(test).is_none().then(|| SHARED.get_or_init(|| Self::start(&[], None)))
    }

    /// A server of a test's own, or none, which is said.
    pub fn own(test: &str) -> Option<Self> {
        Self::own_with(test, &[])
    }

    /// A server of a test's own, with options of its own, or none, which is said.
    pub fn own_with(test: &str, options: &[&str]) -> Option<Self> {
        missing(test).is_none().then(|| Self::start(options, None))
    }

    /// A server of a test's own in a network of its own, on its usual port, or none, which is said.
    pub fn within(test: &str, network: &Network) -> Option<Self> {
        missing(test).is_none().then(|| Self::start(&[], Some(network.server())))
    }

    /// A server of a test's own that lives as long as the tests do.
    pub fn kept(test: &str) -> Option<&'static Self> {
        Self::own(test).map(|server| &*Box::leak(Box::new(server)))
    }

    fn start(options: &[&str], space: Option<String>) -> Self {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        let install = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(format!("--datadir={}", data.display()))
            .output()
            .unwrap();
        assert!(install.status.success(), "{}", String::from_utf8_lossy(&install.stdout));
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = if space.is_some() { 3306 } else { free() };
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        let guard = Mutex::new(Self::launch(folder.path(), port, &options, space.as_deref()));
        let server = Self { folder, port, options, space, guard };
        server.wait_until_ready();
        let password = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
        server.sql(&format!("CREATE USER '{USER}'@'%' IDENTIFIED BY '{password}'; GRANT ALL ON *.* TO '{USER}'@'%'"));
        server
    }

    fn launch(folder: &Path, port: u16, options: &[String], space: Option<&str>) -> Child {
        let user = Command::new("id").arg("-un").output().unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut server = Command::new(server_program().unwrap());
        server
            .arg("--no-defaults")
            .arg(format!("--user={}", String::from_utf8_lossy(&user.stdout).trim()))
            .arg(format!("--datadir={}", folder.join("data").display()))
            .arg(format!("--socket={}", folder.join("socket").display()))
            .arg(format!("--pid-file={}", folder.join("pid").display()))
            // A server that starts removes what it takes for its own temporary files.
            .arg(format!("--tmpdir={}", folder.display()))
            .arg(format!("--port={port}"))
            .arg(format!("--bind-address={}", space.map_or("127.0.0.1", |_| "0.0.0.0")))
            .args(["--skip-networking=0", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=2"])
            .args(options);
        if let Some(space) = space {
            server = within(space, &server);
        }
        Command::new("sh")
            .args(["-c", r#""$@" < /dev/null & server=$!; cat > /dev/null; kill -9 $server; wait $server"#, "guard"])
            .arg(server.get_program())
            .args(server.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn wait_until_ready(&self) {
        let end = Instant::now() + Duration::from_secs(120);
        while !self.client().args(["-e", "SELECT 1"]).output().unwrap().status.success() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "MariaDB does not start:\n{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn client(&self) -> Command {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--user=root", "--batch", "--raw", "--skip-column-names"]);
        client.args(["--default-character-set=utf8mb4"]);
        client.arg(format!("--socket={}", self.folder.path().join("socket").display()));
        client
    }

    /// What the server's own client prints: the cells of each row.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> Vec<Vec<String>> {
        cells(self.client().args(["-e", sql]))
    }

    /// Has the server's own client run `sql` on the side.
    pub fn start_sql(&self, sql: &str) -> Child {
        self.client().args(["-e", sql]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// A database that no other test uses.
    pub fn database(&self) -> String {
        let name = new_name();
        self.sql(&format!("CREATE DATABASE {name}"));
        name
    }

    /// The folder of its socket, and of its data in `data`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the server with -9.
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
        for id in self.sql(&format!("SELECT id FROM information_schema.processlist WHERE user = '{USER}'")).concat() {
            // One that has ended by itself cannot be ended.
            let _ = self.client().args(["-e", &format!("KILL {id}")]).output().unwrap();
        }
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.stop();
    }
}

fn server_program() -> Option<PathBuf> {
    ["/usr/sbin/mariadbd", "/usr/bin/mariadbd", "/usr/local/sbin/mariadbd"]
        .iter()
        .map(PathBuf::from)
        .find(|p| p.is_file())
}

/// Says that a test is skipped, and why, if something is missing that it needs.
fn missing(test: &str) -> Option<()> {
    let is_missing = server_program().is_none();
    if is_missing {
        crate::skipped(&format!(
            "{test} on MariaDB, because mariadbd is not installed (apt-get install mariadb-server)"
        ));
    }
    is_missing.then_some(())
}
