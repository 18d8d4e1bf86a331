//! Settings of servers, databases, roles and of the environment, none of which changes what arrives.

use harness::{DataDir, MariaDb, PASSWORD, Postgres, Run, USER};

use crate::cells::{hex, hex_of};
use crate::hours::publish;
use crate::target::Target;

const TEXTS: &str = "SELECT unnest(['München 21 °C', 'it''s \\ \"', '\\N', 'a' || chr(10) || 'b']) AS text, \
                     0.1::DOUBLE + 0.2 AS \"Größe\", TIMESTAMP '2025-03-30 02:30:00.123456' AS taken, \
                     DATE '2025-03-04' AS day, 1.5::DECIMAL(5,2) AS exact";

/// Publishes [`TEXTS`] and something more.
fn publish_texts(data_dir: &DataDir, version: &str, more: &str) {
    publish(data_dir, "texts", "2025-09-02T10", version, &format!("{TEXTS}{more}"));
}

/// The texts as the server has them.
fn held(target: &Target, data_dir: &DataDir) -> Vec<String> {
    target.query(data_dir, &format!("SELECT {} FROM texts ORDER BY id", hex(target, "text"))).concat()
}

fn expected() -> Vec<String> {
    let texts = ["München 21 °C", "it's \\ \"", "\\N", "a\nb"];
    texts.map(hex_of).to_vec()
}

/// Loads, compares, replaces and compares again with a program that `settings` have changed.
fn loads(data_dir: &DataDir, target: &Target, settings: impl Fn(&mut std::process::Command)) {
    let run = |arguments: &[&str]| {
        let mut program = target.program(data_dir);
        settings(program.args(arguments));
        assert_eq!(Run::of(&mut program).expect(0).stderr, "");
    };
    publish_texts(data_dir, "a", "");
    run(&["texts"]);
    assert_eq!(held(target, data_dir), expected());
    run(&["texts", "--verify"]);
    publish_texts(data_dir, "b", " UNION ALL SELECT 'ü', NULL, NULL, NULL, NULL");
    run(&["texts"]);
    assert_eq!(held(target, data_dir), [expected(), vec!["C3BC".to_owned()]].concat());
    run(&["texts", "--verify"]);
    target.run(data_dir, "texts --verify").expect(0);
    let found = target.query(data_dir, "SELECT taken, day, exact FROM texts ORDER BY id");
    assert_eq!(found[0], ["2025-03-30 02:30:00.123456", "2025-03-04", "1.5"]);
}

/// A database of PostgreSQL with an encoding of its own.
fn encoded(server: &'static Postgres, encoding: &str) -> Target {
    let database = format!("{}_{}", server.database(), encoding.to_lowercase());
    server.sql(
        "postgres",
        &format!("CREATE DATABASE {database} OWNER {USER} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"),
    );
    Target::Postgres { server, database }
}

#[test]
fn a_database_in_another_encoding_gets_the_characters_that_it_has_and_refuses_others() {
    let Some(server) = Postgres::shared("a database in LATIN1") else { return };
    let (data_dir, target) = (DataDir::new(), encoded(server, "LATIN1"));
    loads(&data_dir, &target, |_| {});
    publish(&data_dir, "texts", "2025-09-02T11", "a", "SELECT 'a ☺' AS text");
    publish(&data_dir, "texts", "2025-09-02T12", "a", "SELECT 'é' AS text");
    for _ in 0..2 {
        let run = target.run(&data_dir, "texts").expect(3);
        assert!(run.stderr.contains("11.parquet: ") && run.stderr.contains("WITH ENCODING 'UTF8'"), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        let after = target.query(&data_dir, &format!("SELECT {} FROM texts WHERE id > 5", hex(&target, "text")));
        assert_eq!(after, [["C3A9"]]);
    }
}

#[test]
fn a_database_that_converts_nothing_is_refused() {
    let Some(server) = Postgres::shared("a database in SQL_ASCII") else { return };
    let (data_dir, target) = (DataDir::new(), encoded(server, "SQL_ASCII"));
    publish_texts(&data_dir, "a", "");
    let run = target.run(&data_dir, "texts").expect(1);
    assert!(run.stderr.contains("SQL_ASCII") && run.stderr.contains("WITH ENCODING 'UTF8'"), "{}", run.stderr);
    assert_eq!(target.query(&data_dir, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), [["0"]]);
}

#[test]
fn the_client_librarys_variables_say_nothing() {
    let Some(server) = Postgres::shared("variables of the environment") else { return };
    for encoding in ["UTF8", "LATIN1"] {
        let (data_dir, target) = (DataDir::new(), encoded(server, encoding));
        loads(&data_dir, &target, |program| {
            for (name, value) in [
                ("PGCLIENTENCODING", "LATIN1"),
                ("PGOPTIONS", "-c default_transaction_read_only=on -c search_path=nowhere"),
                ("PGHOST", "203.0.113.1"),
                ("PGHOSTADDR", "203.0.113.1"),
                ("PGPORT", "1"),
                ("PGDATABASE", "nowhere"),
                ("PGUSER", "nobody"),
                ("PGSERVICE", "nowhere"),
                ("PGSERVICEFILE", "/nonexistent"),
                ("PGSSLMODE", "verify-full"),
                ("PGSSLROOTCERT", "/nonexistent"),
                ("PGREQUIREAUTH", "none"),
                ("PGTARGETSESSIONATTRS", "standby"),
                ("PGDATESTYLE", "German"),
                ("PGTZ", "Asia/Kathmandu"),
            ] {
                program.env(name, value);
            }
        });
    }
}

#[test]
fn settings_of_a_postgresql_database_and_role_change_nothing() {
    let Some(server) = Postgres::shared("settings of a database") else { return };
    for of_whom in ["DATABASE", "ROLE"] {
        let (data_dir, target) = (DataDir::new(), encoded(server, "UTF8"));
        let Target::Postgres { database, .. } = &target else { panic!() };
        let role = format!("{database}_loader");
        server.sql(
            database,
            &format!(
                "CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT ALL ON SCHEMA public TO {role}; CREATE SCHEMA evil; \
                 GRANT USAGE ON SCHEMA evil TO {role}; CREATE VIEW evil.pg_namespace AS SELECT 'nothing' AS nspname; \
                 CREATE FUNCTION evil.max(timestamp) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
                 GRANT SELECT ON evil.pg_namespace TO {role}"
            ),
        );
        let whom = if of_whom == "ROLE" { &role } else { database };
        for setting in [
            "client_encoding = 'LATIN1'",
            "search_path = evil, pg_catalog, public",
            "standard_conforming_strings = off",
            "quote_all_identifiers = on",
            "TimeZone = 'Asia/Kathmandu'",
            "DateStyle = 'German'",
            "IntervalStyle = 'sql_standard'",
            "extra_float_digits = -15",
            "bytea_output = 'escape'",
            "default_transaction_read_only = on",
            "default_transaction_isolation = 'serializable'",
            "statement_timeout = '1ms'",
            "lock_timeout = '1ms'",
            "idle_in_transaction_session_timeout = '1ms'",
        ] {
            server.sql("postgres", &format!("ALTER {of_whom} {whom} SET {setting}"));
        }
        // The server's own client is to see them as they are.
        server.sql("postgres", &format!("ALTER ROLE root IN DATABASE {database} SET client_encoding = 'UTF8'"));
        for setting in ["search_path = public", "DateStyle = 'ISO'", "statement_timeout = 0"] {
            server.sql("postgres", &format!("ALTER ROLE root IN DATABASE {database} SET {setting}"));
        }
        let user = role.clone();
        let program = move |program: &mut std::process::Command| {
            program.env("DB_USER", &user).env("DB_PASSWORD", "p");
        };
        publish_texts(&data_dir, "a", "");
        for arguments in ["texts", "texts --verify"] {
            let mut command = target.program(&data_dir);
            program(command.args(arguments.split(' ')));
            assert_eq!(Run::of(&mut command).expect(0).stderr, "", "{of_whom}");
        }
        assert_eq!(held(&target, &data_dir), expected());
    }
}

#[test]
fn rows_that_a_policy_would_hide_are_an_error() {
    let Some(server) = Postgres::shared("row-level security") else { return };
    let (data_dir, target) = (DataDir::new(), encoded(server, "UTF8"));
    publish_texts(&data_dir, "a", "");
    target.run(&data_dir, "texts").expect(0);
    target.change(
        &data_dir,
        "ALTER TABLE texts ENABLE ROW LEVEL SECURITY; ALTER TABLE texts FORCE ROW LEVEL SECURITY; \
         CREATE POLICY visible ON texts USING (id < 3) WITH CHECK (true)",
    );
    publish_texts(&data_dir, "b", " UNION ALL SELECT 'ü', NULL, NULL, NULL, NULL");
    let run = target.run(&data_dir, "texts").expect(3);
    assert!(run.stderr.contains("BYPASSRLS"), "{}", run.stderr);
    assert_eq!(target.query(&data_dir, "SELECT count(*) FROM texts"), [["4"]]);
}

#[test]
fn settings_of_a_mariadb_server_change_nothing() {
    let options = [
        "--character-set-server=latin1",
        "--collation-server=latin1_german1_ci",
        "--skip-character-set-client-handshake",
        "--default-time-zone=+05:45",
        "--init-connect=SET NAMES latin1, sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH', \
         sql_select_limit = 1, autocommit = 0, sql_safe_updates = 1, sql_notes = 0, max_error_count = 0, \
         max_statement_time = 0.0001, sql_big_selects = 0, unique_checks = 0, lock_wait_timeout = 1, \
         completion_type = 'RELEASE', tx_isolation = 'READ-UNCOMMITTED', tx_read_only = 1",
    ];
    let Some(server) = MariaDb::own_with("settings of MariaDB", &options) else { return };
    let server: &'static MariaDb = Box::leak(Box::new(server));
    let password = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
    // Who may do anything is not met by what the server does to those who connect.
    server.sql(&format!("CREATE USER 'plain'@'%' IDENTIFIED BY '{password}'"));
    for local_infile in ["ON", "OFF"] {
        let (data_dir, target) = (DataDir::new(), Target::MariaDb { server, database: server.database() });
        let Target::MariaDb { database, .. } = &target else { panic!() };
        server.sql(&format!("GRANT ALL ON {database}.* TO 'plain'@'%'; SET GLOBAL local_infile = {local_infile}"));
        let home = DataDir::new();
        let file = home.path().join(".my.cnf");
        std::fs::write(
            &file,
            "[client]\nuser=nobody\npassword=no\nhost=203.0.113.1\nport=1\nsocket=/nonexistent\nssl-ca=/nonexistent\n",
        )
        .unwrap();
        loads(&data_dir, &target, |program| {
            program.env("DB_USER", "plain").env("HOME", home.path());
            program.env_remove("DB_HOST");
            for (name, value) in [("MYSQL_HOST", "203.0.113.1"), ("MYSQL_TCP_PORT", "1"), ("MYSQL_PWD", "no")] {
                program.env(name, value);
            }
        });
    }
    server.stop();
}

#[test]
fn a_column_in_another_encoding_is_refused_with_how_to_change_it() {
    let Some(server) = MariaDb::shared("a column in latin1") else { return };
    for encoding in ["latin1", "utf8mb3"] {
        let (data_dir, target) = (DataDir::new(), Target::MariaDb { server, database: server.database() });
        publish_texts(&data_dir, "a", "");
        target.run(&data_dir, "texts").expect(0);
        target.change(&data_dir, &format!("ALTER TABLE texts MODIFY COLUMN text TEXT CHARACTER SET {encoding}"));
        publish_texts(&data_dir, "b", " UNION ALL SELECT '😀', NULL, NULL, NULL, NULL");
        let run = target.run(&data_dir, "texts").expect(3);
        assert!(run.stderr.contains(&format!("the table's is text character set {encoding}")), "{}", run.stderr);
        let (_, statement) = run.stderr.split_once("or change the table: ").unwrap();
        target.change(&data_dir, statement.lines().next().unwrap());
        target.run(&data_dir, "texts").expect(0);
        assert_eq!(held(&target, &data_dir), [expected(), vec!["F09F9880".to_owned()]].concat());
        target.run(&data_dir, "texts --verify").expect(0);
    }
}
