//! PostgreSQL, through DuckDB's `postgres` extension.
//!
//! What is particular here:
//! - Everything in a transaction runs on its one connection: `postgres_query` sees the transaction's own changes. INSERT
//!   is one COPY.
//! - DDL is transactional.
//! - The lock of a load is that of the table `load_log`, which readers do not wait for. READ COMMITTED, because who waited
//!   for it is to see what the other has committed.
//! - Tables are looked for in one schema, whatever the user's search path is.

use std::path::PathBuf;

use anyhow::Context as _;
use cli::TryAgain;
use engine::{identifier, literal};

use crate::args::WarehouseArgs;
use crate::backend::{Access, Backend, Insertion, TableDefinition, definitions};
use crate::column::{SqlType, TableColumn};
use crate::extension::{self, Extension};
use crate::failure::BrokenOff;
use crate::runner::QueryRunner;
use crate::server::{Defaults, Server};

const EXTENSION: Extension = Extension { name: "postgres", file: "postgres_scanner" };

const DEFAULTS: Defaults = Defaults {
    port: 5432,
    ssl_modes: &[
        "disabled",
        "preferred",
        "required",
        "disable",
        "allow",
        "prefer",
        "require",
        "verify-ca",
        "verify-full",
    ],
};

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
        let server = Server::from_environment(DEFAULTS, |name| std::env::var(name).ok(), |_| None)?;
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
        let connect = runner.limit().as_secs().clamp(2, 30);
        let mut all = vec![
            ("application_name", "load-warehouse".to_owned()),
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

    /// An end to waiting: for a statement, for a lock, and of the server for a client that is gone without a word, which
    /// holds its locks until the server notices. (One that is there and silent compares rows, which may take its time.)
    fn settings(runner: &QueryRunner) -> String {
        let limit = runner.limit().as_millis();
        format!(
            "SET LOCAL statement_timeout = {limit}; SET LOCAL lock_timeout = '10s'; \
             SET LOCAL idle_in_transaction_session_timeout = {limit}; SET LOCAL tcp_user_timeout = '30s'; \
             SET LOCAL tcp_keepalives_idle = 15; SET LOCAL tcp_keepalives_interval = 5; \
             SET LOCAL tcp_keepalives_count = 3"
        )
    }

    fn check_schema(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        let (server, name) = (&self.server, &self.schema);
        let sql = self.source(&format!("SELECT 1 AS one FROM pg_namespace WHERE nspname = {}", literal(name)));
        if runner.rows(&format!("SELECT * FROM {sql}"), |_| Ok(()))?.is_empty() {
            let create = format!("CREATE SCHEMA {}", identifier(name));
            anyhow::bail!("{server}: has no schema {name}: {create}, or set DB_SCHEMA to the one that is meant");
        }
        Ok(())
    }

    /// Runs DDL in a transaction.
    fn define(&self, runner: &QueryRunner, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        runner.begin()?;
        let defined = self.change(runner, &Self::settings(runner)).and_then(|()| work());
        runner.end(if defined.is_ok() { "COMMIT" } else { "ROLLBACK" }).and(defined)?;
        self.refresh(runner)
    }

    fn lock(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        self.change(runner, &format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", self.table("load_log")))
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
        extension::load(runner, EXTENSION, self.extensions.as_deref())?;
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
        self.check_schema(runner)?;
        Ok(true)
    }

    fn refresh(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        runner.run("CALL pg_clear_cache()")
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

    fn columns(&self, runner: &QueryRunner, table: &str) -> anyhow::Result<Vec<(String, String)>> {
        let sql = format!(
            "SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type FROM pg_attribute a \
             JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {} AND c.relname = {} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            literal(&self.schema),
            literal(table)
        );
        runner.rows(&format!("SELECT name, type FROM {}", self.source(&sql)), |row| Ok((row.get(0)?, row.get(1)?)))
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
            "timestamp without time zone" | "timestamp(6) without time zone" => SqlType::Timestamp,
            "date" => SqlType::Date,
            _ => return SqlType::decimal(written.strip_prefix("numeric")?),
        })
    }

    fn type_name(&self, sql_type: SqlType) -> String {
        match sql_type {
            SqlType::Double => "double precision".to_owned(),
            SqlType::Text => "text".to_owned(),
            SqlType::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
            other => other.to_string().to_lowercase(),
        }
    }

    /// Whoever only loads needs no right to create.
    fn create_log(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        if !self.columns(runner, "load_log")?.is_empty() {
            return Ok(());
        }
        let log = self.table("load_log");
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {log} (dataset text NOT NULL, window_start timestamp NOT NULL, \
             fingerprint text NOT NULL, row_count bigint NOT NULL, last_id bigint NOT NULL, loaded_at timestamp NOT NULL, \
             tree text, PRIMARY KEY (dataset, window_start))"
        );
        self.define(runner, || self.change(runner, &sql))
    }

    fn create_table(&self, runner: &QueryRunner, definition: &TableDefinition<'_>) -> anyhow::Result<()> {
        let name = definition.table.as_str();
        let (table, columns) = (self.table(name), definitions(self, definition, "bigint", "timestamp"));
        let sql = format!("CREATE TABLE {table} ({}); CREATE INDEX ON {table} (window_start)", columns.join(", "));
        self.define(runner, || {
            self.lock(runner)?;
            // Whoever had the lock before may have made it.
            if self.columns(runner, name)?.is_empty() { self.change(runner, &sql) } else { Ok(()) }
        })
    }

    fn add_columns(&self, runner: &QueryRunner, table: &str, columns: &[TableColumn]) -> anyhow::Result<()> {
        let added = |column: &TableColumn| {
            format!("ADD COLUMN IF NOT EXISTS {} {}", self.column(&column.name), self.type_name(column.sql_type))
        };
        let columns: Vec<_> = columns.iter().map(added).collect();
        let sql = format!("ALTER TABLE {} {}", self.table(table), columns.join(", "));
        self.define(runner, || self.change(runner, &sql))
    }

    fn change_type(&self, table: &str, column: &str, sql_type: SqlType) -> String {
        let (table, column, sql_type) = (self.table(table), self.column(column), self.type_name(sql_type));
        format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE {sql_type} USING {column}::{sql_type}")
    }

    /// When rows break off, the extension cannot take that back and ends the process by `abort`: nothing more may be asked
    /// of the session.
    fn insert(&self, runner: &QueryRunner, batch: &Insertion<'_>) -> anyhow::Result<u64> {
        runner.execute(&batch.insert()).map_err(
            |error| {
                if error.is::<TryAgain>() { error.context(BrokenOff) } else { error }
            },
        )
    }

    fn begin(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        self.change(runner, &Self::settings(runner))?;
        self.lock(runner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_what_was_created() {
        let variable = |name: &str| matches!(name, "DB_USER" | "DB_NAME").then(|| "x".to_owned());
        let server = Server::from_environment(DEFAULTS, variable, |_| None).unwrap();
        let postgres = Postgres { server, schema: "public".to_owned(), extensions: None };
        let decimal = SqlType::Decimal { precision: 9, scale: 3 };
        for sql_type in [SqlType::Boolean, SqlType::Integer, SqlType::BigInt, SqlType::Double, decimal] {
            assert_eq!(postgres.column_type(&postgres.type_name(sql_type)), Some(sql_type));
        }
        assert_eq!(postgres.column_type("timestamp with time zone"), None);
        assert_eq!(postgres.column_type("character varying(9)"), None);
    }
}
