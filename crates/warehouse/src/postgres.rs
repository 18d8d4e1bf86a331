//! PostgreSQL, through DuckDB's `postgres` extension.
//!
//! What is particular here:
//! - Everything in a transaction runs on its one connection: `postgres_query` sees the transaction's own changes. INSERT
//!   is one COPY.
//! - DDL is transactional.
//! - The lock of a load is that of the table `load_log`, which readers do not wait for. READ COMMITTED, because a load
//!   that has waited for it must see what the other one has committed.
//! - Tables are looked for in one schema, whatever the user's search path is.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cli::TryAgain;
use engine::{identifier, literal};
use layout::Name;

use crate::args::WarehouseArgs;
use crate::backend::{Access, Backend, insertion};
use crate::column::{Limit, SqlType, longest_text};
use crate::runner::{BrokenOff, QueryRunner};
use crate::server::Server;
use crate::server_errors::ENCODING;

const SSL_MODES: &[&str] =
    &["disabled", "preferred", "required", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// How long a text in a key can be.
const KEY_CHARACTERS: usize = 190;
const KEY_TEXT: &str = "character varying(190)";
const WITHOUT_ZERO: &str = "replace({}, chr(0), chr(65533))";

/// The narrowest type that holds the values of `sql_type` and that the extension writes right. It fills the digits behind the
/// point up to a multiple of four, which the integers that it reckons with cannot hold where the scale is near their end:
/// 0.5 as `DECIMAL(9,9)` would arrive as 0.001783793. For a scale of 37 or 38 there is none.
fn widened(sql_type: SqlType) -> SqlType {
    match sql_type {
        SqlType::Decimal { precision: ..=9, scale: 9 } => SqlType::Decimal { precision: 10, scale: 9 },
        SqlType::Decimal { precision: ..=18, scale: scale @ 17..=18 } => SqlType::Decimal { precision: 19, scale },
        other => other,
    }
}

/// Takes the client library's variables out of the environment, so that none says otherwise than `DB_*`: all but that of the
/// file of passwords.
fn forget_library_variables() {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") && name != "PGPASSFILE" {
            // SAFETY: nothing but this thread of the process reads variables now: the library is not loaded yet, and DuckDB
            // has no statement to run.
            unsafe { std::env::remove_var(name) };
        }
    }
}

const EXTENSION: &str = "postgres_scanner.duckdb_extension";

/// Loads the extension, which must be of exactly DuckDB's version and platform: from `folder`, from beside the program, from DuckDB's own folder, or from its server.
fn load_extension(runner: &QueryRunner, folder: Option<&Path>) -> anyhow::Result<()> {
    let version = runner.connection.version()?;
    let platform = runner.rows("PRAGMA platform", |row| row.get::<_, String>(0))?.concat();
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    let mut places = folder.map(Path::to_owned).into_iter().chain(beside).flat_map(|folder| {
        let version = folder.join(&version);
        [folder.join(EXTENSION), version.join(&platform).join(EXTENSION), version.join(EXTENSION)]
    });
    if let Some(path) = places.find(|path| path.is_file()) {
        let load = runner.run(&format!("LOAD {}", literal(&path.to_string_lossy())));
        let text = format!("{}: cannot be loaded: it must be of version {version} for {platform}", path.display());
        return load.map_err(|error| error.context(text));
    }
    if runner.run("LOAD postgres").is_ok() {
        return Ok(());
    }
    runner.run("INSTALL postgres; LOAD postgres").map_err(|error| {
        let place =
            folder.map_or_else(|| "a folder and name it by --extension-dir".to_owned(), |f| f.display().to_string());
        error.context(format!(
            "DuckDB's extension postgres is missing: put {EXTENSION} of version {version} for {platform} into {place} \
             (scripts/extensions.sh fetches it on a machine that has a connection), or let DuckDB install it"
        ))
    })
}

/// A database on a PostgreSQL server.
#[derive(Debug)]
pub(crate) struct Postgres {
    server: Server,
    schema: String,
    extensions: Option<PathBuf>,
}

impl Postgres {
    /// The database that the environment names. Where it has no password, the client library looks into its own file.
    pub(crate) fn new(args: &WarehouseArgs) -> anyhow::Result<Self> {
        let server = Server::from_environment(5432, SSL_MODES, |name| std::env::var(name).ok(), |_| None)?;
        forget_library_variables();
        let schema = std::env::var("DB_SCHEMA").ok().filter(|schema| !schema.is_empty());
        Ok(Self { server, schema: schema.unwrap_or_else(|| "public".to_owned()), extensions: args.extension_folder() })
    }

    /// The statement that puts the parameters into the session's memory.
    fn create_secret(&self) -> String {
        let Server { host, port, user, password, database, .. } = &self.server;
        let mut sql = format!(
            "CREATE TEMPORARY SECRET warehouse_server (TYPE postgres, HOST {}, PORT {port}, USER {}, DATABASE {}",
            literal(host),
            literal(user),
            literal(database)
        );
        if let Some(password) = password.as_ref().filter(|password| !password.is_empty()) {
            sql.extend([", PASSWORD ", &literal(password)]);
        }
        sql + ")"
    }

    /// The rest of the client library's parameters: time-outs and encryption.
    fn parameters(&self, runner: &QueryRunner) -> String {
        let connect = runner.limit.as_secs().clamp(2, 30);
        let mut all = vec![
            ("application_name", "load-warehouse".to_owned()),
            ("client_encoding", "UTF8".to_owned()),
            ("options", self.settings(runner)),
            ("connect_timeout", connect.to_string()),
            // A server that is cut off is given up after half a minute.
            ("tcp_user_timeout", "30000".to_owned()),
            ("keepalives_idle", "15".to_owned()),
            ("keepalives_interval", "5".to_owned()),
            ("keepalives_count", "3".to_owned()),
        ];
        if let Some(mode) = &self.server.ssl_mode {
            let mode = match mode.as_str() {
                "disabled" => "disable",
                "preferred" => "prefer",
                "required" => "require",
                other => other,
            };
            all.push(("sslmode", mode.to_owned()));
        }
        if let Some(path) = &self.server.ssl_ca {
            all.push(("sslrootcert", path.clone()));
        }
        let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
        let all: Vec<_> = all.iter().map(|(key, value)| format!("{key}='{}'", quoted(value))).collect();
        all.join(" ")
    }

    /// What the sessions of the server go by. As options of the connection these come before what the server's file, the
    /// database or the role sets, and hold for every connection that the extension opens.
    ///
    /// - What is sent, stored and answered: encoding, notations of values, where names are looked for; policies that would
    ///   hide rows are errors.
    /// - An end to waiting: for a statement, for a lock, and of the server for a client that is gone without a word, which
    ///   holds its locks until the server notices. (One that is there and silent compares rows, which may take its time.)
    fn settings(&self, runner: &QueryRunner) -> String {
        let limit = runner.limit.as_millis().to_string();
        let search_path = format!("pg_catalog,{}", identifier(&self.schema).replace('\\', "\\\\").replace(' ', "\\ "));
        let settings = [
            ("search_path", search_path.as_str()),
            ("standard_conforming_strings", "on"),
            ("quote_all_identifiers", "off"),
            ("TimeZone", "UTC"),
            ("DateStyle", "ISO,YMD"),
            ("IntervalStyle", "postgres"),
            ("extra_float_digits", "3"),
            ("bytea_output", "hex"),
            ("row_security", "off"),
            ("default_transaction_read_only", "off"),
            ("default_transaction_isolation", "read\\ committed"),
            ("statement_timeout", &limit),
            ("lock_timeout", "10s"),
            ("idle_in_transaction_session_timeout", &limit),
            ("tcp_user_timeout", "30s"),
            ("tcp_keepalives_idle", "15"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
        ];
        let option = |(name, value): &(&str, &str)| format!("-c {name}={value}");
        settings.iter().map(option).collect::<Vec<_>>().join(" ")
    }

    /// Refuses a database that cannot hold any text, or that has not the schema that is meant.
    fn check_database(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        let (server, name) = (&self.server, &self.schema);
        let sql = self.source(&format!(
            "SELECT current_setting('server_encoding') AS encoding, current_setting('client_encoding') AS client, \
             (SELECT count(*) FROM pg_namespace WHERE nspname = {}) AS schemas",
            literal(name)
        ));
        let found = runner.rows(&format!("SELECT encoding, client, schemas::BIGINT FROM {sql}"), |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
        })?;
        let found = found.into_iter().next();
        let (encoding, client, schemas) =
            found.with_context(|| format!("{server}: does not say which encoding it has"))?;
        if encoding == "SQL_ASCII" {
            anyhow::bail!(
                "{server}: has the encoding SQL_ASCII, in which no text is sure to stay what it is: {ENCODING}"
            );
        }
        if client != "UTF8" {
            anyhow::bail!(
                "{server}: takes text as {client}, although UTF8 was asked for: does a proxy drop the settings of connections?"
            );
        }
        if schemas == 0 {
            let create = format!("CREATE SCHEMA {}", identifier(name));
            anyhow::bail!("{server}: has no schema {name}: {create}, or set DB_SCHEMA to the one that is meant");
        }
        Ok(())
    }

    /// Forgets what DuckDB remembers of the tables, which others may have changed. Outside of a transaction.
    fn refresh(runner: &QueryRunner) -> anyhow::Result<()> {
        runner.run("CALL pg_clear_cache()")
    }
}

impl Backend for Postgres {
    fn location(&self) -> String {
        self.server.to_string()
    }

    fn secrets(&self) -> Vec<String> {
        self.server.secrets()
    }

    fn attach(&self, runner: &QueryRunner, access: Access) -> anyhow::Result<bool> {
        load_extension(runner, self.extensions.as_deref())?;
        // The secret lives in this session's memory: DuckDB is not to look for stored ones on disk.
        runner.run("SET allow_persistent_secrets = false")?;
        runner.run(&self.create_secret())?;
        let mode = match access {
            Access::Read => ", READ_ONLY",
            Access::Write => "",
        };
        let (parameters, schema) = (literal(&self.parameters(runner)), literal(&self.schema));
        runner
            .run(&format!(
                "ATTACH {parameters} AS warehouse (TYPE postgres, SECRET warehouse_server, SCHEMA {schema}, \
                 ISOLATION_LEVEL 'READ COMMITTED'{mode})"
            ))
            .with_context(|| format!("{}: cannot connect", self.server))?;
        self.check_database(runner)?;
        Ok(true)
    }

    fn table(&self, name: &str) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(name))
    }

    fn source(&self, select: &str) -> String {
        format!("postgres_query('warehouse', {})", literal(select))
    }

    fn change(&self, runner: &QueryRunner, sql: &str) -> anyhow::Result<()> {
        runner.run(&format!("CALL postgres_execute('warehouse', {})", literal(sql)))
    }

    fn columns(&self, table: &str) -> String {
        format!(
            "SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type FROM pg_attribute a \
             JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {} AND c.relname = {} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            literal(&self.schema),
            literal(table)
        )
    }

    fn views(&self, table: &str) -> String {
        format!(
            "SELECT 1 AS one FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {} AND c.relname = {} AND c.relkind NOT IN ('r', 'p')",
            literal(&self.schema),
            literal(table)
        )
    }

    fn column_type(&self, written: &str) -> Option<SqlType> {
        Some(match written {
            "boolean" => SqlType::Boolean,
            "integer" => SqlType::Integer,
            "bigint" => SqlType::BigInt,
            "double precision" => SqlType::Double,
            "text" | "character varying" => SqlType::Text,
            _ if written == KEY_TEXT => SqlType::Text,
            "timestamp without time zone" | "timestamp(6) without time zone" => SqlType::Timestamp,
            "date" => SqlType::Date,
            _ => SqlType::decimal(written.strip_prefix("numeric")?).filter(|decimal| *decimal == widened(*decimal))?,
        })
    }

    fn type_name(&self, sql_type: SqlType, is_key: bool) -> String {
        match widened(sql_type) {
            SqlType::Double => "double precision".to_owned(),
            // The index of a key takes 2,704 bytes in all.
            SqlType::Text if is_key => KEY_TEXT.to_owned(),
            SqlType::Text => "text".to_owned(),
            SqlType::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
            other => other.to_string().to_lowercase(),
        }
    }

    fn refusal(&self, sql_type: SqlType) -> Option<String> {
        match widened(sql_type) {
            SqlType::Decimal { scale: 37.., .. } => Some(
                "which DuckDB's postgres extension damages on its way: cast it to DECIMAL(38,36) or VARCHAR".to_owned(),
            ),
            _ => None,
        }
    }

    /// The server's text has no U+0000.
    fn limit(&self, written: &str, sql_type: SqlType) -> Option<Limit> {
        match sql_type {
            SqlType::Text if written == KEY_TEXT => Some(Limit {
                exceeded: format!("(contains({{}}, chr(0)) OR length({{}}) > {KEY_CHARACTERS})"),
                instead: format!(
                    "CASE WHEN length({{}}) > {KEY_CHARACTERS} THEN {} ELSE {} END",
                    longest_text(KEY_CHARACTERS).instead.replace("{}", WITHOUT_ZERO),
                    WITHOUT_ZERO
                ),
                rule: format!(
                    "U+0000 is stored as U+FFFD; texts of more than {KEY_CHARACTERS} characters are cut, and their MD5 \
                     stands at the end"
                ),
            }),
            SqlType::Text => Some(Limit::new("contains({}, chr(0))", WITHOUT_ZERO, "U+0000 is stored as U+FFFD")),
            SqlType::Timestamp => Some(Limit::new(
                "isfinite({}) AND {} < TIMESTAMP '4713-11-24 (BC)'",
                "NULL",
                "times before the year 4713 before Christ are stored as NULL",
            )),
            SqlType::Date => Some(Limit::new(
                "isfinite({}) AND {} NOT BETWEEN DATE '4713-11-24 (BC)' AND DATE '5874897-12-31'",
                "NULL",
                "days before the year 4713 before Christ or after 5874897 are stored as NULL",
            )),
            SqlType::Boolean | SqlType::Integer | SqlType::BigInt | SqlType::Double | SqlType::Decimal { .. } => None,
        }
    }

    fn indexes_ids(&self) -> bool {
        false
    }

    /// The server finds one.
    fn index_name(&self, _table: &str) -> String {
        String::new()
    }

    fn define(&self, runner: &QueryRunner, sql: &str) -> anyhow::Result<()> {
        runner.in_transaction(|| self.change(runner, sql))?;
        Self::refresh(runner)
    }

    fn change_type(&self, table: &str, column: &str, sql_type: SqlType) -> String {
        let (table, column, sql_type) = (self.table(table), self.column(column), self.type_name(sql_type, false));
        format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE {sql_type} USING {column}::{sql_type}")
    }

    /// When rows break off, the extension cannot take that back and ends the process by `abort`: nothing more may be asked
    /// of the session.
    fn insert(&self, runner: &QueryRunner, table: &Name, columns: &[&str], select: &str) -> anyhow::Result<u64> {
        let inserted = runner.execute(&insertion(table, columns, select));
        inserted.map_err(|error| if error.is::<TryAgain>() { error.context(BrokenOff) } else { error })
    }

    /// That a transaction has an end is a setting only since PostgreSQL 17, and older ones refuse its name.
    fn begin(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        Self::refresh(runner)?;
        runner.run("BEGIN")?;
        let endless = "SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'";
        self.change(runner, &format!("{endless}; LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", self.table("load_log")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_what_was_created() {
        let variable = |name: &str| matches!(name, "DB_USER" | "DB_NAME").then(|| "x".to_owned());
        let server = Server::from_environment(5432, SSL_MODES, variable, |_| None).unwrap();
        let postgres = Postgres { server, schema: "public".to_owned(), extensions: None };
        let decimal = SqlType::Decimal { precision: 9, scale: 3 };
        for sql_type in [SqlType::Boolean, SqlType::Integer, SqlType::BigInt, SqlType::Double, decimal] {
            assert_eq!(postgres.column_type(&postgres.type_name(sql_type, false)), Some(sql_type));
        }
        assert_eq!(postgres.column_type("timestamp with time zone"), None);
        assert_eq!(postgres.column_type("character varying(9)"), None);
    }
}
