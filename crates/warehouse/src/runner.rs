//! The DuckDB session that a warehouse is attached to, and the errors that come out of it.
//!
//! Every statement has an end, see `watchdog`. An error of a server's extension can repeat the whole statement and the
//! connection's parameters. What leaves here has no password in it and is short.

use std::time::Duration;

use cli::TryAgain;
use duckdb::arrow::array::StructArray;
use duckdb::{Connection, Row};
use engine::SessionArgs;

use crate::server_errors::meaning;
use crate::watchdog::Watchdog;

/// The warehouse was asked to commit and did not say that it has: only its load log knows.
#[derive(Debug, thiserror::Error)]
#[error("the warehouse was asked to commit, and did not say that it has")]
pub struct Unanswered;

/// The warehouse stopped taking rows in the middle of them: the process has to [`give_up`](cli::give_up), for it can neither
/// go on with the warehouse nor let go of it.
#[derive(Debug, thiserror::Error)]
#[error("the rows broke off")]
pub struct BrokenOff;

/// A session with an attached warehouse called `warehouse`.
#[derive(Debug)]
pub(crate) struct QueryRunner {
    pub(crate) connection: Connection,
    /// The longest that a statement may take.
    pub(crate) limit: Duration,
    watchdog: Watchdog,
    /// Passwords, in every form in which they may turn up.
    secrets: Vec<String>,
}

impl QueryRunner {
    /// Opens a session for the warehouse at `place`, in which no statement takes longer than `limit`.
    pub(crate) fn open(
        args: &SessionArgs,
        limit: Duration,
        location: String,
        secrets: Vec<String>,
    ) -> anyhow::Result<Self> {
        let connection = engine::open(args)?;
        let watchdog = Watchdog::new(limit, location, connection.interrupt_handle());
        Ok(Self { connection, limit, watchdog, secrets })
    }

    /// Does `work` in a transaction, which leaves no trace if it fails.
    pub(crate) fn in_transaction<T>(&self, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.run("BEGIN")?;
        let done = work();
        self.run(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }).and(done)
    }

    /// Runs one statement; returns how many rows it changed.
    pub(crate) fn execute(&self, sql: &str) -> anyhow::Result<u64> {
        self.guarded(|| self.connection.execute(sql, []).map(|rows| rows as u64))
    }

    /// Runs statements that return nothing of interest.
    pub(crate) fn run(&self, sql: &str) -> anyhow::Result<()> {
        self.guarded(|| self.connection.execute_batch(sql))
    }

    /// The rows of a query.
    pub(crate) fn rows<T>(&self, sql: &str, row: impl Fn(&Row<'_>) -> duckdb::Result<T>) -> anyhow::Result<Vec<T>> {
        self.guarded(|| {
            let mut statement = self.connection.prepare(sql)?;
            statement.query_map([], |found| row(found))?.collect()
        })
    }

    /// Has `take` take the rows of a query as they come, inside the transaction.
    pub(crate) fn each_chunk(
        &self,
        sql: &str,
        mut take: impl FnMut(&StructArray) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.guarded(|| {
            let mut statement = self.connection.prepare(sql)?;
            drop(statement.stream_arrow([])?);
            while let Some(chunk) = statement.step()? {
                if let Err(error) = take(&chunk) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        })?
    }

    /// Does what is done past DuckDB and takes no longer than a statement may: else the process ends.
    pub(crate) fn watched<T>(&self, work: impl FnOnce() -> T) -> T {
        self.watchdog.guard(work).0
    }

    fn guarded<T>(&self, statement: impl FnOnce() -> duckdb::Result<T>) -> anyhow::Result<T> {
        match self.watchdog.guard(statement) {
            (Ok(result), _) => Ok(result),
            (Err(_), true) => {
                let limit = humantime::format_duration(self.limit);
                let text =
                    format!("it took longer than {limit}: give it more (--timeout); what was not committed was undone");
                Err(TryAgain(text).into())
            }
            (Err(error), false) => Err(self.explain(&error.to_string())),
        }
    }

    /// An error from its text: without secrets, without the statement, with what to do about it, and a [`TryAgain`] if it
    /// is one that passes.
    pub(crate) fn explain(&self, text: &str) -> anyhow::Error {
        // Classified before the password is taken out: one of a single letter would leave no word whole.
        let (passes, remedy) = meaning(&shorten(text));
        let mut text = shorten(&scrub(text, &self.secrets));
        if let Some(remedy) = remedy {
            text = format!("{text}: {remedy}");
        }
        if passes { anyhow::Error::new(TryAgain(text)) } else { anyhow::Error::msg(text) }
    }
}

fn scrub(text: &str, secrets: &[String]) -> String {
    secrets.iter().filter(|secret| !secret.is_empty()).fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

/// Leaves a statement out that stands between `query "` and `": `, the parameters of a connection, and what follows the
/// message: the excerpt of the SQL, the stack.
fn shorten(text: &str) -> String {
    let text = text.split_once("Unable to connect to Postgres at \"").map_or(text, |(_, parameters_and_reason)| {
        parameters_and_reason.split_once("'\": ").map_or(text, |(_, reason)| reason)
    });
    let text = match (text.find("query \""), text.rfind("\": ")) {
        (Some(start), Some(end)) if start < end => {
            let (before, _) = text.split_at(start);
            let (_, after) = text.split_at(end + 3);
            format!("{}: {after}", before.trim_end())
        }
        _ => text.to_owned(),
    };
    let text = ["\nLINE ", "Stack Trace:"].iter().fold(&*text, |text, end| text.split(end).next().unwrap_or(text));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(secrets: &[&str]) -> QueryRunner {
        let args = SessionArgs { threads: Some(1), memory_limit: None, temp_dir: None };
        let secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        QueryRunner::open(&args, Duration::from_secs(60), "here".to_owned(), secrets).unwrap()
    }

    #[test]
    fn an_error_keeps_its_reason_and_loses_the_statement() {
        let text =
            "IO Error: Failed to run query \"INSERT INTO `t` VALUES ('Lost connection', \": x\")\": Duplicate entry\n";
        assert_eq!(shorten(text), "IO Error: Failed to run: Duplicate entry");
        assert!(!runner(&[]).explain(text).is::<TryAgain>());
        let text = "IO Error: Unable to connect to Postgres at \"sslmode='allow' x='it\\'s'\": it is \"away\"\n\nStack Trace:\n0 f\n";
        assert_eq!(shorten(text), "it is \"away\"");
    }

    #[test]
    fn an_error_that_passes_is_told_from_one_that_stays() {
        let runner = runner(&["x"]);
        let error = runner.explain("IO Error: Failed to run query \"COMMIT x\": Lost connection to x server\n");
        assert!(error.is::<TryAgain>());
        assert!(error.to_string().contains("Lost connection to *** server: "), "{error}");
        assert!(!runner.explain("Access denied").is::<TryAgain>());
    }

    #[test]
    fn an_error_loses_every_form_of_the_password() {
        let secrets = ["p'\"w".to_owned(), "p''\"w".to_owned()];
        assert_eq!(scrub("dsn p'\"w and p''\"w", &secrets), "dsn *** and ***");
    }
}
