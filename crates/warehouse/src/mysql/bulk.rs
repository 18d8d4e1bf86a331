//! The rows of a query into a table of the server, as fast as the server takes them.
//!
//! DuckDB writes the rows into a pipe, as CSV that the server reads exactly: a text with a quote, a comma or a line end in
//! it is enclosed, and so is one that is the word NULL. From the pipe they go to the server by `LOAD DATA LOCAL INFILE`,
//! or, if it does not allow that (MySQL does not unless it is told to), in INSERTs of many rows.

use std::io::{self, BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::thread;

use super::client::{Client, Refused};
use super::inserts;
use crate::session::Session;

/// Inserts the rows of the query `select` into `columns` of `table`, both in the server's SQL, inside the transaction;
/// returns how many.
pub(super) fn insert(
    client: &Client,
    session: &Session,
    table: &str,
    columns: &[String],
    select: &str,
) -> anyhow::Result<u64> {
    let columns = columns.join(", ");
    if client.is_on("local_infile").map_err(|error| session.explain(&error.to_string()))? {
        let load = format!(
            "LOAD DATA LOCAL INFILE 'rows' INTO TABLE {table} CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' \
             OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' LINES TERMINATED BY '\\n' ({columns})"
        );
        stream(session, select, |rows| {
            let mut rows = BufReader::new(rows);
            // The server waits for rows only when there are some: DuckDB may take long for the first.
            rows.fill_buf().map_err(|error| Refused::because(&error))?;
            client.load(&load, rows)
        })
    } else {
        log::info!("the server has local_infile off: the rows go in by INSERT, which takes longer");
        let insert = format!("INSERT INTO {table} ({columns}) VALUES ");
        stream(session, select, |rows| inserts::send(BufReader::new(rows), &insert, |sql| client.run(sql)))
    }
}

/// Has DuckDB write the rows of `select` while `consume` reads them; returns what that returns, unless DuckDB fails.
fn stream(
    session: &Session,
    select: &str,
    consume: impl FnOnce(io::PipeReader) -> Result<u64, Refused> + Send,
) -> anyhow::Result<u64> {
    let (reader, writer) = io::pipe()?;
    let copy = format!(
        "COPY ({select}) TO '/proc/self/fd/{}' (FORMAT csv, HEADER false, DELIMITER ',', QUOTE '\"', ESCAPE '\"', \
         NULLSTR 'NULL', USE_TMP_FILE false)",
        writer.as_raw_fd()
    );
    thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(reader));
        let written = session.execute(&copy);
        // DuckDB has its own descriptor closed: with this one the rows end.
        drop(writer);
        let taken = consumer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (taken, written) {
            // Who reads no further makes DuckDB fail, too: the first cause is the one to tell.
            (Err(error), _) => Err(session.explain(&error.to_string())),
            (Ok(_), Err(error)) => Err(error),
            (Ok(rows), Ok(written)) if rows != written => {
                anyhow::bail!("{} written, {} inserted", cli::count(written, "row"), rows)
            }
            (Ok(rows), Ok(_)) => Ok(rows),
        }
    })
}
