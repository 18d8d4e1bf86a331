//! Told to stop: what the sources have sent is taken, and what cannot be taken is named.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use harness::{DataDir, Run, Server, kill, reading, until};

use crate::common::{Source, lines, quarantined};

/// A server whose storage refuses every write while the file `outage` is there.
fn with_outages(data_dir: &DataDir, outage: &Path, streams: &[&str], arguments: &str) -> Server {
    let mut command = data_dir.program("tcp-ingest");
    command.env("FAULT", "segment.write").env("FAULT_WHILE", outage);
    Server::start_command(command, streams, arguments)
}

/// Sends messages until neither kernel takes more; returns what was sent.
fn fill(source: &mut TcpStream, sensor: i64) -> String {
    source.set_nonblocking(true).unwrap();
    let text: String = (0..200_000).map(|n| reading((n % 3) * 3600, (sensor << 32) + n, 1.0) + "\n").collect();
    let mut sent = 0;
    loop {
        match source.write(&text.as_bytes()[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return text[..sent].to_owned(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_is_still_on_its_way_in_the_senders_kernels_is_taken() {
    for closed in [true, false] {
        let data_dir = DataDir::new();
        let outage = data_dir.path().join("outage");
        let server = with_outages(&data_dir, &outage, &["telemetry"], "");
        let mut sources: Vec<_> = (0..3).map(|_| server.connect()).collect();
        fs::write(&outage, "").unwrap();
        let sent: Vec<_> = (1..).zip(&mut sources).map(|(sensor, source)| fill(source, sensor)).collect();
        if closed {
            sources.clear();
        }
        until("it waits", || server.log().contains("reading waits"));
        server.signal("-TERM");
        // Longer than any pause by which a source that has ended could be told.
        std::thread::sleep(Duration::from_secs(2));
        fs::remove_file(&outage).unwrap();
        let (status, log) = server.wait();
        assert_eq!(status, Some(0), "{log}");
        let (mut whole, mut cut) = (Vec::new(), Vec::new());
        for text in &sent {
            let (complete, rest) = text.rsplit_once('\n').unwrap();
            whole.extend(complete.lines().map(str::to_owned));
            cut.extend((!rest.is_empty()).then(|| ("unfinished".to_owned(), rest.to_owned())));
        }
        whole.sort();
        cut.sort();
        let raw = lines(&data_dir, "raw");
        assert!(raw == whole, "{} of {} lines, sources closed: {closed}\n{log}", raw.len(), whole.len());
        let mut kept = quarantined(&data_dir);
        kept.sort();
        assert_eq!(kept, cut);
    }
}

/// Why what the kernel holds cannot be written when the program is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    DiskFull,
    DataDirGone,
    /// The worker was started in the middle of it, and has not got to the connections.
    WorkerNew,
    /// The worker does nothing any more.
    WorkerStuck,
}

#[test]
fn all_that_is_lost_is_named_by_connection_and_in_total() {
    for trouble in [Trouble::DiskFull, Trouble::DataDirGone, Trouble::WorkerNew, Trouble::WorkerStuck] {
        let folder = harness::tempfile::tempdir().unwrap();
        let (outage, elsewhere) = (folder.path().join("outage"), folder.path().join("elsewhere"));
        let data_dir = DataDir::at(&folder.path().join("data"));
        // Each thread sees by itself that the data directory is gone; until then it writes to what it has open.
        let workers = if trouble == Trouble::DataDirGone { 1 } else { 2 };
        let arguments = format!("--drain-timeout 300ms --sync-every 50ms --workers {workers}");
        let server = with_outages(&data_dir, &outage, &["telemetry", "measurement"], &arguments);
        let mut written = Source::new(&server);
        written.send_and_see(&data_dir, 0);
        if trouble == Trouble::DataDirGone {
            fs::rename(data_dir.path(), &elsewhere).unwrap();
            until("it is seen", || server.log().contains("reading waits"));
        } else {
            fs::write(&outage, "").unwrap();
        }
        let mut sources: Vec<_> = (0..5).map(|n| TcpStream::connect(server.addresses[n % 2]).unwrap()).collect();
        let line = reading(0, 1, 1.0) + "\n";
        for (count, source) in (1..).zip(&mut sources) {
            source.write_all(line.repeat(count * 10).as_bytes()).unwrap();
        }
        until("it waits", || server.log().contains("reading waits"));
        match trouble {
            Trouble::WorkerNew => {
                fs::rename(data_dir.path(), &elsewhere).unwrap();
                assert!(server.kill_worker());
                until("the next one waits", || server.log().matches("reading waits").count() == 2);
            }
            Trouble::WorkerStuck => assert!(kill("-STOP", server.workers()[0])),
            _ => {}
        }
        server.signal("-TERM");
        let before = server.log().len();
        let (status, log) = server.wait();
        assert_eq!(status, Some(1), "{trouble:?}: {log}");
        let stop = &log[before..];
        for (number, source) in sources.iter().enumerate() {
            let (stream, bytes) = (["telemetry", "measurement"][number % 2], line.len() * (number + 1) * 10);
            let named = format!("{stream} from {}: lost: {bytes} unread bytes", source.local_addr().unwrap());
            assert_eq!(stop.matches(&named).count(), 1, "{trouble:?}: {named:?}: {log}");
        }
        let total = format!("lost in all: {} unread bytes of 5 connections", line.len() * 150);
        assert_eq!(stop.matches(&total).count(), 1, "{trouble:?}: {total:?}: {log}");
        assert!(!stop.contains("nothing is lost"), "{trouble:?}: {log}");
        let unnamed = written.socket.local_addr().unwrap().to_string();
        assert!(!stop.contains(&unnamed), "{trouble:?}: of {unnamed} nothing is lost: {log}");
        assert!(!log.contains("restart"), "{trouble:?}: a restart would lose it: {log}");
    }
}

#[test]
fn a_connection_that_the_system_has_no_room_for_waits_and_what_is_lost_of_it_at_the_end_is_named() {
    for ends in [false, true] {
        let data_dir = DataDir::new();
        let outage = data_dir.path().join("outage");
        let mut command = data_dir.program("tcp-ingest");
        command.env("FAULT", "ingest.watch").env("FAULT_WHILE", &outage);
        let server = Server::start_command(command, &["telemetry"], "--drain-timeout 300ms");
        fs::write(&outage, "").unwrap();
        let mut source = Source::new(&server);
        source.send(0);
        until("it cannot be read", || server.log().contains("cannot be read"));
        if ends {
            fs::remove_file(&outage).unwrap();
            source.see(&data_dir);
            let log = server.stop();
            assert_eq!(log.matches("cannot be read").count(), 1, "{log}");
            source.check(&data_dir);
        } else {
            server.signal("-TERM");
            let (status, log) = server.wait();
            assert_eq!(status, Some(1), "{log}");
            let bytes: usize = source.sent.iter().map(|line| line.len() + 1).sum();
            let named = format!("telemetry from {}: lost: {bytes} unread bytes", source.socket.local_addr().unwrap());
            assert_eq!(log.matches(&named).count(), 1, "{named}: {log}");
            assert!(log.contains(&format!("lost in all: {bytes} unread bytes of 1 connection")), "{log}");
        }
    }
}

#[test]
fn a_reader_of_stdout_that_stalls_keeps_no_slot_from_connections_that_wait_for_one() {
    let data_dir = DataDir::new();
    let mut command = data_dir.program("tcp-ingest");
    command.stdout(Stdio::piped());
    let arguments = "--stdout --max-connections 1 --workers 1 --drain-timeout 1h";
    let mut server = Server::start_command(command, &["telemetry"], arguments);
    // More than a pipe holds, and than is held for the reader: so it is not read to its end before the program is stopped.
    let mut first = server.connect();
    let sender = std::thread::spawn(move || first.write_all((reading(0, 1, 1.0) + "\n").repeat(100_000).as_bytes()));
    until("it is served", || !lines(&data_dir, "raw").is_empty());
    server.send(reading(0, 2, 1.0) + "\n");
    server.signal("-TERM");
    until("it ends long before its time is up", || server.child.try_wait().unwrap().is_some());
    sender.join().unwrap().unwrap();
    let (status, log) = server.wait();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("nobody reads it"), "{log}");
    assert_eq!(lines(&data_dir, "raw").len(), 100_001);
}

#[test]
fn a_pipe_that_is_interrupted_while_the_disk_refuses_names_what_it_has_read() {
    let data_dir = DataDir::new();
    let outage = data_dir.path().join("outage");
    let mut command = data_dir.program("tcp-ingest");
    command.args(["--stdin", "telemetry"]).env("FAULT", "segment.write").env("FAULT_WHILE", &outage);
    fs::write(&outage, "").unwrap();
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let text = (reading(0, 1, 1.0) + "\n").repeat(10);
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(text.as_bytes()).unwrap();
    until("it has a file to write to", || !data_dir.files_like("raw/", ".open").is_empty());
    std::thread::sleep(Duration::from_millis(100));
    assert!(kill("-TERM", child.id()));
    let run = Run::from(child.wait_with_output().unwrap()).expect(1);
    let named = format!("the last {} bytes", text.len());
    assert!(run.stderr.contains(&named), "{named:?}: {}", run.stderr);
}

#[test]
fn sigterm_takes_what_the_kernel_holds() {
    for round in 0..5 {
        let data_dir = DataDir::new();
        let server = Server::start(&data_dir, &["telemetry"], "");
        let line = reading(0, round, 1.0) + "\n";
        let mut connections: Vec<_> = (0..20).map(|_| server.connect()).collect();
        for connection in &mut connections {
            connection.write_all(line.repeat(2000).as_bytes()).unwrap();
        }
        // No waiting: most of it is still in the kernel, some connections are not even accepted.
        let log = server.stop();
        assert_eq!(lines(&data_dir, "raw").len(), 40_000, "{log}");
    }
}

/// How many bytes of data the receiver's kernel has acknowledged (`tcpi_bytes_acked` of linux/tcp.h, which counts the SYN).
fn acknowledged(source: &TcpStream) -> usize {
    const BYTES_ACKED: usize = 120;
    let mut info = [0_u8; BYTES_ACKED + 8];
    let mut length = u32::try_from(info.len()).unwrap();
    // SAFETY: the kernel writes no more than `length` bytes, and the buffer has as many.
    let done = unsafe {
        let buffer = info.as_mut_ptr().cast();
        libc::getsockopt(source.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, buffer, &raw mut length)
    };
    assert_eq!(done, 0);
    usize::try_from(u64::from_ne_bytes(info[BYTES_ACKED..].try_into().unwrap())).unwrap() - 1
}

#[test]
fn of_a_source_that_never_pauses_sigterm_takes_every_byte_that_was_acknowledged() {
    for pause in [Duration::ZERO, Duration::from_micros(200), Duration::from_millis(5)] {
        let data_dir = DataDir::new();
        let server = Server::start(&data_dir, &["telemetry"], "--drain-timeout 1s");
        let mut source = server.connect();
        let address = source.local_addr().unwrap();
        let sender = std::thread::spawn(move || {
            let mut sent = 0;
            while source.write_all((reading(0, sent, 1.0) + "\n").repeat(50).as_bytes()).is_ok() {
                sent += 1;
                std::thread::sleep(pause);
            }
            source
        });
        until("it is served", || lines(&data_dir, "raw").len() > 200);
        let log = server.stop();
        assert!(log.contains(&format!("telemetry from {address}: was still sending")), "{log}");
        let acknowledged = acknowledged(&sender.join().unwrap());
        let raw: usize = lines(&data_dir, "raw").iter().map(|line| line.len() + 1).sum();
        // The pieces of a line that was cut; the last may have had a terminator.
        let cut: usize = quarantined(&data_dir).iter().map(|(_, line)| line.len() + 1).sum();
        assert!(
            raw + cut >= acknowledged,
            "{} of {acknowledged} bytes are lost: {log}",
            acknowledged.saturating_sub(raw + cut)
        );
    }
}

#[test]
fn a_closed_source_that_left_half_a_line_does_not_hold_up_the_end() {
    let data_dir = DataDir::new();
    let mut server = Server::start(&data_dir, &["telemetry"], "--drain-timeout 1h");
    // The worker does not get to it before it is told to stop.
    until("there is a worker", || !server.workers().is_empty());
    server.send(reading(0, 1, 1.0) + "\n");
    until("it serves", || lines(&data_dir, "raw").len() == 1);
    let worker = server.workers()[0];
    assert!(kill("-STOP", worker));
    server.send(reading(0, 2, 1.0) + "\n{\"half");
    server.signal("-TERM");
    std::thread::sleep(Duration::from_millis(100));
    assert!(kill("-CONT", worker));
    until("it ends long before its time is up", || server.child.try_wait().unwrap().is_some());
    let (status, log) = server.wait();
    assert_eq!(status, Some(0), "{log}");
    assert_eq!((lines(&data_dir, "raw").len(), lines(&data_dir, "quarantine").len()), (2, 1));
}
