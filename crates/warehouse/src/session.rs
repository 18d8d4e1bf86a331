//! The DuckDB session that a warehouse is attached to, and the errors that come out of it.
//!
//! An error of a server's extension can repeat the whole statement and the connection's parameters. What leaves here has
//! no password in it and is short.

use cli::TryAgain;
use duckdb::{Connection, Row};

/// A session with an attached warehouse called `warehouse`.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: Connection,
    /// Passwords, in every form in which they may turn up.
    pub(crate) secrets: Vec<String>,
}

/// What errors say when trying again later can help.
const PASSING: [&str; 10] = [
    // DuckDB
    "Could not set lock on file",
    // MariaDB and MySQL: server and client messages
    "Can't connect to",
    "Too many connections",
    "Lock wait timeout exceeded",
    "Deadlock found",
    "server has gone away",
    "Lost connection",
    "Connection was killed",
    "shutdown in progress",
    "Server has shut down",
];

impl Session {
    /// Runs one statement; returns how many rows it changed.
    pub(crate) fn execute(&self, sql: &str) -> anyhow::Result<u64> {
        self.connection.execute(sql, []).map(|rows| rows as u64).map_err(|error| self.explain(&error.to_string()))
    }

    /// Runs statements that return nothing of interest.
    pub(crate) fn run(&self, sql: &str) -> anyhow::Result<()> {
        self.connection.execute_batch(sql).map_err(|error| self.explain(&error.to_string()))
    }

    /// The rows of a query.
    pub(crate) fn rows<T>(&self, sql: &str, row: impl Fn(&Row<'_>) -> duckdb::Result<T>) -> anyhow::Result<Vec<T>> {
        let rows = || -> duckdb::Result<Vec<T>> {
            let mut statement = self.connection.prepare(sql)?;
            statement.query_map([], |found| row(found))?.collect()
        };
        rows().map_err(|error| self.explain(&error.to_string()))
    }

    /// An error from its text: without secrets, without the statement, and a [`TryAgain`] if it is one that passes.
    pub(crate) fn explain(&self, text: &str) -> anyhow::Error {
        // Judged before it is scrubbed: a password of one letter leaves no word whole.
        let passing = is_passing(&shorten(text));
        let text = shorten(&scrub(text, &self.secrets));
        if passing { anyhow::Error::new(TryAgain(text)) } else { anyhow::Error::msg(text) }
    }
}

fn scrub(text: &str, secrets: &[String]) -> String {
    secrets.iter().filter(|secret| !secret.is_empty()).fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

/// Leaves a statement out that stands between `query "` and `": `, and the excerpt of the SQL after the message.
fn shorten(text: &str) -> String {
    let text = match (text.find("query \""), text.rfind("\": ")) {
        (Some(start), Some(end)) if start < end => {
            let (before, _) = text.split_at(start);
            let (_, after) = text.split_at(end + 3);
            format!("{}: {after}", before.trim_end())
        }
        _ => text.to_owned(),
    };
    let text = text.split("\n\nLINE ").next().unwrap_or(&text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_passing(text: &str) -> bool {
    PASSING.iter().any(|passing| text.contains(passing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_reason_and_loses_the_statement() {
        let text =
            "IO Error: Failed to run query \"INSERT INTO `t` VALUES ('Lost connection', \": x\")\": Duplicate entry\n";
        assert_eq!(shorten(text), "IO Error: Failed to run: Duplicate entry");
        assert!(!is_passing(&shorten(text)));
    }

    #[test]
    fn an_error_that_passes_is_told_from_one_that_stays() {
        let session = Session { connection: Connection::open_in_memory().unwrap(), secrets: vec!["n".to_owned()] };
        let error = session.explain("IO Error: Failed to run query \"COMMIT\": Lost connection to server\n");
        assert!(error.is::<TryAgain>());
        assert!(!error.to_string().contains('n'), "{error}");
        assert!(!session.explain("Access denied").is::<TryAgain>());
    }

    #[test]
    fn an_error_loses_every_form_of_the_password() {
        let secrets = ["p'\"w".to_owned(), "p''\"w".to_owned()];
        assert_eq!(scrub("dsn p'\"w and p''\"w", &secrets), "dsn *** and ***");
    }
}
