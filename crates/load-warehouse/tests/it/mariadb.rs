//! What is particular to MariaDB: who may connect, what is said of it, and what happens while it is away.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use harness::{DataDir, MariaDb, PASSWORD, Run};

use crate::hours::{Expected, Seen, check, publish, publish_readings, readings};

use crate::target::{Target, use_server};

fn expected() -> Expected {
    [("2025-09-02T10".to_owned(), ("a".to_owned(), 2))].into()
}

/// No part of the password that is long enough to be told from other words.
#[track_caller]
fn assert_silent(run: &Run) {
    for secret in [PASSWORD, "s3cr", "pass\\w", "wr0ng"] {
        assert!(!run.stderr.contains(secret) && !run.stdout.contains(secret), "{}", run.stderr);
    }
}

/// Waits until a count is 1.
fn until_one(server: &MariaDb, sql: &str) {
    harness::until(sql, || server.sql(sql) == [["1"]]);
}

#[test]
fn a_wrong_password_is_a_failure_that_does_not_repeat_it() {
    let Some(server) = MariaDb::shared("a wrong password") else { return };
    let target = Target::MariaDb { server, database: server.database() };
    let data_dir = DataDir::new();
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    for (name, value) in [("DB_PASSWORD", "wr0ng\"'\\ 'x"), ("DB_NAME", "no_such_database"), ("DB_USER", "nobody")] {
        let run = Run::of(target.program(&data_dir).arg("readings").env(name, value)).expect(1);
        assert!(run.stderr.contains("127.0.0.1"), "{}", run.stderr);
        assert_silent(&run);
    }
    let run = Run::of(target.program(&data_dir).arg("readings").env_remove("DB_USER")).expect(2);
    assert!(run.stderr.contains("DB_USER is not set"), "{}", run.stderr);
}

#[test]
fn a_password_file_serves_as_well() {
    let Some(server) = MariaDb::shared("a password file") else { return };
    let target = Target::MariaDb { server, database: server.database() };
    let data_dir = DataDir::new();
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let file = harness::tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{PASSWORD}\n")).unwrap();
    let mut program = target.program(&data_dir);
    program.arg("readings").env_remove("DB_PASSWORD").env("DB_PASSWORD_FILE", file.path());
    let run = Run::of(&mut program).expect(0);
    assert_silent(&run);
    check(&target.readings(&data_dir), &expected(), &mut Seen::new());
}

#[test]
fn a_server_that_is_down_is_tried_again_later_and_then_loaded() {
    let Some(server) = MariaDb::own("a server that is down") else { return };
    let database = server.database();
    let data_dir = DataDir::new();
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let run = |server: &MariaDb| {
        let mut program = data_dir.program("load-warehouse");
        use_server(&mut program, "mysql", server.port, &database);
        Run::of(program.arg("readings"))
    };
    server.stop();
    let down = run(&server).expect(75);
    assert_silent(&down);
    server.restart();
    run(&server).expect(0);
    let count = format!("SELECT count(*), max(id) FROM {database}.readings");
    assert_eq!(server.sql(&count), [["2", "2"]]);
    // Gone again in the middle of a load, while it waits for somebody's lock with its transaction open.
    publish_readings(&data_dir, "2025-09-02T10", "b", 3000);
    let holder = server.start_sql(&format!("BEGIN; SELECT * FROM {database}.readings FOR UPDATE; DO SLEEP(60)"));
    until_one(&server, "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'DO SLEEP%'");
    let mut program = data_dir.program("load-warehouse");
    use_server(&mut program, "mysql", server.port, &database);
    let load = program.arg("readings").stderr(Stdio::piped()).spawn().unwrap();
    until_one(&server, "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'DELETE FROM%'");
    server.stop();
    let cut = Run::from(load.wait_with_output().unwrap()).expect(75);
    assert_silent(&cut);
    assert!(!holder.wait_with_output().unwrap().status.success());
    server.restart();
    assert_eq!(server.sql(&count), [["2", "2"]], "nothing of a load that was not committed");
    run(&server).expect(0);
    assert_eq!(server.sql(&count), [["3000", "3002"]]);
}

#[test]
fn a_lock_that_is_not_given_free_is_tried_again_later() {
    let Some(server) = MariaDb::shared("a held lock") else { return };
    let database = server.database();
    let data_dir = DataDir::new();
    let target = Target::MariaDb { server, database: database.clone() };
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    target.run(&data_dir, "readings").expect(0);
    publish_readings(&data_dir, "2025-09-02T10", "b", 3);
    let before = target.picture(&data_dir, &["readings"]);
    let mut holder =
        server.start_sql(&format!("BEGIN; SELECT * FROM {database}.load_lock FOR UPDATE; DO SLEEP(600); COMMIT"));
    until_one(server, "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'DO SLEEP%'");
    let run = target.run(&data_dir, "readings").expect(75);
    assert!(run.stderr.contains("Lock wait timeout exceeded"), "{}", run.stderr);
    assert_eq!(target.picture(&data_dir, &["readings"]), before);
    let id = server.sql("SELECT id FROM information_schema.processlist WHERE info LIKE 'DO SLEEP(600)%'");
    server.sql(&format!("KILL {}", id[0][0]));
    holder.wait().unwrap();
    target.run(&data_dir, "readings").expect(0);
    assert_eq!(target.readings(&data_dir).len(), 3);
    // Longer than the server waits for a lock.
    publish_readings(&data_dir, "2025-09-02T10", "c", 4);
    let mut holder = server.start_sql(&format!("LOCK TABLES {database}.readings WRITE; DO SLEEP(13.1)"));
    until_one(server, "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'DO SLEEP(13.1%'");
    target.run(&data_dir, "readings --wait 5m").expect(0);
    holder.wait().unwrap();
    assert_eq!(target.readings(&data_dir).len(), 4);
}

#[test]
fn a_statement_that_takes_too_long_is_named_with_its_hours_and_what_to_do() {
    let Some(server) = MariaDb::shared("a slow statement") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    let target = Target::MariaDb { server, database: database.clone() };
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    target.run(&data_dir, "readings").expect(0);
    let slow = "CREATE TRIGGER slow BEFORE INSERT ON readings FOR EACH ROW DO SLEEP(4)";
    target.change(&data_dir, slow);
    publish_readings(&data_dir, "2025-09-02T11", "a", 2);
    publish_readings(&data_dir, "2025-09-02T12", "a", 2);
    let run = target.run(&data_dir, "readings --timeout 2s").expect(75);
    let says = "readings: not loaded: 2025-09-02T11 to 2025-09-02T12: ";
    assert!(run.stderr.contains(says) && run.stderr.contains("give it more"), "{}", run.stderr);
    target.change(&data_dir, "DROP TRIGGER slow");
    target.run(&data_dir, "readings --wait 1m").expect(0);
}

#[test]
fn a_data_set_that_must_wait_keeps_no_other_waiting() {
    let Some(server) = MariaDb::shared("a held table") else { return };
    let database = server.database();
    let data_dir = DataDir::new();
    let target = Target::MariaDb { server, database: database.clone() };
    for version in ["a", "b"] {
        for dataset in ["first", "second"] {
            publish(&data_dir, dataset, "2025-09-02T10", version, &format!("SELECT '{version}' AS text"));
        }
        if version == "a" {
            target.run(&data_dir, "--all").expect(0);
        }
    }
    let mut holder = server.start_sql(&format!("BEGIN; SELECT * FROM {database}.first FOR UPDATE; DO SLEEP(599)"));
    until_one(server, "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'DO SLEEP(599)%'");
    let run = target.run(&data_dir, "--all").expect(75);
    assert!(run.stderr.contains("first: not loaded: ") && !run.stderr.contains("second"), "{}", run.stderr);
    let texts = |dataset: &str| server.sql(&format!("SELECT text FROM {database}.{dataset}"));
    assert_eq!((texts("first"), texts("second")), (vec![vec!["a".to_owned()]], vec![vec!["b".to_owned()]]));
    let id = server.sql("SELECT id FROM information_schema.processlist WHERE info LIKE 'DO SLEEP(599)%'");
    server.sql(&format!("KILL {}", id[0][0]));
    holder.wait().unwrap();
    target.run(&data_dir, "--all").expect(0);
    assert_eq!(texts("first"), [["b"]]);
}

#[test]
fn what_the_server_cannot_store_is_replaced_and_named_whatever_its_mode() {
    let Some(server) = MariaDb::shared("values it cannot store") else { return };
    let target = Target::MariaDb { server, database: server.database() };
    let data_dir = DataDir::new();
    publish(&data_dir, "numbers", "2025-09-02T09", "a", "SELECT -0.5::DOUBLE AS n, NULL::VARCHAR AS text");
    target.run(&data_dir, "numbers").expect(0);
    target.change(&data_dir, "ALTER TABLE numbers MODIFY COLUMN text TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    publish(&data_dir, "numbers", "2025-09-02T10", "a", "SELECT 'nan'::DOUBLE AS n, 'x' AS text");
    publish(&data_dir, "numbers", "2025-09-02T11", "a", "SELECT '-inf'::DOUBLE AS n, 'x' AS text");
    publish(&data_dir, "numbers", "2025-09-02T12", "a", "SELECT NULL::DOUBLE AS n, repeat('x', 70000) AS text");
    server.sql("SET GLOBAL sql_mode = ''");
    let run = target.run(&data_dir, "numbers").expect(3);
    server.sql("SET GLOBAL sql_mode = DEFAULT");
    for message in [
        "numbers: 2025-09-02T10 to 2025-09-02T11: the column n has 2 values that the warehouse cannot hold: \
         NaN and infinity are stored as NULL",
        "numbers: 2025-09-02T12: the column text has 1 value that the warehouse cannot hold: \
         texts of more than 65535 bytes are cut; their MD5 stands at the end",
    ] {
        assert!(run.stderr.contains(message), "{message}: {}", run.stderr);
    }
    assert!(run.stderr.len() < 2000, "errors do not repeat the rows");
    let found = target.query(&data_dir, "SELECT id, n, char_length(text), right(text, 2) FROM numbers ORDER BY id");
    assert_eq!(
        found,
        [["1", "-0.5", "NULL", "NULL"], ["2", "NULL", "1", "x"], ["3", "NULL", "1", "x"], ["4", "NULL", "16383", "16"]]
    );
    assert_eq!(target.run(&data_dir, "numbers").expect(0).stderr, "");
    target.run(&data_dir, "numbers --verify").expect(0);
}

#[test]
fn the_clients_own_file_serves_unless_everybody_may_change_it() {
    let Some(server) = MariaDb::shared("a .my.cnf") else { return };
    let target = Target::MariaDb { server, database: server.database() };
    let (data_dir, home) = (DataDir::new(), DataDir::new());
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let file = home.path().join(".my.cnf");
    let password = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
    std::fs::write(&file, format!("[client]\nuser = {}\npassword = \"{password}\"\n", harness::USER)).unwrap();
    let run = |mode: u32| {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let mut program = target.program(&data_dir);
        Run::of(program.arg("readings").env_remove("DB_PASSWORD").env_remove("DB_USER").env("HOME", home.path()))
    };
    let refused = run(0o666).expect(2);
    assert!(refused.stderr.contains(".my.cnf: is not read, because everybody may change it"), "{}", refused.stderr);
    assert!(refused.stderr.contains("DB_USER is not set"), "{}", refused.stderr);
    assert_silent(&refused);
    assert_silent(&run(0o600).expect(0));
    check(&target.readings(&data_dir), &expected(), &mut Seen::new());
}

#[test]
fn a_server_that_speaks_tls_only_is_spoken_to_in_tls() {
    let keys = DataDir::new();
    harness::certificate(keys.path());
    let file = |name: &str| keys.path().join(name).display().to_string();
    let options = [
        format!("--ssl-cert={}", file("cert.pem")),
        format!("--ssl-key={}", file("key.pem")),
        "--require-secure-transport=ON".to_owned(),
    ];
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let Some(server) = MariaDb::own_with("TLS only", &options) else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let run = |mode: &str| {
        let mut program = data_dir.program("load-warehouse");
        use_server(&mut program, "mysql", server.port, &database);
        Run::of(program.arg("readings").env("DB_SSL_MODE", mode))
    };
    let refused = run("disabled").expect(1);
    assert!(refused.stderr.contains("without encryption, which it may want: see DB_SSL_MODE"), "{}", refused.stderr);
    for mode in ["preferred", "required"] {
        assert_silent(&run(mode).expect(0));
    }
    assert_eq!(server.sql(&format!("SELECT count(*) FROM {database}.readings")), [["2"]]);
}

#[test]
fn the_certificate_of_a_server_is_verified_if_that_is_asked_for() {
    let (keys, others) = (DataDir::new(), DataDir::new());
    harness::signed_certificate(keys.path(), "IP:127.0.0.1");
    harness::signed_certificate(others.path(), "IP:127.0.0.9");
    let options = |keys: &DataDir| {
        ["cert", "key"].map(|name| format!("--ssl-{name}={}", keys.path().join(name).with_extension("pem").display()))
    };
    let (right, wrong) = (options(&keys), options(&others));
    let Some(server) = MariaDb::own_with("a certificate", &right.each_ref().map(String::as_str)) else { return };
    let Some(another) = MariaDb::own_with("a certificate", &wrong.each_ref().map(String::as_str)) else { return };
    let data_dir = DataDir::new();
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let run = |server: &MariaDb, keys: &DataDir| {
        let mut program = data_dir.program("load-warehouse");
        use_server(&mut program, "mysql", server.port, &server.database());
        Run::of(program.arg("readings").env("DB_SSL_MODE", "VERIFY-FULL").env("DB_SSL_CA", keys.path().join("ca.pem")))
    };
    assert_silent(&run(&server, &keys).expect(0));
    for (server, keys) in [(&server, &others), (&another, &others)] {
        let refused = run(server, keys).expect(1);
        let says = "invalid peer certificate";
        assert!(refused.stderr.contains(says) && refused.stderr.contains("set DB_SSL_CA to"), "{}", refused.stderr);
    }
    let missing = run(&server, &data_dir).expect(1);
    assert!(missing.stderr.contains("ca.pem: cannot be read: "), "{}", missing.stderr);
}

#[test]
fn times_and_texts_do_not_depend_on_the_servers_settings() {
    let Some(server) = MariaDb::own("other settings") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    server.sql(
        "SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,NO_ZERO_DATE'; \
         SET GLOBAL time_zone = '+05:45'; SET GLOBAL character_set_server = 'latin1'; \
         SET GLOBAL tx_isolation = 'READ-UNCOMMITTED'",
    );
    publish_readings(&data_dir, "2025-09-02T10", "a", 3);
    publish(
        &data_dir,
        "exact",
        "2025-09-02T10",
        "a",
        "SELECT TIMESTAMP '2025-03-30 02:30:00' AS t, 'a\\b''\"☺' AS text",
    );
    let mut program = data_dir.program("load-warehouse");
    use_server(&mut program, "mysql", server.port, &database);
    Run::of(program.args(["readings", "exact"])).expect(0);
    Run::of(program.arg("--verify")).expect(0);
    let rows = server.sql(&format!("SELECT t, text FROM {database}.exact"));
    assert_eq!(rows, [["2025-03-30 02:30:00.000000", "a\\b'\"☺"]]);
    let count = format!(
        "SELECT count(*) FROM {database}.readings WHERE note LIKE '%ü%' AND window_start = '2025-09-02 10:00:00'"
    );
    assert_eq!(server.sql(&count), [["3"]]);
}

#[test]
fn what_is_read_of_the_server_is_asked_for_once() {
    let Some(server) = MariaDb::own("statements") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    let run = |arguments: &[&str]| {
        let mut program = data_dir.program("load-warehouse");
        use_server(&mut program, "mysql", server.port, &database);
        Run::of(program.arg("readings").args(arguments)).expect(0)
    };
    publish_readings(&data_dir, "2025-09-02T10", "a", 5000);
    run(&[]);
    server.sql("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON");
    let asked = || {
        let readings = "command_type IN ('Query', 'Execute') AND argument LIKE 'SELECT `%FROM `readings`%'";
        let count = server.sql(&format!("SELECT count(*) FROM mysql.general_log WHERE {readings}"));
        server.sql("TRUNCATE mysql.general_log");
        count.concat().concat()
    };
    run(&["--verify"]);
    assert_eq!(asked(), "1");
    publish(&data_dir, "readings", "2025-09-02T10", "b", &readings("2025-09-02T10", "a", 5001));
    run(&[]);
    // The rows that are there before, and what they are in the end.
    assert_eq!(asked(), "2");
    assert_eq!(server.sql(&format!("SELECT count(*), max(id) FROM {database}.readings")), [["5001", "5001"]]);
}

#[test]
fn a_full_server_is_tried_again_later() {
    let options = ["--innodb-file-per-table=OFF", "--innodb-data-file-path=ibdata1:12M:autoextend:max:16M"];
    let Some(server) = MariaDb::own_with("a full server", &options) else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    let run = || {
        let mut program = data_dir.program("load-warehouse");
        use_server(&mut program, "mysql", server.port, &database);
        Run::of(program.arg("readings"))
    };
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    run().expect(0);
    publish_readings(&data_dir, "2025-09-02T10", "b", 100_000);
    let full = run().expect(75);
    assert!(full.stderr.contains("the warehouse's disk is full: make room there"), "{}", full.stderr);
    assert_eq!(server.sql(&format!("SELECT count(*), max(id) FROM {database}.readings")), [["2", "2"]]);
}

#[test]
fn an_extension_that_is_missing_is_named_with_its_place() {
    let data_dir = DataDir::new();
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let empty = DataDir::new();
    let mut program = data_dir.program("load-warehouse");
    program.args(["readings", "--target", "postgres", "--timeout", "30s", "--extension-dir"]).arg(empty.path());
    // DuckDB looks into the home directory, and asks its server through this proxy, which is not there.
    program.env("HOME", empty.path()).env("http_proxy", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9");
    program.env("DB_USER", "u").env("DB_NAME", "n").env("DB_PASSWORD", "s3cret");
    let run = Run::of(&mut program);
    // Where DuckDB's server can be reached all the same, the extension is there, and the database is not.
    if run.status == Some(1) {
        let says = "put postgres_scanner.duckdb_extension of version v1.";
        assert!(run.stderr.contains(says), "{}", run.stderr);
        assert!(run.stderr.contains(empty.path().to_str().unwrap()), "{}", run.stderr);
    }
    assert!(!run.stderr.contains("s3cret"));
    // One that is no extension, or not of this version, is named.
    let strange = empty.path().join("postgres_scanner.duckdb_extension");
    std::fs::write(&strange, "not an extension").unwrap();
    let run = Run::of(&mut program).expect(1);
    assert!(run.stderr.contains(".duckdb_extension: cannot be loaded: it must be of version v1."), "{}", run.stderr);
}

#[test]
fn a_right_that_is_missing_is_said_once_for_all_hours() {
    let Some(server) = MariaDb::shared("a missing right") else { return };
    let database = server.database();
    let data_dir = DataDir::new();
    let target = Target::MariaDb { server, database: database.clone() };
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    target.run(&data_dir, "readings").expect(0);
    server.sql(&format!(
        "CREATE USER 'reader'@'%' IDENTIFIED BY 'only to read'; GRANT SELECT, UPDATE ON {database}.* TO 'reader'@'%'"
    ));
    for hour in 11..16 {
        publish_readings(&data_dir, &format!("2025-09-02T{hour}"), "a", 2);
    }
    let before = target.picture(&data_dir, &["readings"]);
    let mut program = target.program(&data_dir);
    let run = Run::of(program.arg("readings").env("DB_USER", "reader").env("DB_PASSWORD", "only to read")).expect(3);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("2025-09-02T11 to 2025-09-02T15: "), "{}", run.stderr);
    assert!(run.stderr.contains("command denied"), "{}", run.stderr);
    assert_eq!(target.picture(&data_dir, &["readings"]), before);
}

#[test]
fn a_server_that_takes_no_changes_is_a_failure_with_a_remedy() {
    let Some(server) = MariaDb::own_with("a read-only server", &["--read-only"]) else { return };
    server.sql(&format!("REVOKE READ_ONLY ADMIN ON *.* FROM '{}'@'%'", harness::USER));
    let (data_dir, database) = (DataDir::new(), server.database());
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let mut program = data_dir.program("load-warehouse");
    use_server(&mut program, "mysql", server.port, &database);
    let run = Run::of(program.arg("readings")).expect(1);
    assert!(run.stderr.contains("(error 1290): the warehouse takes no changes: let this user write"), "{}", run.stderr);
    server.sql("SET GLOBAL read_only = OFF");
    Run::of(&mut program).expect(0);
}
