//! MariaDB and MySQL, through DuckDB's `mysql` extension.
//!
//! What is particular here:
//! - DDL commits whatever is open, so it is done before a transaction begins.
//! - `mysql_execute` runs on the transaction's own connection; `mysql_query` runs on another one and sees what is
//!   committed. That is why it may read only under the lock, and before the transaction's own changes.
//! - The lock of a load is a row of the table `load_lock`, held by the transaction: the server gives it free after it
//!   has rolled a dead client's work back, not before.
//! - Strict mode is set for each transaction, because a server that is not strict cuts values off silently.

mod client_file;

use std::path::PathBuf;

use anyhow::Context as _;
use engine::{identifier, literal};
use layout::Name;

use crate::args::WarehouseArgs;
use crate::column::{Column, ColumnType};
use crate::extension::{self, Extension};
use crate::kind::{Access, Definition, Kind, definitions};
use crate::server::{Defaults, Server};
use crate::session::Session;

const EXTENSION: Extension = Extension { name: "mysql", file: "mysql_scanner" };

/// The extension knows `verify_ca` and `verify_identity` as well, but was seen to accept any certificate with them.
const DEFAULTS: Defaults = Defaults { port: 3306, ssl_modes: &["disabled", "preferred", "required"] };

/// A database on a MariaDB or MySQL server.
#[derive(Debug)]
pub(crate) struct MySql {
    server: Server,
    extensions: Option<PathBuf>,
}

impl MySql {
    /// The database that the environment names; what it leaves open is looked for in the client's own file.
    pub(crate) fn new(args: &WarehouseArgs) -> anyhow::Result<Self> {
        let file = client_file::read()?;
        let server =
            Server::from_environment(DEFAULTS, |name| std::env::var(name).ok(), |name| file.get(name).cloned())?;
        Ok(Self { server, extensions: args.extension_folder() })
    }

    /// The statement that puts the parameters into the session's memory.
    fn create_secret(&self) -> String {
        let Server { host, port, user, password, database, ssl_mode, ssl_ca } = &self.server;
        let host = if self.server.is_socket() {
            format!("HOST 'localhost', SOCKET {}", literal(host))
        } else {
            format!("HOST {}, PORT {port}", literal(host))
        };
        let mut sql = format!(
            "CREATE TEMPORARY SECRET warehouse_server (TYPE mysql, {host}, USER {}, DATABASE {}",
            literal(user),
            literal(database)
        );
        for (key, value) in [("PASSWORD", password), ("SSL_MODE", ssl_mode), ("SSL_CA", ssl_ca)] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                sql.extend([", ", key, " ", &literal(value)]);
            }
        }
        sql + ")"
    }

    /// MariaDB denies access, without saying why, where it wants an encrypted connection and does not get one.
    fn unencrypted(&self) -> &'static str {
        let is_disabled = self.server.ssl_mode.as_deref() == Some("disabled");
        if is_disabled { " without encryption, which it may want: see DB_SSL_MODE" } else { "" }
    }

    /// Strict, and with an end to waiting: by default DDL waits for a day for somebody's open transaction, and the server
    /// for eight hours for a client that is gone without a word.
    fn settings(session: &Session) -> String {
        let gone = session.limit().as_secs().max(10);
        format!(
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES', innodb_lock_wait_timeout = 10, lock_wait_timeout = 10, \
             wait_timeout = {gone}"
        )
    }

    /// Runs DDL, or what goes with it.
    fn define(&self, session: &Session, sql: &str) -> anyhow::Result<()> {
        // Not for its atomicity, which DDL has none of, but to have the settings on the connection that runs it.
        session.begin()?;
        let defined = self.change(session, &Self::settings(session)).and_then(|()| self.change(session, sql));
        session.end(if defined.is_ok() { "COMMIT" } else { "ROLLBACK" }).and(defined)?;
        self.refresh(session)
    }
}

impl Kind for MySql {
    fn place(&self) -> String {
        self.server.to_string()
    }

    fn secrets(&self) -> Vec<String> {
        self.server.secrets()
    }

    fn attach(&self, session: &Session, access: Access) -> anyhow::Result<bool> {
        extension::load(session, EXTENSION, self.extensions.as_deref())?;
        // The secret lives in this session's memory: DuckDB is not to look for stored ones on disk.
        session.run("SET allow_persistent_secrets = false")?;
        session.run(&self.create_secret())?;
        let mode = match access {
            Access::Read => ", READ_ONLY",
            Access::Write => "",
        };
        session
            .run(&format!("ATTACH '' AS warehouse (TYPE mysql, SECRET warehouse_server{mode})"))
            .with_context(|| format!("{}: cannot connect{}", self.server, self.unencrypted()))?;
        Ok(true)
    }

    fn refresh(&self, session: &Session) -> anyhow::Result<()> {
        session.run("CALL mysql_clear_cache()")
    }

    fn table(&self, name: &str) -> String {
        self.column(name)
    }

    fn column(&self, name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn text(&self, column: &str) -> String {
        // Text whose collation is binary comes out of `mysql_query` as bytes.
        format!("CAST({column} AS CHAR)")
    }

    fn source(&self, select: &str) -> String {
        format!("mysql_query('warehouse', {})", literal(select))
    }

    fn change(&self, session: &Session, sql: &str) -> anyhow::Result<()> {
        session.run(&format!("CALL mysql_execute('warehouse', {})", literal(sql)))
    }

    fn columns(&self, session: &Session, table: &str) -> anyhow::Result<Vec<(String, String)>> {
        // Text that mixes collations comes out of information_schema as bytes unless it is cast.
        let sql = format!(
            "SELECT CAST(column_name AS CHAR) AS name, CAST(column_type AS CHAR) AS type FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = '{table}' ORDER BY ordinal_position"
        );
        session.rows(&format!("SELECT name, type FROM {}", self.source(&sql)), |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn column_type(&self, written: &str) -> Option<ColumnType> {
        Some(match written {
            "tinyint(1)" => ColumnType::Boolean,
            "text" | "mediumtext" | "longtext" => ColumnType::Text,
            "datetime(6)" => ColumnType::Timestamp,
            "double" => ColumnType::Double,
            "date" => ColumnType::Date,
            // Servers before MySQL 8.0.19 show a width, which means nothing.
            _ if written == "int" || has_width(written, "int") => ColumnType::Integer,
            _ if written == "bigint" || has_width(written, "bigint") => ColumnType::BigInt,
            // Strict mode refuses what is too long.
            _ if has_width(written, "varchar") => ColumnType::Text,
            _ => return ColumnType::decimal(written.strip_prefix("decimal")?),
        })
    }

    fn type_name(&self, kind: ColumnType) -> String {
        match kind {
            ColumnType::Boolean => "TINYINT(1)".to_owned(),
            ColumnType::Integer => "INT".to_owned(),
            ColumnType::Text => "TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin".to_owned(),
            ColumnType::Timestamp => "DATETIME(6)".to_owned(),
            other => other.to_string(),
        }
    }

    fn key_type_name(&self, kind: ColumnType) -> String {
        match kind {
            // A key takes no TEXT, and 3,072 bytes in all.
            ColumnType::Text => "VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin".to_owned(),
            other => self.type_name(other),
        }
    }

    /// Whoever only loads needs no right to create, and does not wait here for another load.
    fn create_log(&self, session: &Session) -> anyhow::Result<()> {
        if self.columns(session, "load_log")?.is_empty() {
            self.define(
                session,
                "CREATE TABLE IF NOT EXISTS load_log (dataset VARCHAR(63) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, \
                 window_start DATETIME(6) NOT NULL, \
                 fingerprint VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, \
                 row_count BIGINT NOT NULL, last_id BIGINT NOT NULL, loaded_at DATETIME(6) NOT NULL, \
                 PRIMARY KEY (dataset, window_start)) ENGINE = InnoDB",
            )?;
        }
        if self.columns(session, "load_lock")?.is_empty() {
            self.define(session, "CREATE TABLE IF NOT EXISTS load_lock (id INTEGER PRIMARY KEY) ENGINE = InnoDB")?;
        }
        let lock = format!("SELECT id FROM {}", self.source("SELECT id FROM load_lock WHERE id = 1"));
        if session.rows(&lock, |row| row.get::<_, i32>(0))?.is_empty() {
            self.define(session, "INSERT IGNORE INTO load_lock VALUES (1)")?;
        }
        Ok(())
    }

    fn create_table(&self, session: &Session, definition: &Definition<'_>) -> anyhow::Result<()> {
        refuse_names(definition.columns)?;
        let mut columns = definitions(self, definition, "BIGINT", "DATETIME(6)");
        columns.push("KEY window_start (window_start)".to_owned());
        self.define(
            session,
            &format!(
                "CREATE TABLE IF NOT EXISTS {} ({}) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
                self.table(definition.table.as_str()),
                columns.join(", ")
            ),
        )
    }

    fn add_columns(&self, session: &Session, table: &Name, columns: &[Column]) -> anyhow::Result<()> {
        refuse_names(columns)?;
        let added =
            |column: &Column| format!("ADD COLUMN {} {} NULL", self.column(&column.name), self.type_name(column.kind));
        let columns: Vec<_> = columns.iter().map(added).collect();
        self.define(session, &format!("ALTER TABLE {} {}", self.table(table.as_str()), columns.join(", ")))
    }

    fn change_type(&self, table: &str, column: &str, kind: ColumnType) -> String {
        format!("ALTER TABLE {} MODIFY COLUMN {} {}", self.table(table), self.column(column), self.type_name(kind))
    }

    fn begin(&self, session: &Session) -> anyhow::Result<()> {
        self.change(session, &Self::settings(session))?;
        self.change(session, "SELECT id FROM load_lock WHERE id = 1 FOR UPDATE")
    }

    fn value(&self, column: &Column) -> String {
        let name = identifier(&column.name);
        if column.kind != ColumnType::Double {
            return name;
        }
        let text = format!(
            "the column {} holds NaN or infinity, which the server cannot store: make it NULL in the query",
            column.name
        );
        format!("CASE WHEN NOT isfinite({name}) THEN error({}) ELSE {name} END", literal(&text))
    }
}

/// The extension escapes identifiers in a way that these two characters would break out of.
fn refuse_names(columns: &[Column]) -> anyhow::Result<()> {
    if let Some(column) = columns.iter().find(|column| column.name.contains(['`', '\\'])) {
        anyhow::bail!("the column {:?} has a ` or \\ in its name: rename it in the query", column.name);
    }
    Ok(())
}

fn has_width(name: &str, kind: &str) -> bool {
    let width = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'));
    width.is_some_and(|width| width.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql(password: &str) -> MySql {
        let variable = |name: &str| match name {
            "DB_PASSWORD" => Some(password.to_owned()),
            "DB_USER" | "DB_NAME" => Some("x".to_owned()),
            _ => None,
        };
        MySql { server: Server::from_environment(DEFAULTS, variable, |_| None).unwrap(), extensions: None }
    }

    #[test]
    fn a_column_is_what_was_created() {
        let mysql = mysql("");
        for kind in [ColumnType::Boolean, ColumnType::Integer, ColumnType::BigInt, ColumnType::Double, ColumnType::Date]
        {
            assert_eq!(mysql.column_type(&mysql.type_name(kind).to_lowercase()), Some(kind));
        }
        assert_eq!(mysql.column_type("decimal(10,2)"), Some(ColumnType::Decimal { precision: 10, scale: 2 }));
        assert_eq!(mysql.column_type("int(11)"), Some(ColumnType::Integer));
        assert_eq!(mysql.column_type("bigint(20)"), Some(ColumnType::BigInt));
        assert_eq!(mysql.column_type("varchar(190)"), Some(ColumnType::Text));
        assert_eq!(mysql.column_type("bigint(20) unsigned"), None);
        assert_eq!(mysql.column_type("datetime"), None);
    }

    #[test]
    fn a_password_stays_a_password_in_sql() {
        assert!(mysql("it's").create_secret().contains("PASSWORD 'it''s'"));
    }
}
