//! The rows of a query into a table of the server, as fast as the server takes them: by `LOAD DATA LOCAL INFILE`, or, if it
//! does not allow that (MySQL does not unless it is told to), in INSERTs of many rows.

use std::iter;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use duckdb::arrow::array::{Array as _, AsArray as _, StructArray};

use super::client::{Client, ClientError};
use crate::runner::QueryRunner;

/// How long the server is kept waiting for the next row. It waits for half a minute, and takes a client that says nothing
/// for so long for a dead one.
const STALL: Duration = Duration::from_secs(10);

/// How long a statement becomes before the next one begins. Servers take one of 1 MiB at least, the oldest of them; what
/// a longer row needs is the server's to say.
const LONG: usize = 512 << 10;

/// Inserts the rows of the query `select` into `columns` of `table`, both in the server's SQL, inside the transaction;
/// returns how many.
pub(super) fn insert(
    client: &Client,
    runner: &QueryRunner,
    table: &str,
    columns: &[String],
    select: &str,
) -> anyhow::Result<u64> {
    let (columns, select) = (columns.join(", "), format!("SELECT COLUMNS(*)::VARCHAR FROM ({select})"));
    let explain = |error: ClientError| runner.explain(&error.to_string());
    if client.is_on("local_infile").map_err(explain)? {
        let load = format!("LOAD DATA LOCAL INFILE 'rows' INTO TABLE {table} CHARACTER SET utf8mb4 ({columns})");
        return load_all(client, runner, &load, &select);
    }
    log::info!("the server has local_infile off: the rows go in by INSERT, which takes longer");
    let (mut statement, mut inserted) = (Statement::new(&format!("INSERT INTO {table} ({columns}) VALUES ")), 0);
    runner.each_chunk(&select, |chunk| {
        for row in 0..chunk.len() {
            VALUES.write(chunk, row, &mut statement.text);
            if statement.text.len() >= LONG {
                inserted += statement.run(client).map_err(explain)?;
            }
        }
        Ok(())
    })?;
    Ok(inserted + statement.run(client).map_err(explain)?)
}

/// An INSERT in the making.
struct Statement {
    text: Vec<u8>,
    head: usize,
}

impl Statement {
    fn new(head: &str) -> Self {
        Self { text: head.as_bytes().to_vec(), head: head.len() }
    }

    /// Runs it, unless it has no rows, and begins the next one; returns how many rows it inserted.
    fn run(&mut self, client: &Client) -> Result<u64, ClientError> {
        let text = std::str::from_utf8(&self.text).map_err(|error| ClientError::because(&error))?;
        let inserted = text.strip_suffix(',').map_or(Ok(0), |statement| client.run(statement))?;
        self.text.truncate(self.head);
        Ok(inserted)
    }
}

/// How a row of texts is written: as a line of a file, or in an INSERT. What ends or escapes something in either stands
/// behind a backslash.
struct Notation {
    begin: &'static str,
    quote: &'static str,
    between: &'static str,
    null: &'static str,
    end: &'static str,
}

const LINE: Notation = Notation { begin: "", quote: "", between: "\t", null: "\\N", end: "\n" };
const VALUES: Notation = Notation { begin: "(", quote: "'", between: ",", null: "NULL", end: ")," };

impl Notation {
    fn write(&self, chunk: &StructArray, row: usize, out: &mut Vec<u8>) {
        let mut before = self.begin;
        for column in chunk.columns() {
            out.extend_from_slice(before.as_bytes());
            before = self.between;
            if column.is_null(row) {
                out.extend_from_slice(self.null.as_bytes());
            } else {
                out.extend_from_slice(self.quote.as_bytes());
                escape(column.as_string::<i32>().value(row), out);
                out.extend_from_slice(self.quote.as_bytes());
            }
        }
        out.extend_from_slice(self.end.as_bytes());
    }
}

fn escape(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| b"\\'\n\t\0".contains(byte)) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((special, after)) = special.split_first() else { return };
        let letter = match special {
            b'\n' => b'n',
            b'\t' => b't',
            0 => b'0',
            other => *other,
        };
        out.extend_from_slice(&[b'\\', letter]);
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// Has DuckDB yield the rows of `select` while the server loads them; returns how many.
fn load_all(client: &Client, runner: &QueryRunner, load: &str, select: &str) -> anyhow::Result<u64> {
    let (sender, rows) = mpsc::sync_channel(4);
    thread::scope(|scope| {
        let load_in_parts = scope.spawn(move || in_parts(rows, STALL, |part| client.load(load, part)));
        let mut yielded = 0;
        let selected = runner.each_chunk(select, |chunk| {
            let mut lines = Vec::new();
            (0..chunk.len()).for_each(|row| LINE.write(chunk, row, &mut lines));
            yielded += chunk.len() as u64;
            sender.send(lines).context("nobody takes the rows")
        });
        // With this the rows end.
        drop(sender);
        let loaded = load_in_parts.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // When the loading stops, so does the selecting: the first cause is the one to report.
        let loaded = loaded.map_err(|error| runner.explain(&error.to_string()))?;
        selected?;
        if loaded != yielded {
            anyhow::bail!("{} written, {loaded} inserted", cli::count(yielded, "row"));
        }
        Ok(loaded)
    })
}

/// Has `load` load all rows, of which some come at a time: at once, unless none come for as long as `stall`. Then it ends,
/// and `load` is called again when there are more: the server waits for rows only while they come.
fn in_parts(
    rows: Receiver<Vec<u8>>,
    stall: Duration,
    mut load: impl FnMut(Box<dyn Iterator<Item = Vec<u8>> + Send>) -> Result<u64, ClientError>,
) -> Result<u64, ClientError> {
    let rows = Arc::new(Mutex::new(rows));
    let mut loaded = 0;
    while let Some(first) = next(&rows, Duration::MAX) {
        let more = Arc::clone(&rows);
        loaded += load(Box::new(iter::once(first).chain(iter::from_fn(move || next(&more, stall)))))?;
    }
    Ok(loaded)
}

fn next(rows: &Mutex<Receiver<Vec<u8>>>, patience: Duration) -> Option<Vec<u8>> {
    rows.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(patience).ok()
}

#[cfg(test)]
mod tests {
    use duckdb::Connection;

    use super::*;

    #[test]
    fn rows_that_are_long_in_coming_are_loaded_in_parts() {
        let (sender, rows) = mpsc::sync_channel(1);
        let (loaded, parts) = mpsc::channel();
        let loading = thread::spawn(move || {
            in_parts(rows, Duration::from_millis(50), |rows| {
                loaded.send(rows.collect::<Vec<_>>().concat()).unwrap();
                Ok(1)
            })
        });
        for part in ["1\ta\n2\tb\n", "3\tc\n"] {
            sender.send(part.as_bytes().to_vec()).unwrap();
            assert_eq!(parts.recv().unwrap(), part.as_bytes());
        }
        drop(sender);
        assert_eq!(loading.join().unwrap().unwrap(), 2);
        assert!(parts.recv().is_err());
    }

    #[test]
    fn a_null_is_no_text_and_a_text_is_what_it_was() {
        let connection = Connection::open_in_memory().unwrap();
        let sql = "SELECT '1', NULL, 'NULL', '', E'it''s \\\\ \"a\",\\tb\\n' || chr(0)";
        let mut statement = connection.prepare(sql).unwrap();
        statement.execute([]).unwrap();
        let chunk = statement.step().unwrap().unwrap();
        for (notation, written) in [
            (LINE, "1\t\\N\tNULL\t\tit\\'s \\\\ \"a\",\\tb\\n\\0\n"),
            (VALUES, "('1',NULL,'NULL','','it\\'s \\\\ \"a\",\\tb\\n\\0'),"),
        ] {
            let mut text = Vec::new();
            notation.write(&chunk, 0, &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), written);
        }
    }
}
