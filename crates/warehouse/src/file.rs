//! The embedded warehouse: a DuckDB file, in the tree or elsewhere.
//!
//! DuckDB locks the file for the one process that writes; readers exclude it as well. DDL is transactional.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use cli::TryAgain;
use engine::{identifier, literal};
use layout::{Draft, Tree, publish_new};

use crate::args::WarehouseArgs;
use crate::backend::{Access, Backend};
use crate::column::SqlType;
use crate::file_path::{self, DUCKDB, PATIENCE};
use crate::runner::QueryRunner;

/// A DuckDB file.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
}

impl File {
    /// The file that `args` name, or the one in the tree.
    pub(crate) fn new(args: &WarehouseArgs, tree: &Tree) -> anyhow::Result<Self> {
        Ok(Self { path: file_path::path(args, tree.warehouse())? })
    }
}

impl Backend for File {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn threads(&self) -> Option<u16> {
        None
    }

    fn attach(&self, runner: &QueryRunner, access: Access) -> anyhow::Result<bool> {
        let exists = file_path::exists(&self.path, DUCKDB)?;
        if !exists && access == Access::Read {
            return Ok(false);
        }
        let place = self.path.display();
        // DuckDB takes what follows it for parameters, and puts the log of the file elsewhere.
        ensure!(
            !self.path.to_string_lossy().contains('?'),
            "{place}: DuckDB can have no `?` in the path: name another file (--file)"
        );
        if !exists {
            // It gets its name last: DuckDB cannot open a file whose creation was cut short.
            let draft = Draft::unmade(self.path.clone())?;
            runner.run(&format!("ATTACH {} AS draft; DETACH draft", literal(&draft.path().to_string_lossy())))?;
            publish_new(draft)?;
        }
        let mode = match access {
            Access::Read => " (READ_ONLY)",
            Access::Write => "",
        };
        let sql = format!("ATTACH {} AS warehouse{mode}", literal(&self.path.to_string_lossy()));
        let end = Instant::now() + PATIENCE;
        while let Err(error) = runner.run(&sql) {
            if !error.is::<TryAgain>() {
                return Err(error.context(format!("{place}: cannot be opened")));
            }
            if Instant::now() >= end {
                let text = format!(
                    "{place}: another process has had it open for {} seconds: close it, or try again later ({error})",
                    PATIENCE.as_secs()
                );
                return Err(TryAgain(text).into());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(true)
    }

    fn table(&self, name: &str) -> String {
        format!("warehouse.{}", identifier(name))
    }

    fn shell_table(&self, name: &str) -> String {
        identifier(name)
    }

    fn source(&self, select: &str) -> String {
        format!("({select})")
    }

    fn change(&self, runner: &QueryRunner, sql: &str) -> anyhow::Result<()> {
        runner.run(sql)
    }

    fn columns(&self, table: &str) -> String {
        format!(
            "SELECT column_name, data_type FROM duckdb_columns() \
             WHERE database_name = 'warehouse' AND schema_name = 'main' AND lower(table_name) = {} ORDER BY column_index",
            literal(table)
        )
    }

    fn views(&self, table: &str) -> String {
        let table = literal(table);
        format!("SELECT 1 AS one FROM duckdb_views() WHERE database_name = 'warehouse' AND lower(view_name) = {table}")
    }

    fn column_type(&self, written: &str) -> Option<SqlType> {
        SqlType::of_duckdb(written)
    }

    fn type_name(&self, sql_type: SqlType, _is_key: bool) -> String {
        sql_type.to_string()
    }

    fn define(&self, runner: &QueryRunner, sql: &str) -> anyhow::Result<()> {
        runner.in_transaction(|| runner.run(sql))
    }

    /// As it is written in a shell that has the file open. DuckDB changes no column of a table that has an index.
    fn change_type(&self, table: &str, column: &str, sql_type: SqlType) -> String {
        let (index, name) = (self.index_name(table), identifier(table));
        format!(
            "DROP INDEX IF EXISTS {index}; ALTER TABLE {name} ALTER COLUMN {} TYPE {sql_type}; CREATE INDEX {index} ON {name} (window_start)",
            identifier(column)
        )
    }

    /// DuckDB's primary key can still see a row that the same transaction has deleted.
    fn insert_or_replace(&self) -> &'static str {
        "INSERT OR REPLACE"
    }

    fn begin(&self, runner: &QueryRunner) -> anyhow::Result<()> {
        // The file's lock keeps others out as long as it is attached.
        runner.run("BEGIN")
    }
}
