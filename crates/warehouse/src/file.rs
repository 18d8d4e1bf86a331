//! The embedded warehouse: a DuckDB file in the tree.
//!
//! DuckDB locks the file for the one process that writes; readers exclude it as well. DDL is transactional.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cli::TryAgain;
use engine::{SessionArgs, identifier, literal};
use layout::{Name, Tree, publish_new};

use crate::column::{Column, ColumnType};
use crate::session::Session;
use crate::warehouse::{Access, Layout};

/// How long to wait for another process that has the file open.
const PATIENCE: Duration = Duration::from_secs(10);

/// Attaches the file. Without one, reading gets nothing and writing creates it.
pub(crate) fn attach(session: &SessionArgs, tree: &Tree, access: Access) -> anyhow::Result<Option<Session>> {
    let path = tree.warehouse();
    let session = Session { connection: engine::open(session)?, secrets: Vec::new() };
    if !path.exists() {
        match access {
            Access::Read => return Ok(None),
            Access::Write => create(&session, tree)?,
        }
    }
    let mode = match access {
        Access::Read => " (READ_ONLY)",
        Access::Write => "",
    };
    let sql = format!("ATTACH {} AS warehouse{mode}", literal(&path.to_string_lossy()));
    let end = Instant::now() + PATIENCE;
    loop {
        match session.run(&sql) {
            Ok(()) => return Ok(Some(session)),
            Err(error) if !error.is::<TryAgain>() => {
                return Err(error).with_context(|| format!("{}: cannot be opened", path.display()));
            }
            Err(error) if Instant::now() >= end => {
                let text = format!(
                    "{}: another process has had it open for {} seconds: close it, or try again later ({error})",
                    path.display(),
                    PATIENCE.as_secs()
                );
                return Err(TryAgain(text).into());
            }
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Creates an empty warehouse and only then gives it its name: DuckDB cannot open a file whose creation was cut short.
fn create(session: &Session, tree: &Tree) -> anyhow::Result<()> {
    let draft = tree.draft_warehouse()?;
    session.run(&format!("ATTACH {} AS draft; DETACH draft", literal(&draft.path().to_string_lossy())))?;
    publish_new(draft)?;
    Ok(())
}

pub(crate) fn columns(session: &Session, table: &str) -> anyhow::Result<Vec<(String, String)>> {
    let sql = format!(
        "SELECT column_name, data_type FROM duckdb_columns() \
         WHERE database_name = 'warehouse' AND schema_name = 'main' AND table_name = {} ORDER BY column_index",
        literal(table)
    );
    session.rows(&sql, |row| Ok((row.get(0)?, row.get(1)?)))
}

pub(crate) fn column_type(name: &str) -> Option<ColumnType> {
    ColumnType::of_duckdb(name)
}

/// Creates the load log if it is missing.
pub(crate) fn create_log(session: &Session) -> anyhow::Result<()> {
    session.run(
        "CREATE TABLE IF NOT EXISTS warehouse.load_log (dataset VARCHAR NOT NULL, window_start TIMESTAMP NOT NULL, \
         fingerprint VARCHAR NOT NULL, row_count BIGINT NOT NULL, last_id BIGINT NOT NULL, \
         loaded_at TIMESTAMP NOT NULL, PRIMARY KEY (dataset, window_start))",
    )
}

/// Creates the table or adds the columns it lacks.
pub(crate) fn lay_out(session: &Session, table: &Name, layout: &Layout<'_>) -> anyhow::Result<()> {
    let definition = |column: &Column| format!("{} {}", identifier(&column.name), column.kind);
    let name = format!("warehouse.{}", identifier(table.as_str()));
    match layout {
        Layout::Create(columns) => {
            let own = ["id BIGINT PRIMARY KEY", "window_start TIMESTAMP NOT NULL"].map(str::to_owned);
            let columns: Vec<_> = own.into_iter().chain(columns.iter().map(definition)).collect();
            let columns = columns.join(", ");
            let index = identifier(&format!("{table}_window_start"));
            session.run(&format!(
                "BEGIN; CREATE TABLE {name} ({columns}); \
                 CREATE INDEX {index} ON {name} (window_start); COMMIT"
            ))
        }
        Layout::Add(columns) => columns
            .iter()
            .try_for_each(|column| session.run(&format!("ALTER TABLE {name} ADD COLUMN {}", definition(column)))),
    }
}
