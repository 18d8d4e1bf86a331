//! MariaDB and MySQL, through DuckDB's `mysql` extension.
//!
//! What is particular here:
//! - DDL commits whatever is open, so it is done before a transaction begins.
//! - `mysql_execute` runs on the transaction's own connection; `mysql_query` runs on another one and sees what is
//!   committed. That is why it may read only under the lock, and before the transaction's own changes.
//! - The lock of a load is a row of the table `load_lock`, held by the transaction: the server gives it free after it
//!   has rolled a dead client's work back, not before.
//! - Strict mode is set for each transaction, because a server that is not strict cuts values off silently.

mod extension;
mod server;

use anyhow::Context as _;
use engine::{SessionArgs, identifier, literal};
use layout::Name;

use crate::args::WarehouseArgs;
use crate::column::{Column, ColumnType};
use crate::session::Session;
use crate::warehouse::{Access, Layout};

use server::Server;

/// Connects to the server.
pub(crate) fn attach(args: &WarehouseArgs, session: &SessionArgs, access: Access) -> anyhow::Result<Session> {
    let server = Server::from_environment(|name| std::env::var(name).ok())?;
    let session = Session { connection: engine::open(session)?, secrets: server.secrets() };
    extension::load(&session, "mysql", "mysql_scanner", args.extension_folder().as_deref())?;
    // The secret lives in this session's memory: DuckDB is not to look for stored ones on disk.
    session.run("SET allow_persistent_secrets = false")?;
    session.run(&server.create_secret("warehouse_server"))?;
    let mode = match access {
        Access::Read => ", READ_ONLY",
        Access::Write => "",
    };
    session
        .run(&format!("ATTACH '' AS warehouse (TYPE mysql, SECRET warehouse_server{mode})"))
        .with_context(|| format!("{server}: cannot connect"))?;
    Ok(session)
}

/// A query that the server itself runs, as a table expression.
pub(crate) fn query(sql: &str) -> String {
    format!("mysql_query('warehouse', {})", literal(sql))
}

/// Runs a statement on the server, inside the transaction if there is one.
pub(crate) fn execute(session: &Session, sql: &str) -> anyhow::Result<()> {
    session.run(&format!("CALL mysql_execute('warehouse', {})", literal(sql)))
}

/// `name` as an identifier of the server.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

pub(crate) fn columns(session: &Session, table: &str) -> anyhow::Result<Vec<(String, String)>> {
    // Text that mixes collations comes out of information_schema as bytes unless it is cast.
    let sql = format!(
        "SELECT CAST(column_name AS CHAR) AS name, CAST(column_type AS CHAR) AS type FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND table_name = '{table}' ORDER BY ordinal_position"
    );
    session.rows(&format!("SELECT name, type FROM {}", query(&sql)), |row| Ok((row.get(0)?, row.get(1)?)))
}

pub(crate) fn column_type(name: &str) -> Option<ColumnType> {
    Some(match name {
        "tinyint(1)" => ColumnType::Boolean,
        "text" | "mediumtext" | "longtext" => ColumnType::Text,
        "datetime(6)" => ColumnType::Timestamp,
        "double" => ColumnType::Double,
        "date" => ColumnType::Date,
        // Servers before MySQL 8.0.19 show a width, which means nothing.
        _ if name == "int" || is_display_width(name, "int") => ColumnType::Integer,
        _ if name == "bigint" || is_display_width(name, "bigint") => ColumnType::BigInt,
        _ => return ColumnType::decimal(name.strip_prefix("decimal")?),
    })
}

fn is_display_width(name: &str, kind: &str) -> bool {
    let width = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'));
    width.is_some_and(|width| width.bytes().all(|byte| byte.is_ascii_digit()))
}

fn type_name(kind: ColumnType) -> String {
    match kind {
        ColumnType::Boolean => "TINYINT(1)".to_owned(),
        ColumnType::Integer => "INT".to_owned(),
        ColumnType::Text => "TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin".to_owned(),
        ColumnType::Timestamp => "DATETIME(6)".to_owned(),
        other => other.to_string(),
    }
}

/// Creates the load log and the lock if they are missing: whoever only loads needs no right to create, and does not
/// wait here for another load.
pub(crate) fn create_log(session: &Session) -> anyhow::Result<()> {
    if columns(session, "load_log")?.is_empty() {
        define(
            session,
            "CREATE TABLE IF NOT EXISTS load_log (dataset VARCHAR(63) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, \
             window_start DATETIME(6) NOT NULL, \
             fingerprint VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, \
             row_count BIGINT NOT NULL, last_id BIGINT NOT NULL, loaded_at DATETIME(6) NOT NULL, \
             PRIMARY KEY (dataset, window_start)) ENGINE = InnoDB",
        )?;
    }
    if columns(session, "load_lock")?.is_empty() {
        define(session, "CREATE TABLE IF NOT EXISTS load_lock (id INTEGER PRIMARY KEY) ENGINE = InnoDB")?;
    }
    let lock = format!("SELECT id FROM {}", query("SELECT id FROM load_lock WHERE id = 1"));
    if session.rows(&lock, |row| row.get::<_, i32>(0))?.is_empty() {
        define(session, "INSERT IGNORE INTO load_lock VALUES (1)")?;
    }
    Ok(())
}

/// Creates the table or adds the columns it lacks.
pub(crate) fn lay_out(session: &Session, table: &Name, layout: &Layout<'_>) -> anyhow::Result<()> {
    let definition = |column: &Column| format!("{} {} NULL", quoted(&column.name), type_name(column.kind));
    let table = quoted(table.as_str());
    let (Layout::Create(columns) | Layout::Add(columns)) = layout;
    // The extension escapes identifiers in a way that these two characters would break out of.
    if let Some(column) = columns.iter().find(|column| column.name.contains(['`', '\\'])) {
        anyhow::bail!("the column {:?} has a ` or \\ in its name: rename it in the query", column.name);
    }
    let definitions: Vec<_> = columns.iter().map(definition).collect();
    let sql = match layout {
        Layout::Create(_) => {
            let own = ["id BIGINT PRIMARY KEY", "window_start DATETIME(6) NOT NULL", "KEY window_start (window_start)"];
            let columns: Vec<_> = own.map(str::to_owned).into_iter().chain(definitions).collect();
            format!(
                "CREATE TABLE IF NOT EXISTS {table} ({}) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
                columns.join(", ")
            )
        }
        Layout::Add(_) => {
            let columns: Vec<_> = definitions.iter().map(|definition| format!("ADD COLUMN {definition}")).collect();
            format!("ALTER TABLE {table} {}", columns.join(", "))
        }
    };
    define(session, &sql)
}

/// Strict, and with an end to waiting: by default DDL waits for a day for somebody's open transaction.
const SETTINGS: &str =
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES', innodb_lock_wait_timeout = 10, lock_wait_timeout = 10";

/// Runs DDL, or what goes with it.
fn define(session: &Session, sql: &str) -> anyhow::Result<()> {
    // Not for its atomicity, which DDL has none of, but to have the settings on the connection that runs it.
    session.run("BEGIN")?;
    let defined = execute(session, SETTINGS).and_then(|()| execute(session, sql));
    session.run(if defined.is_ok() { "COMMIT" } else { "ROLLBACK" }).and(defined)
}

/// Begins a load's transaction: takes the lock that every load takes first.
pub(crate) fn begin(session: &Session) -> anyhow::Result<()> {
    execute(session, SETTINGS)?;
    execute(session, "SELECT id FROM load_lock WHERE id = 1 FOR UPDATE")
}

/// A column's value as the server can store it: it has no NaN and no infinity.
pub(crate) fn value(column: &Column) -> String {
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

/// Forgets what DuckDB has cached of the server's tables.
pub(crate) fn refresh(session: &Session) -> anyhow::Result<()> {
    session.run("CALL mysql_clear_cache()")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_what_was_created() {
        for kind in [ColumnType::Boolean, ColumnType::Integer, ColumnType::BigInt, ColumnType::Double, ColumnType::Date]
        {
            assert_eq!(column_type(&type_name(kind).to_lowercase()), Some(kind));
        }
        assert_eq!(column_type("decimal(10,2)"), Some(ColumnType::Decimal { precision: 10, scale: 2 }));
        assert_eq!(column_type("int(11)"), Some(ColumnType::Integer));
        assert_eq!(column_type("bigint(20)"), Some(ColumnType::BigInt));
        assert_eq!(column_type("bigint(20) unsigned"), None);
        assert_eq!(column_type("datetime"), None);
    }
}
