//! The rows of a query into a table of the server, as fast as the server takes them.
//!
//! DuckDB writes the rows into a pipe, as CSV that the server reads exactly: a text with a quote, a comma or a line end in
//! it is enclosed, and so is one that is the word NULL. From the pipe they go to the server by `LOAD DATA LOCAL INFILE`,
//! or, if it does not allow that (MySQL does not unless it is told to), in INSERTs of many rows.

use std::io::{self, BufRead as _, BufReader, Read};
use std::iter;
use std::os::fd::AsRawFd as _;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::client::{Client, ClientError};
use super::inserts;
use crate::runner::QueryRunner;

/// How long the server is kept waiting for the next row. It waits for half a minute, and takes a client that says nothing
/// for so long for a dead one.
const STALL: Duration = Duration::from_secs(10);

/// Inserts the rows of the query `select` into `columns` of `table`, both in the server's SQL, inside the transaction;
/// returns how many.
pub(super) fn insert(
    client: &Client,
    runner: &QueryRunner,
    table: &str,
    columns: &[String],
    select: &str,
) -> anyhow::Result<u64> {
    let columns = columns.join(", ");
    if client.is_on("local_infile").map_err(|error| runner.explain(&error.to_string()))? {
        let load = format!(
            "LOAD DATA LOCAL INFILE 'rows' INTO TABLE {table} CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' \
             OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' LINES TERMINATED BY '\\n' ({columns})"
        );
        stream(runner, select, |rows| in_parts(rows, STALL, |part| client.load(&load, part)))
    } else {
        log::info!("the server has local_infile off: the rows go in by INSERT, which takes longer");
        let insert = format!("INSERT INTO {table} ({columns}) VALUES ");
        stream(runner, select, |rows| inserts::send(BufReader::new(rows), &insert, |sql| client.run(sql)))
    }
}

/// Has DuckDB write the rows of `select` while `consume` reads them; returns what that returns, unless DuckDB fails.
fn stream(
    runner: &QueryRunner,
    select: &str,
    consume: impl FnOnce(io::PipeReader) -> Result<u64, ClientError> + Send,
) -> anyhow::Result<u64> {
    let (reader, writer) = io::pipe()?;
    let copy = format!(
        "COPY ({select}) TO '/proc/self/fd/{}' (FORMAT csv, HEADER false, DELIMITER ',', QUOTE '\"', ESCAPE '\"', \
         NULLSTR 'NULL', USE_TMP_FILE false)",
        writer.as_raw_fd()
    );
    thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(reader));
        let written = runner.execute(&copy);
        // DuckDB has its own descriptor closed: with this one the rows end.
        drop(writer);
        let taken = consumer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (taken, written) {
            // When the reading stops, DuckDB fails, too: the first cause is the one to report.
            (Err(error), _) => Err(runner.explain(&error.to_string())),
            (Ok(_), Err(error)) => Err(error),
            (Ok(rows), Ok(written)) if rows != written => {
                anyhow::bail!("{} written, {} inserted", cli::count(written, "row"), rows)
            }
            (Ok(rows), Ok(_)) => Ok(rows),
        }
    })
}

/// Whole rows, some at a time.
type Rows = io::Result<Vec<u8>>;

/// Has `load` load all rows of a CSV: at once, unless none comes for as long as `stall`. Then it ends with the last whole
/// row, and `load` is called again when there are more: the server waits for rows only while they come.
fn in_parts(
    csv: impl Read + Send + 'static,
    stall: Duration,
    mut load: impl FnMut(Box<dyn Iterator<Item = Rows> + Send>) -> Result<u64, ClientError>,
) -> Result<u64, ClientError> {
    let (sender, rows) = mpsc::sync_channel(4);
    thread::spawn(move || read(csv, &sender));
    let rows = Arc::new(Mutex::new(rows));
    let mut loaded = 0;
    while let Some(first) = next(&rows, Duration::MAX) {
        let more = Arc::clone(&rows);
        loaded += load(Box::new(iter::once(first).chain(iter::from_fn(move || next(&more, stall)))))?;
    }
    Ok(loaded)
}

fn next(rows: &Mutex<Receiver<Rows>>, patience: Duration) -> Option<Rows> {
    rows.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(patience).ok()
}

/// Reads a CSV and sends its rows as they come, as long as somebody takes them. (One that is torn at the end is not sent:
/// what tore it is told by whoever wrote it.)
fn read(csv: impl Read, sender: &SyncSender<Rows>) {
    let mut csv = BufReader::with_capacity(1 << 16, csv);
    let (mut begun, mut is_enclosed) = (Vec::new(), false);
    loop {
        let bytes = match csv.fill_buf() {
            Ok([]) => return,
            Ok(bytes) => bytes,
            Err(error) => return drop(sender.send(Err(error))),
        };
        let mut whole = 0;
        for (byte, end) in bytes.iter().zip(1..) {
            match byte {
                b'"' => is_enclosed = !is_enclosed,
                b'\n' if !is_enclosed => whole = end,
                _ => {}
            }
        }
        let (end, rest) = bytes.split_at(whole);
        begun.extend_from_slice(end);
        if whole > 0 && sender.send(Ok(std::mem::take(&mut begun))).is_err() {
            return;
        }
        begun.extend_from_slice(rest);
        let length = bytes.len();
        csv.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn rows_that_are_long_in_coming_are_loaded_in_parts_that_end_with_whole_rows() {
        let (reader, mut writer) = io::pipe().unwrap();
        let (sender, parts) = mpsc::channel();
        let loading = thread::spawn(move || {
            in_parts(reader, Duration::from_millis(50), |rows| {
                let part = rows.collect::<io::Result<Vec<_>>>().unwrap().concat();
                sender.send(String::from_utf8(part).unwrap()).unwrap();
                Ok(1)
            })
        });
        for (written, part) in
            [("1,\"a\"\"\n\"\n2,\"b", "1,\"a\"\"\n\"\n"), ("\n,", ""), ("\"\n3,c\n", "2,\"b\n,\"\n3,c\n")]
        {
            writer.write_all(written.as_bytes()).unwrap();
            if !part.is_empty() {
                assert_eq!(parts.recv().unwrap(), part);
            }
        }
        writer.write_all(b"4,torn").unwrap();
        drop(writer);
        assert_eq!(loading.join().unwrap().unwrap(), 2);
        assert!(parts.recv().is_err());
    }
}
