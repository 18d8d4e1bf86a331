//! What a service manager may offer: sockets that it has bound, readiness, a watchdog. None of it is needed.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::lines;
use harness::{DataDir, Server, kill, reading, until};

/// tcp-ingest over `data_dir` with `socket` as systemd would pass it: the third descriptor of the very process.
fn activated(data_dir: &DataDir, socket: TcpListener, listen: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"", "sh"]);
    command.arg(data_dir.program("tcp-ingest").get_program()).arg("--data-dir").arg(data_dir.path());
    command.args(["--listen", listen]).stdin(Stdio::from(OwnedFd::from(socket))).stderr(Stdio::piped());
    command
}

#[test]
fn a_socket_that_was_bound_before_is_served_also_by_the_next_worker_and_keeper() {
    let data_dir = DataDir::new();
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut child = activated(&data_dir, socket, &format!("telemetry=127.0.0.1:{port}")).spawn().unwrap();
    for (count, signal) in [(1, "-USR2"), (2, "-HUP"), (3, "-TERM")] {
        let mut source = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        std::io::Write::write_all(&mut source, (reading(0, count, 1.0) + "\n").as_bytes()).unwrap();
        until("it is written", || lines(&data_dir, "raw").len() == usize::try_from(count).unwrap());
        assert!(kill(signal, child.id()));
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_socket_that_nobody_asked_for_is_a_mistake() {
    let data_dir = DataDir::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = activated(&data_dir, socket, "telemetry=127.0.0.1:0").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no --listen names it"));
}

#[test]
fn the_service_manager_learns_when_it_serves_lives_and_stops() {
    let data_dir = DataDir::new();
    let path = data_dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let next = || {
        let mut text = [0; 200];
        let length = manager.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).trim().to_owned()
    };
    let mut command = data_dir.program("tcp-ingest");
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    let server = Server::start_command(command, &["telemetry"], "");
    let mut said = Vec::new();
    while said.iter().filter(|word| *word == "WATCHDOG=1").count() < 3 || !said.contains(&"READY=1".to_owned()) {
        said.push(next());
    }
    server.stop();
    while !said.contains(&"STOPPING=1".to_owned()) {
        said.push(next());
    }
    assert_eq!(said.iter().filter(|word| *word == "READY=1").count(), 1, "{said:?}");
}
