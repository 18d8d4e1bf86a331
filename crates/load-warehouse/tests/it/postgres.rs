//! What is particular to PostgreSQL.

use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

use harness::{DataDir, PASSWORD, Postgres, Run, SmallDisk};

use crate::hours::{Seen, check, publish, publish_readings};
use crate::target::{Target, use_server};

fn expected(version: &str, rows: u64) -> crate::hours::Expected {
    [("2025-09-02T10".to_owned(), (version.to_owned(), rows))].into()
}

fn program(data_dir: &DataDir, server: &Postgres, database: &str) -> Command {
    let mut program = data_dir.program("load-warehouse");
    use_server(&mut program, "postgres", server.port, database);
    program.arg("readings");
    program
}

#[track_caller]
fn assert_silent(run: &Run) {
    for secret in [PASSWORD, "s3cr", "pass\\w", "wr0ng"] {
        assert!(!run.stderr.contains(secret) && !run.stdout.contains(secret), "{}", run.stderr);
    }
}

fn until_one(server: &Postgres, sql: &str) {
    harness::until(sql, || server.sql("postgres", sql) == [["1"]]);
}

#[test]
fn what_forbids_a_connection_is_a_failure_with_a_remedy_and_without_the_password() {
    let Some(server) = Postgres::shared("a wrong password") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    for (name, value, says) in [
        ("DB_PASSWORD", "wr0ng\"'\\ 'x", "password authentication failed for user \"loader\": check DB_USER"),
        ("DB_NAME", "no_such_database", "database \"no_such_database\" does not exist: create the database"),
        ("DB_USER", "nobody", "check DB_USER and the password"),
    ] {
        let run = Run::of(program(&data_dir, server, &database).env(name, value)).expect(1);
        assert!(run.stderr.contains("127.0.0.1") && run.stderr.contains(says), "{}", run.stderr);
        assert_silent(&run);
    }
    let run = Run::of(program(&data_dir, server, &database).env_remove("DB_NAME")).expect(2);
    assert!(run.stderr.contains("DB_NAME is not set"), "{}", run.stderr);
    let run = Run::of(program(&data_dir, server, &database).env("DB_SSL_MODE", "always")).expect(2);
    assert!(run.stderr.contains("DB_SSL_MODE is \"always\": it must be one of"), "{}", run.stderr);
}

#[test]
fn a_schema_that_is_missing_is_named_with_the_statement_that_makes_it() {
    let Some(server) = Postgres::shared("a missing schema") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let run = || Run::of(program(&data_dir, server, &database).env("DB_SCHEMA", "Plant"));
    let missing = run().expect(1);
    let says = "has no schema Plant: CREATE SCHEMA \"Plant\", or set DB_SCHEMA to the one that is meant";
    assert!(missing.stderr.contains(says), "{}", missing.stderr);
    server.sql(&database, &format!("CREATE SCHEMA \"Plant\" AUTHORIZATION {}", harness::USER));
    run().expect(0);
    assert_eq!(server.sql(&database, "SELECT count(*) FROM \"Plant\".readings"), [["2"]]);
}

#[test]
fn what_failed_before_a_statement_took_too_long_is_named_as_well() {
    let Some(server) = Postgres::shared("a slow statement") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    Run::of(&mut program(&data_dir, server, &database)).expect(0);
    publish(&data_dir, "readings", "2025-09-02T11", "a", "SELECT {'a': 1} AS nested");
    publish_readings(&data_dir, "2025-09-02T12", "a", 2);
    server.sql(
        &database,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(5); RETURN NEW; END'; \
         CREATE TRIGGER slow BEFORE INSERT ON readings FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let run = Run::of(program(&data_dir, server, &database).args(["--timeout", "2s"])).expect(75);
    assert!(run.stderr.contains("11.parquet: the column nested is of type nested"), "{}", run.stderr);
    assert!(run.stderr.contains("readings: not loaded: 2025-09-02T12: "), "{}", run.stderr);
    assert!(run.stderr.contains("give it more (--timeout)"), "{}", run.stderr);
    server.sql(&database, "DROP TRIGGER slow ON readings");
    Run::of(&mut program(&data_dir, server, &database)).expect(3);
    assert_eq!(server.sql(&database, "SELECT count(*) FROM readings"), [["4"]]);
}

#[test]
fn the_clients_own_password_file_serves_if_nobody_else_can_read_it() {
    let Some(server) = Postgres::shared("a .pgpass") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let home = DataDir::new();
    let file = home.path().join(".pgpass");
    let escaped = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    std::fs::write(&file, format!("127.0.0.1:*:{database}:*:{escaped}\n")).unwrap();
    let run = |mode: u32| {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        Run::of(program(&data_dir, server, &database).env_remove("DB_PASSWORD").env("HOME", home.path()))
    };
    let refused = run(0o644).expect(1);
    assert!(refused.stderr.contains("no password supplied: check DB_USER and the password"), "{}", refused.stderr);
    assert_silent(&refused);
    assert_silent(&run(0o600).expect(0));
    let target = Target::Postgres { server, database };
    check(&target.readings(&data_dir), &expected("a", 2), &mut Seen::new());
}

#[test]
fn a_server_that_restarts_in_the_middle_leaves_nothing_half_loaded() {
    let Some(server) = Postgres::own("a restart", &[]) else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    server.stop();
    assert_silent(&Run::of(&mut program(&data_dir, &server, &database)).expect(75));
    server.restart();
    Run::of(&mut program(&data_dir, &server, &database)).expect(0);
    let count = "SELECT count(*), max(id) FROM readings";
    assert_eq!(server.sql(&database, count), [["2", "2"]]);
    // Gone again while it waits for somebody's lock with its transaction open.
    publish_readings(&data_dir, "2025-09-02T10", "b", 3000);
    let holder = server.start_sql(&database, "BEGIN; SELECT * FROM readings FOR UPDATE; SELECT pg_sleep(60)");
    until_one(
        &server,
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()",
    );
    let load = program(&data_dir, &server, &database).stderr(Stdio::piped()).spawn().unwrap();
    until_one(
        &server,
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE FROM%'",
    );
    server.stop();
    assert_silent(&Run::from(load.wait_with_output().unwrap()).expect(75));
    assert!(!holder.wait_with_output().unwrap().status.success());
    server.restart();
    assert_eq!(server.sql(&database, count), [["2", "2"]], "nothing of a load that was not committed");
    Run::of(&mut program(&data_dir, &server, &database)).expect(0);
    assert_eq!(server.sql(&database, count), [["3000", "3002"]]);
}

#[test]
fn a_lock_that_is_not_given_free_is_tried_again_later() {
    let Some(server) = Postgres::shared("a held lock") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    let target = Target::Postgres { server, database: database.clone() };
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    target.run(&data_dir, "readings").expect(0);
    let picture = target.picture(&data_dir, &["readings"]);
    publish_readings(&data_dir, "2025-09-02T10", "b", 3);
    for table in ["load_log", "readings"] {
        let sql = format!("BEGIN; LOCK TABLE {table} IN SHARE MODE; SELECT pg_sleep(600) /* {database} */");
        let mut holder = server.start_sql(&database, &sql);
        let sleeps = format!("query LIKE '%/* {database} */%' AND pid <> pg_backend_pid()");
        until_one(server, &format!("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND {sleeps}"));
        let run = target.run(&data_dir, "readings").expect(75);
        assert!(run.stderr.contains("somebody else holds a lock on it"), "{}", run.stderr);
        server.sql("postgres", &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {sleeps}"));
        holder.wait().unwrap();
        assert_eq!(target.picture(&data_dir, &["readings"]), picture);
    }
    // Longer than the server waits for a lock.
    let sql = "BEGIN; LOCK TABLE readings IN SHARE MODE; SELECT pg_sleep(13)";
    let mut holder = server.start_sql(&database, sql);
    let sleeps = format!("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '{sql}%' AND datname = '{database}'");
    until_one(server, &sleeps);
    target.run(&data_dir, "readings --wait 5m").expect(0);
    holder.wait().unwrap();
    check(&target.readings(&data_dir), &expected("b", 3), &mut Seen::new());
}

#[test]
fn a_server_that_speaks_tls_only_is_spoken_to_in_tls() {
    let Some(server) = Postgres::own("TLS only", &["ssl=on", "ssl_cert_file=../cert.pem", "ssl_key_file=../key.pem"])
    else {
        return;
    };
    let (data_dir, database) = (DataDir::new(), server.database());
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    let data = server.folder().join("data");
    std::fs::write(data.join("pg_hba.conf"), "local all all trust\nhostssl all all all scram-sha-256\n").unwrap();
    server.stop();
    server.restart();
    let run = |mode: &str, authorities: bool| {
        let mut program = program(&data_dir, &server, &database);
        program.env("DB_SSL_MODE", mode);
        if authorities {
            program.env("DB_SSL_CA", server.folder().join("cert.pem"));
        }
        Run::of(&mut program)
    };
    let refused = run("disabled", false).expect(1);
    assert!(refused.stderr.contains("set DB_SSL_MODE=required"), "{}", refused.stderr);
    // The certificate is for localhost.
    let refused = run("verify-full", true).expect(1);
    assert!(refused.stderr.contains("does not match host name"), "{}", refused.stderr);
    for (mode, authorities) in [("preferred", false), ("required", false), ("verify-ca", true)] {
        assert_silent(&run(mode, authorities).expect(0));
    }
    let mut program = program(&data_dir, &server, &database);
    program
        .env("DB_SSL_MODE", "verify-full")
        .env("DB_SSL_CA", server.folder().join("cert.pem"))
        .env("DB_HOST", "localhost");
    Run::of(&mut program).expect(0);
    assert_eq!(server.sql(&database, "SELECT count(*) FROM readings"), [["2"]]);
}

#[test]
fn times_and_texts_do_not_depend_on_the_servers_settings() {
    let Some(server) = Postgres::shared("other settings") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    for setting in [
        "timezone = 'America/New_York'",
        "datestyle = 'SQL, DMY'",
        "search_path = ''",
        "standard_conforming_strings = off",
    ] {
        server.sql("postgres", &format!("ALTER DATABASE {database} SET {setting}"));
    }
    let target = Target::Postgres { server, database: database.clone() };
    publish_readings(&data_dir, "2025-09-02T10", "a", 3);
    // An exact number makes the extension send text instead of bytes.
    publish(
        &data_dir,
        "exact",
        "2025-09-02T10",
        "a",
        "SELECT 1.250::DECIMAL(9,3) AS n, TIMESTAMP '2025-03-30 02:30:00' AS t, 'a\\b' AS text",
    );
    target.run(&data_dir, "readings exact").expect(0);
    server.sql("postgres", &format!("ALTER DATABASE {database} RESET ALL"));
    check(&target.readings(&data_dir), &expected("a", 3), &mut Seen::new());
    assert_eq!(target.query(&data_dir, "SELECT n, t, text FROM exact"), [["1.25", "2025-03-30 02:30:00", "a\\b"]]);
    target.run(&data_dir, "readings exact --verify").expect(0);
}

#[test]
fn a_full_disk_of_the_server_is_tried_again_later() {
    let Some(server) = Postgres::shared("a full disk") else { return };
    let Some(disk) = SmallDisk::mount("size=24m,mode=777") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    let folder = disk.path().join("space");
    std::fs::create_dir(&folder).unwrap();
    let owner = std::os::unix::fs::MetadataExt::uid(&server.folder().join("data").metadata().unwrap());
    chown(&folder, Some(owner), Some(owner)).unwrap();
    server.sql("postgres", &format!("CREATE TABLESPACE {database} LOCATION '{}'", folder.display()));
    server.sql("postgres", &format!("ALTER DATABASE {database} SET TABLESPACE {database}"));
    server.sql("postgres", &format!("GRANT CREATE ON TABLESPACE {database} TO loader"));
    let target = Target::Postgres { server, database: database.clone() };
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    target.run(&data_dir, "readings").expect(0);
    publish_readings(&data_dir, "2025-09-02T10", "b", 100_000);
    let ballast = disk.fill();
    let run = target.run(&data_dir, "readings").expect(75);
    assert!(run.stderr.contains("the warehouse's disk is full: make room there"), "{}", run.stderr);
    std::fs::remove_file(ballast).unwrap();
    check(&target.readings(&data_dir), &expected("a", 2), &mut Seen::new());
    assert!(disk.remount("size=200m"));
    target.run(&data_dir, "readings").expect(0);
    assert_eq!(target.query(&data_dir, "SELECT count(*) FROM readings"), [["100000"]]);
    server.sql("postgres", &format!("ALTER DATABASE {database} SET TABLESPACE pg_default"));
    server.sql("postgres", &format!("DROP TABLESPACE {database}"));
}

#[test]
fn who_may_only_load_loads_and_a_right_that_is_missing_is_said_once() {
    let Some(server) = Postgres::shared("a missing right") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    let target = Target::Postgres { server, database: database.clone() };
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    target.run(&data_dir, "readings").expect(0);
    let user = format!("reader_of_{database}");
    server.sql(&database, &format!("CREATE ROLE {user} LOGIN PASSWORD 'only to read'; GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO {user}"));
    for hour in 11..16 {
        publish_readings(&data_dir, &format!("2025-09-02T{hour}"), "a", 2);
    }
    let run =
        || Run::of(program(&data_dir, server, &database).env("DB_USER", &user).env("DB_PASSWORD", "only to read"));
    let refused = run().expect(3);
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("2025-09-02T11 to 2025-09-02T15: "), "{}", refused.stderr);
    assert!(refused.stderr.contains("permission denied for table readings: grant DB_USER"), "{}", refused.stderr);
    server.sql(&database, &format!("GRANT INSERT, DELETE ON ALL TABLES IN SCHEMA public TO {user}"));
    run().expect(0);
    assert_eq!(target.readings(&data_dir).len(), 12);
    // A new table is the owner's to make.
    publish(&data_dir, "new_one", "2025-09-02T10", "a", "SELECT 1 AS n");
    let refused = Run::of(
        program(&data_dir, server, &database).arg("new_one").env("DB_USER", &user).env("DB_PASSWORD", "only to read"),
    )
    .expect(3);
    assert!(refused.stderr.contains("permission denied for schema public: grant DB_USER"), "{}", refused.stderr);
}

#[test]
fn another_schema_holds_the_tables_if_it_is_named() {
    let Some(server) = Postgres::shared("a schema") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    server
        .sql(&database, "CREATE SCHEMA \"of the plant\" AUTHORIZATION loader; CREATE TABLE public.readings (mine int)");
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    for version in ["a", "b"] {
        publish_readings(&data_dir, "2025-09-02T10", version, 2);
        Run::of(program(&data_dir, server, &database).env("DB_SCHEMA", "of the plant")).expect(0);
    }
    assert_eq!(server.sql(&database, "SELECT count(*), max(id) FROM \"of the plant\".readings"), [["2", "4"]]);
}

#[test]
fn a_load_log_that_only_its_owner_may_change_is_named_with_the_statement_that_the_owner_runs() {
    let Some(server) = Postgres::shared("a load log of somebody else") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    Run::of(&mut program(&data_dir, server, &database)).expect(0);
    let sql = format!(
        "ALTER TABLE load_log DROP COLUMN tree; ALTER TABLE load_log OWNER TO root; GRANT ALL ON load_log TO {}",
        harness::USER
    );
    server.sql(&database, &sql);
    publish_readings(&data_dir, "2025-09-02T10", "b", 3);
    let run = Run::of(program(&data_dir, server, &database).arg("-n")).expect(1);
    assert!(run.stderr.contains("none of the versions that were loaded"), "{}", run.stderr);
    publish_readings(&data_dir, "2025-09-02T10", "a", 2);
    publish_readings(&data_dir, "2025-09-02T11", "a", 3);
    let run = Run::of(&mut program(&data_dir, server, &database)).expect(1);
    let (_, statement) = run.stderr.split_once("have its owner run: ").unwrap_or_else(|| panic!("{}", run.stderr));
    let (statement, _) = statement.split_once(": ").unwrap();
    server.sql(&database, statement);
    Run::of(&mut program(&data_dir, server, &database)).expect(0);
    assert_eq!(server.sql(&database, "SELECT count(*), count(DISTINCT tree) FROM load_log"), [["2", "1"]]);
}
