//! A running tcp-ingest.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::DataDir;

/// A server under test; killed when dropped.
pub struct Server {
    pub child: Child,
    pub addresses: Vec<SocketAddr>,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it for `streams`, each on a free port, and waits until it listens.
    pub fn start(data_dir: &DataDir, streams: &[&str], arguments: &str) -> Self {
        Self::start_command(data_dir.program("tcp-ingest"), streams, arguments)
    }

    pub fn start_command(mut command: Command, streams: &[&str], arguments: &str) -> Self {
        command.args(streams.iter().flat_map(|stream| ["--listen".to_owned(), format!("{stream}=127.0.0.1:0")]));
        command.args(arguments.split_whitespace()).stderr(Stdio::piped()).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        let mut addresses = Vec::new();
        while addresses.len() < streams.len() {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended: {text}");
            if line.contains("listening for") {
                addresses.push(line.trim().rsplit(' ').next().unwrap().parse().unwrap());
            }
            text += &line;
        }
        let log = Arc::new(Mutex::new(text));
        let shared = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|count| count > 0) {
                shared.lock().unwrap().push_str(&std::mem::take(&mut line));
            }
        });
        Self { child, addresses, log, reader: Some(reader) }
    }

    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addresses.first().unwrap()).unwrap()
    }

    /// Sends `bytes` over a connection of its own and closes it.
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.connect().write_all(bytes.as_ref()).unwrap();
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn signal(&self, signal: &str) {
        assert!(kill(signal, self.child.id()));
    }

    /// Waits for it to end; returns its status and log.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        (status.code(), self.log())
    }

    /// Stops it as an administrator would, and expects success.
    #[track_caller]
    pub fn stop(self) -> String {
        self.signal("-TERM");
        let (status, log) = self.wait();
        assert_eq!(status, Some(0), "{log}");
        log
    }

    /// The processes that it has started, workers mostly.
    pub fn workers(&self) -> Vec<u32> {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().map(|id| id.parse().unwrap()).collect()
    }

    /// Kills the worker, if there is one just now.
    pub fn kill_worker(&self) -> bool {
        self.workers().into_iter().filter(|id| kill("-KILL", *id)).count() > 0
    }

    /// Kills all of it at once, as a power cut would.
    pub fn crash(mut self) {
        // Stopped, it cannot start another.
        assert!(kill("-STOP", self.child.id()));
        let workers = self.workers();
        for id in &workers {
            kill("-KILL", *id);
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        until("its workers are gone", || workers.iter().all(|id| is_gone(*id)));
    }

    fn processes(&self) -> impl Iterator<Item = u32> {
        self.workers().into_iter().chain([self.child.id()])
    }

    /// Resident memory of all its processes, in bytes.
    pub fn resident(&self) -> u64 {
        let resident = |id: u32| -> u64 {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("VmRSS: 0");
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
        };
        self.processes().map(resident).sum()
    }

    /// How often its threads have waited for something and were woken, all together.
    pub fn wake_ups(&self) -> u64 {
        let count = |status: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let tasks = self.processes().flat_map(|id| std::fs::read_dir(format!("/proc/{id}/task")).unwrap());
        tasks.map(|task| count(&std::fs::read_to_string(task.unwrap().path().join("status")).unwrap())).sum()
    }
}

/// Whether a process has ended, although nobody may have waited for it yet. Its first thread can end before the others,
/// which keep its files open.
pub fn is_gone(id: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { return true };
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).map_or(0, Iterator::count);
    threads <= 1 && stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('Z'))
}

/// Sends a signal; says whether there was such a process.
pub fn kill(signal: &str, id: u32) -> bool {
    Command::new("kill").args([signal, &id.to_string()]).stderr(Stdio::null()).status().unwrap().success()
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "the tests' runner shows it with the failure")]
    fn drop(&mut self) {
        for id in self.workers() {
            kill("-KILL", id);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("what the server logged:\n{}", self.log());
        }
    }
}

/// Waits until `done` is true; fails the test when that takes unreasonably long.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited a minute until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
