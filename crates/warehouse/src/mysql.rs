//! MariaDB and MySQL, through a connection of our own: DuckDB reads the files, the driver does what the server is asked for.
//! (DuckDB's `mysql` extension sends rows in INSERTs of 8,000 bytes, which takes more than twice as long as `LOAD DATA`; it
//! knows no time-outs, and has to be there.)
//!
//! What is particular here:
//! - DDL commits whatever is open, so it is done before a transaction begins.
//! - The lock of a load is a row of the table `load_lock`, held by the transaction: the server gives it free after it
//!   has rolled a dead client's work back, not before. The server waits half a minute for the next word of the client and
//!   no longer; a living one says one every ten seconds.
//! - Each session has its own settings, see `client`; `LOAD DATA` only warns of values that it changes even in strict mode,
//!   and is not believed if it does.
//! - A column of text that somebody made in another encoding than utf8mb4 does not hold every text: it is refused.

mod bulk;
mod client;
mod client_file;

use std::cell::RefCell;
use std::sync::Arc;

use anyhow::Context as _;
use layout::Name;

use crate::backend::{self, Access, Backend};
use crate::column::{Limit, SqlType, longest_bytes, longest_text};
use crate::rows;
use crate::runner::QueryRunner;
use crate::server::Server;

use client::{Client, ClientError};

const SSL_MODES: &[&str] = &["disabled", "preferred", "required", "verify-full"];

/// A database on a MariaDB or MySQL server.
#[derive(Debug)]
pub(crate) struct MySql {
    server: Server,
    /// The connection, once it is attached.
    client: RefCell<Option<Arc<Client>>>,
}

impl MySql {
    /// The database that the environment names; what it leaves open is looked for in the client's own file.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let file = client_file::read()?;
        let variable = |name: &str| std::env::var(name).ok();
        let server = Server::from_environment(3306, SSL_MODES, variable, |name| file.get(name).cloned())?;
        Ok(Self { server, client: RefCell::default() })
    }

    fn client(&self) -> anyhow::Result<Arc<Client>> {
        self.client.borrow().clone().with_context(|| format!("{}: is not attached", self.server))
    }

    /// A user that only loads needs no right to create, and does not wait here for another load.
    fn create_lock(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        if backend::columns(self, runner, "load_lock")?.is_empty() {
            self.change(runner, "CREATE TABLE IF NOT EXISTS load_lock (id INTEGER PRIMARY KEY) ENGINE = InnoDB")?;
        }
        let lock = format!("SELECT id FROM {}", self.source("SELECT id FROM load_lock WHERE id = 1"));
        if runner.rows(&lock, |row| row.get::<_, i64>(0))?.is_empty() {
            self.change(runner, "INSERT IGNORE INTO load_lock VALUES (1)")?;
        }
        Ok(())
    }
}

impl Backend for MySql {
    fn location(&self) -> String {
        self.server.to_string()
    }

    fn secrets(&self) -> Vec<String> {
        self.server.secrets()
    }

    fn attach(&self, runner: &QueryRunner, access: Access) -> anyhow::Result<bool> {
        // MariaDB denies access, without saying why, where it wants an encrypted connection and does not get one.
        let is_disabled = self.server.ssl_mode.as_deref() == Some("disabled");
        let how = if is_disabled { " without encryption, which it may want: see DB_SSL_MODE" } else { "" };
        let explain = |error: ClientError| {
            let place = format!("{}: cannot connect{how}", self.server);
            runner.explain(&error.to_string()).context(place)
        };
        let client = Client::connect(&self.server, runner.limit).map_err(explain)?;
        if access == Access::Read {
            client.run("SET SESSION TRANSACTION READ ONLY").map_err(explain)?;
            // A reader holds no lock, so that it may take long between two rows of an answer, or two questions.
            let limits = format!("net_write_timeout = {}, wait_timeout = DEFAULT", runner.limit.as_secs());
            client.run(&format!("SET SESSION {limits}")).map_err(explain)?;
        }
        rows::register(&runner.connection, &client)?;
        self.client.replace(Some(client));
        if access == Access::Write {
            self.create_lock(runner)?;
        }
        Ok(true)
    }

    fn table(&self, name: &str) -> String {
        self.column(name)
    }

    fn column(&self, name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn source(&self, select: &str) -> String {
        rows::table(select)
    }

    fn change(&self, runner: &QueryRunner, sql: &str) -> anyhow::Result<()> {
        self.client()?.run(sql).map(|_| ()).map_err(|error| runner.explain(&error.to_string()))
    }

    /// A column in another encoding than utf8mb4 shows it, but for the names of data sets, which are ASCII.
    fn columns(&self, table: &str) -> String {
        format!(
            "SELECT column_name AS name, concat(column_type, \
             CASE WHEN character_set_name <> 'utf8mb4' AND table_name <> 'load_log' THEN concat(' character set ', character_set_name) ELSE '' END) AS type FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = '{table}' ORDER BY ordinal_position"
        )
    }

    fn views(&self, table: &str) -> String {
        format!(
            "SELECT 1 AS one FROM information_schema.views WHERE table_schema = DATABASE() AND table_name = '{table}'"
        )
    }

    fn column_type(&self, written: &str) -> Option<SqlType> {
        Some(match written {
            "tinyint(1)" => SqlType::Boolean,
            "text" | "mediumtext" | "longtext" => SqlType::Text,
            "datetime(6)" => SqlType::Timestamp,
            "double" => SqlType::Double,
            "date" => SqlType::Date,
            // Servers before MySQL 8.0.19 show a width, which means nothing.
            _ if written == "int" || width(written, "int").is_some() => SqlType::Integer,
            _ if written == "bigint" || width(written, "bigint").is_some() => SqlType::BigInt,
            // Strict mode refuses what is too long.
            _ if width(written, "varchar").is_some() => SqlType::Text,
            _ => return SqlType::decimal(written.strip_prefix("decimal")?),
        })
    }

    fn type_name(&self, sql_type: SqlType, is_key: bool) -> String {
        match sql_type {
            SqlType::Boolean => "TINYINT(1)".to_owned(),
            SqlType::Integer => "INT".to_owned(),
            // A key takes no TEXT, and 3,072 bytes in all.
            SqlType::Text if is_key => "VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin".to_owned(),
            SqlType::Text => "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin".to_owned(),
            SqlType::Timestamp => "DATETIME(6)".to_owned(),
            other => other.to_string(),
        }
    }

    fn table_options(&self) -> &'static str {
        " ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    }

    /// Each statement that defines something commits.
    fn inner_index(&self) -> Option<&'static str> {
        Some("KEY window_start (window_start)")
    }

    fn define(&self, runner: &QueryRunner, sql: &str) -> anyhow::Result<()> {
        self.change(runner, sql)
    }

    fn change_type(&self, table: &str, column: &str, sql_type: SqlType) -> String {
        format!(
            "ALTER TABLE {} MODIFY COLUMN {} {}",
            self.table(table),
            self.column(column),
            self.type_name(sql_type, false)
        )
    }

    fn begin(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        runner.run("BEGIN")?;
        self.change(runner, "BEGIN")?;
        // A reading that locks: what the transaction sees is decided by the first one that does not.
        self.change(runner, "SELECT id FROM load_lock WHERE id = 1 FOR UPDATE")
    }

    fn end(&self, runner: &QueryRunner, how: &str) -> anyhow::Result<()> {
        let ended = self.change(runner, how);
        runner.run(if ended.is_ok() { how } else { "ROLLBACK" }).and(ended)
    }

    /// The server has no NaN, no infinity, and the years 1 to 9999; its texts have lengths.
    fn limit(&self, written: &str, sql_type: SqlType) -> Option<Limit> {
        match sql_type {
            SqlType::Double => Some(Limit::new("NOT isfinite({})", "NULL", "NaN and infinity are stored as NULL")),
            SqlType::Timestamp => Some(Limit::new(
                "{} NOT BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'",
                "NULL",
                "times that are not in the years 1 to 9999 are stored as NULL",
            )),
            SqlType::Date => Some(Limit::new(
                "{} NOT BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'",
                "NULL",
                "days that are not in the years 1 to 9999 are stored as NULL",
            )),
            SqlType::Text => match written {
                "text" => Some(longest_bytes(65_535)),
                "mediumtext" => Some(longest_bytes(16_777_215)),
                _ => Some(longest_text(width(written, "varchar")?)),
            },
            SqlType::Boolean | SqlType::Integer | SqlType::BigInt | SqlType::Decimal { .. } => None,
        }
    }

    /// In texts, the server takes a number for a truth.
    fn sent(&self, sql_type: SqlType, value: &str) -> String {
        if sql_type == SqlType::Boolean { format!("{value}::TINYINT") } else { value.to_owned() }
    }

    fn insert(&self, runner: &QueryRunner, table: &Name, columns: &[&str], select: &str) -> anyhow::Result<u64> {
        let columns: Vec<_> = columns.iter().map(|name| self.column(name)).collect();
        bulk::insert(&*self.client()?, runner, &self.table(table.as_str()), &columns, select)
    }
}

/// The number in `type(number)`.
fn width(written: &str, type_name: &str) -> Option<usize> {
    written.strip_prefix(type_name)?.strip_prefix('(')?.strip_suffix(')')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql() -> MySql {
        let variable = |name: &str| ["DB_USER", "DB_NAME"].contains(&name).then(|| "x".to_owned());
        let server = Server::from_environment(3306, SSL_MODES, variable, |_| None).unwrap();
        MySql { server, client: RefCell::default() }
    }

    #[test]
    fn a_column_is_what_was_created() {
        let mysql = mysql();
        for sql_type in [SqlType::Boolean, SqlType::Integer, SqlType::BigInt, SqlType::Double, SqlType::Date] {
            assert_eq!(mysql.column_type(&mysql.type_name(sql_type, false).to_lowercase()), Some(sql_type));
        }
        assert_eq!(mysql.column_type("decimal(10,2)"), Some(SqlType::Decimal { precision: 10, scale: 2 }));
        assert_eq!(mysql.column_type("int(11)"), Some(SqlType::Integer));
        assert_eq!(mysql.column_type("bigint(20)"), Some(SqlType::BigInt));
        assert_eq!(mysql.column_type("varchar(190)"), Some(SqlType::Text));
        assert_eq!(mysql.column_type("bigint(20) unsigned"), None);
        assert_eq!(mysql.column_type("datetime"), None);
    }
}
