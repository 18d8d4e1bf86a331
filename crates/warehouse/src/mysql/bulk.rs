//! The rows of a query into a table of the server, as fast as the server takes them: by `LOAD DATA LOCAL INFILE`, or, if it
//! does not allow that (MySQL does not unless it is told to), in INSERTs of many rows.

use std::sync::mpsc;
use std::thread;

use anyhow::Context as _;
use duckdb::arrow::array::{Array as _, AsArray as _, StructArray};

use super::client::{Client, ClientError};
use crate::runner::QueryRunner;

/// How many bytes of rows one INSERT has. Servers take one of 1 MiB at least, the oldest of them; what a longer row needs is
/// the server's to say.
const INSERTED: usize = 512 << 10;

/// How many bytes of rows one LOAD DATA has. Three such parts are in memory at most.
const LOADED: usize = 8 << 20;

/// Inserts the rows of the query `select` into `columns` of `table`, both in the server's SQL, inside the transaction;
/// returns how many. DuckDB yields the next rows while the server takes some, which it never waits for in the middle of a
/// statement.
pub(super) fn insert(
    client: &Client,
    runner: &QueryRunner,
    table: &str,
    columns: &[String],
    select: &str,
) -> anyhow::Result<u64> {
    let (columns, select) = (columns.join(", "), format!("SELECT COLUMNS(*)::VARCHAR FROM ({select})"));
    let explain = |error: ClientError| runner.explain(&error.to_string());
    let loads = client.is_on("local_infile").map_err(explain)?;
    if !loads {
        log::info!("the server has local_infile off: the rows go in by INSERT, which takes longer");
    }
    let (notation, long) = if loads { (LINE, LOADED) } else { (VALUES, INSERTED) };
    let insert = |rows: Vec<u8>| {
        if loads {
            let load = "LOAD DATA LOCAL INFILE 'rows' INTO TABLE";
            return client.load(&format!("{load} {table} CHARACTER SET utf8mb4 ({columns})"), rows);
        }
        let rows = std::str::from_utf8(&rows).map_err(|error| ClientError::because(&error))?;
        client.run(&format!("INSERT INTO {table} ({columns}) VALUES {}", rows.trim_end_matches(',')))
    };
    let (sender, parts) = mpsc::sync_channel(1);
    let (inserted, selected, yielded) = thread::scope(|scope| {
        let inserting = scope.spawn(move || parts.into_iter().map(insert).sum::<Result<u64, _>>());
        let (mut part, mut yielded) = (Vec::new(), 0);
        let selected = runner.each_chunk(&select, |chunk| {
            for row in 0..chunk.len() {
                notation.write(chunk, row, &mut part);
                if part.len() >= long {
                    sender.send(std::mem::take(&mut part)).context("nobody takes the rows")?;
                }
            }
            yielded += chunk.len() as u64;
            Ok(())
        });
        if selected.is_ok() && !part.is_empty() {
            // Where nobody takes them, what they were inserted by says why.
            let _ = sender.send(part);
        }
        // With this the rows end.
        drop(sender);
        (inserting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), selected, yielded)
    });
    // When the inserting stops, so does the selecting: the first cause is the one to report.
    let inserted = inserted.map_err(explain)?;
    selected?;
    if inserted != yielded {
        anyhow::bail!("{} written, {inserted} inserted", cli::count(yielded, "row"));
    }
    Ok(inserted)
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

#[cfg(test)]
mod tests {
    use duckdb::Connection;

    use super::*;

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
