//! What the network does to a load: answers that are lost, servers that are away for a while or fall silent.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use harness::{DataDir, MariaDb, Run};

use crate::hours::{Seen, check, publish_readings};
use crate::proxy::{Trick, proxy};
use crate::target::{Target, on_each, use_server};

/// Plays `history` on each kind of server.
fn on_each_server(test: &str, history: impl Fn(&DataDir, &Target, u16)) {
    on_each(test, |data_dir, target| match target {
        Target::File | Target::Sqlite => {}
        Target::MariaDb { server, .. } => history(data_dir, target, server.port),
        Target::Postgres { server, .. } => history(data_dir, target, server.port),
    });
}

fn through(target: &Target, data_dir: &DataDir, port: u16) -> Command {
    let mut program = target.program(data_dir);
    program.arg("readings").env("DB_PORT", port.to_string()).env("DB_SSL_MODE", "disabled");
    program
}

fn expected(version: &str, rows: u64) -> crate::hours::Expected {
    [("2025-09-02T10".to_owned(), (version.to_owned(), rows))].into()
}

#[test]
fn when_the_answer_to_a_commit_is_lost_the_load_log_is_asked() {
    on_each_server("a lost answer", |data_dir, target, port| {
        let mut seen = Seen::new();
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        let run = Run::of(through(target, data_dir, proxy(port, Trick::LoseTheAnswer)).arg("-v")).expect(0);
        assert!(run.stderr.contains("its load log says that it has"), "{}", run.stderr);
        assert!(run.stderr.contains("1 hour, 2 rows"), "{}", run.stderr);
        check(&target.readings(data_dir), &expected("a", 2), &mut seen);
        publish_readings(data_dir, "2025-09-02T10", "b", 3);
        let run = Run::of(&mut through(target, data_dir, proxy(port, Trick::LoseTheRequest))).expect(75);
        assert!(run.stderr.contains("what was not committed was undone"), "{}", run.stderr);
        check(&target.readings(data_dir), &expected("a", 2), &mut seen);
        target.run(data_dir, "readings").expect(0);
        check(&target.readings(data_dir), &expected("b", 3), &mut seen);
    });
}

#[test]
fn a_server_that_falls_silent_is_given_up_after_the_time_out() {
    on_each_server("a silent server", |data_dir, target, port| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        let mut program = through(target, data_dir, proxy(port, Trick::FallSilent));
        let run = Run::of(program.args(["--timeout", "3s"])).expect(75);
        assert!(run.stderr.contains("--timeout"), "{}", run.stderr);
        // One that takes the connection and says nothing.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut program = through(target, data_dir, listener.local_addr().unwrap().port());
        let run = Run::of(program.args(["--timeout", "3s"])).expect(75);
        assert!(run.stderr.contains("127.0.0.1"), "{}", run.stderr);
        // The dead client's transaction is still open on the server, and holds the lock until that notices.
        target.run(data_dir, "readings --wait 2m").expect(0);
        check(&target.readings(data_dir), &expected("a", 2), &mut Seen::new());
    });
}

#[test]
fn a_mysql_server_that_does_not_let_in_is_given_up_soon_whatever_the_time_out() {
    let data_dir = DataDir::new();
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut program = data_dir.program("load-warehouse");
    use_server(&mut program, "mysql", listener.local_addr().unwrap().port(), "nothing");
    let run = Run::of(program.args(["readings", "--timeout", "20h"])).expect(75);
    assert!(
        run.stderr.contains("no answer in time: something takes the connection and says nothing"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_connection_that_dies_while_a_load_waits_for_the_lock_is_made_anew() {
    let Some(server) = MariaDb::kept("a connection that dies waiting") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    let target = Target::MariaDb { server, database: database.clone() };
    let runs = |sql: &str| {
        let count = format!("SELECT count(*) FROM information_schema.processlist WHERE info LIKE '{sql}'");
        server.sql(&count) == [["1"]]
    };
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    target.run(&data_dir, "readings").expect(0);
    publish_readings(&data_dir, "2025-09-02T10", "b", 3);
    let holder =
        server.start_sql(&format!("BEGIN; SELECT * FROM {database}.load_lock FOR UPDATE; DO SLEEP(12); COMMIT"));
    harness::until("the lock is held", || runs("DO SLEEP%"));
    let load =
        target.program(&data_dir).args(["readings", "--wait", "1m", "-v"]).stderr(Stdio::piped()).spawn().unwrap();
    harness::until("the load waits", || runs("SELECT id FROM load_lock%UPDATE"));
    server.kill_connections();
    let run = Run::from(load.wait_with_output().unwrap()).expect(0);
    assert!(run.stderr.contains("connecting anew"), "{}", run.stderr);
    assert!(holder.wait_with_output().unwrap().status.success());
    check(&target.readings(&data_dir), &expected("b", 3), &mut Seen::new());
}

#[test]
fn an_answer_that_comes_too_late_is_not_taken_for_another_ones() {
    let Some(server) = MariaDb::shared("a late answer") else { return };
    let (data_dir, target) = (DataDir::new(), Target::MariaDb { server, database: server.database() });
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let mut program = through(&target, &data_dir, proxy(server.port, Trick::AnswerLate));
    let run = Run::of(program.args(["--timeout", "3s", "--wait", "30s", "-v"])).expect(0);
    assert!(run.stderr.contains("connecting anew"), "{}", run.stderr);
    check(&target.readings(&data_dir), &expected("a", 2), &mut Seen::new());
}

#[test]
fn a_connection_that_dies_before_the_table_is_made_is_made_anew() {
    let Some(server) = MariaDb::shared("a connection that dies early") else { return };
    let (data_dir, target) = (DataDir::new(), Target::MariaDb { server, database: server.database() });
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let mut program = through(&target, &data_dir, proxy(server.port, Trick::LoseTheQuestion));
    let run = Run::of(program.arg("-v")).expect(0);
    assert!(run.stderr.contains("connecting anew"), "{}", run.stderr);
    check(&target.readings(&data_dir), &expected("a", 2), &mut Seen::new());
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for() {
    on_each_server("a server that is late", |data_dir, target, port| {
        publish_readings(data_dir, "2025-09-02T10", "a", 2);
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let run = Run::of(&mut through(target, data_dir, free)).expect(75);
        assert!(run.stderr.contains("is the server running, and are DB_HOST and DB_PORT right?"), "{}", run.stderr);
        let mut program = through(target, data_dir, free);
        let mut load = program.args(["--wait", "1m", "-v"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut messages = BufReader::new(load.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(messages.any(|message| message.contains("trying again for 1m")));
        // Now it comes up.
        let listener = TcpListener::bind(("127.0.0.1", free)).unwrap();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, mut server) =
                    (client.unwrap(), std::net::TcpStream::connect(("127.0.0.1", port)).unwrap());
                let (mut back, mut forth) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut forth, &mut back));
                std::thread::spawn(move || std::io::copy(&mut client, &mut server));
            }
        });
        let messages: Vec<_> = messages.collect();
        assert!(load.wait().unwrap().success(), "{messages:?}");
        check(&target.readings(data_dir), &expected("a", 2), &mut Seen::new());
    });
}
