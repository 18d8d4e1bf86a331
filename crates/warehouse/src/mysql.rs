//! MariaDB and MySQL, through a connection of our own: DuckDB reads the files, the driver does all that the server is
//! asked for.
//!
//! What is particular here:
//! - DDL commits whatever is open, so it is done before a transaction begins.
//! - The lock of a load is a row of the table `load_lock`, held by the transaction: the server gives it free after it
//!   has rolled a dead client's work back, not before.
//! - Strict mode is set for each session, because a server that is not strict cuts values off silently; `LOAD DATA`
//!   only warns even then, and is not believed until it has no warnings.

mod bulk;
mod client;
mod inserts;
mod server;

use anyhow::Context as _;
use engine::{identifier, literal};
use layout::Name;

use crate::column::{Column, ColumnType};
use crate::warehouse::Layout;

pub(crate) use bulk::insert;
pub(crate) use client::Client;
use server::Server;

/// Connects to the server.
pub(crate) fn connect() -> anyhow::Result<Client> {
    let server = Server::from_environment(|name| std::env::var(name).ok())?;
    Client::connect(&server).with_context(|| format!("{server}: cannot connect"))
}

/// `name` as an identifier of the server.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The columns of a table and their types as the server writes them; empty if there is no table.
pub(crate) fn columns(client: &Client, table: &str) -> anyhow::Result<Vec<(String, String)>> {
    let rows = client.rows(&format!(
        "SELECT column_name, column_type FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND table_name = '{table}' ORDER BY ordinal_position"
    ))?;
    Ok(rows.into_iter().map(|[name, kind]| (name.unwrap_or_default(), kind.unwrap_or_default())).collect())
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
pub(crate) fn create_log(client: &Client) -> anyhow::Result<()> {
    if columns(client, "load_log")?.is_empty() {
        client.run(
            "CREATE TABLE IF NOT EXISTS load_log (dataset VARCHAR(63) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, \
             window_start DATETIME(6) NOT NULL, \
             fingerprint VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, \
             row_count BIGINT NOT NULL, last_id BIGINT NOT NULL, loaded_at DATETIME(6) NOT NULL, \
             PRIMARY KEY (dataset, window_start)) ENGINE = InnoDB",
        )?;
    }
    if columns(client, "load_lock")?.is_empty() {
        client.run("CREATE TABLE IF NOT EXISTS load_lock (id INTEGER PRIMARY KEY) ENGINE = InnoDB")?;
    }
    if client.rows::<1>("SELECT id FROM load_lock WHERE id = 1")?.is_empty() {
        client.run("INSERT IGNORE INTO load_lock VALUES (1)")?;
    }
    Ok(())
}

/// Creates the table or adds the columns it lacks.
pub(crate) fn lay_out(client: &Client, table: &Name, layout: &Layout<'_>) -> anyhow::Result<()> {
    let definition = |column: &Column| format!("{} {} NULL", quoted(&column.name), type_name(column.kind));
    let table = quoted(table.as_str());
    let (Layout::Create(columns) | Layout::Add(columns)) = layout;
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
    client.run(&sql).map(|_| ())
}

/// Begins a load's transaction: takes the lock that every load takes first.
pub(crate) fn begin(client: &Client) -> anyhow::Result<()> {
    client.run("BEGIN")?;
    // A reading that locks: the first one that does not decides what the transaction sees.
    client.rows::<1>("SELECT id FROM load_lock WHERE id = 1 FOR UPDATE").map(|_| ())
}

/// The first rows of a table as a query of DuckDB's.
pub(crate) fn head(client: &Client, table: &str, rows: u32) -> anyhow::Result<String> {
    let columns = columns(client, table)?;
    let cast = |(name, kind): &(String, String)| {
        let kind = column_type(kind).unwrap_or(ColumnType::Text);
        let kind = if name == "window_start" { ColumnType::Timestamp } else { kind };
        format!("CAST({name} AS {kind}) AS {name}", name = identifier(name))
    };
    let casts: Vec<_> = columns.iter().map(cast).collect();
    let names: Vec<_> = columns.iter().map(|(name, _)| identifier(name)).collect();
    let found = client.all(&format!("SELECT * FROM {} ORDER BY id LIMIT {rows}", quoted(table)))?;
    let cell = |cell: Option<String>| cell.map_or_else(|| "NULL".to_owned(), |text| literal(&text));
    let lines = found.into_iter().map(|row| format!("({})", row.into_iter().map(cell).collect::<Vec<_>>().join(", ")));
    // Without a row, one of NULLs, which the limit takes away again.
    let none = format!("({})", vec!["NULL"; columns.len()].join(", "));
    let lines: Vec<_> = lines.chain([none]).collect();
    let rows = lines.len() - 1;
    Ok(format!(
        "SELECT {} FROM (VALUES {}) AS head({}) LIMIT {rows}",
        casts.join(", "),
        lines.join(", "),
        names.join(", ")
    ))
}

/// A column's value as the server can store it: it has no NaN, no infinity, and the years 1 to 9999.
pub(crate) fn value(column: &Column) -> String {
    let name = identifier(&column.name);
    let refuse = |condition: &str, what: &str| {
        let text = format!(
            "the column {} holds {what}, which the server cannot store: make it NULL in the query",
            column.name
        );
        format!("CASE WHEN {name} IS NOT NULL AND NOT ({condition}) THEN error({}) ELSE {name} END", literal(&text))
    };
    match column.kind {
        ColumnType::Double => refuse(&format!("isfinite({name})"), "NaN or infinity"),
        ColumnType::Timestamp | ColumnType::Date => {
            refuse(&format!("year({name}) BETWEEN 1 AND 9999"), "a time before the year 1 or after 9999")
        }
        ColumnType::Boolean => format!("{name}::TINYINT"),
        _ => name,
    }
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
