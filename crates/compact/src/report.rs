//! What is said: the plan of `--dry-run`, failures as they happen, the summary of `-v`, the exit status.

use std::fmt;
use std::time::Duration;

use cli::{Failure, Format, Table, count, known_cause};
use layout::{Hour, Name};
use serde_json::Value;

use crate::plan::HourPlan;

/// What was done, and what was not.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) hours: u64,
    pub(crate) rows: u64,
    /// Bytes of raw segments that were made into Parquet or were there already.
    pub(crate) bytes: u64,
    /// Lines that went to quarantine.
    pub(crate) damaged: u64,
    /// Late lines of closed hours that went to quarantine.
    pub(crate) late: u64,
    /// Rows that were removed because an equal one is there.
    pub(crate) duplicates: u64,
    /// Hours and streams that failed.
    pub(crate) failed: u64,
    /// The hours of the stream at hand that failed or lost lines to quarantine, and why.
    pub(crate) failures: Vec<Failure>,
}

impl Summary {
    /// So many late lines of `hour`, which is closed, go to quarantine.
    pub(crate) fn late(hour: Hour, late: u64) -> Self {
        let text = || {
            format!(
                "{} to quarantine (expired), because retention has removed this hour: if a device without a clock sends \
                 them, give tcp-ingest an --earliest; to make the hour of them, see \"Hours that retention has removed\" in \
                 docs/compact.md",
                count(late, "late line")
            )
        };
        let failures = (late > 0).then(|| Failure::new(hour, text())).into_iter().collect();
        Self { late, failures, ..Self::default() }
    }

    /// Adds another part of the work.
    pub(crate) fn add(&mut self, other: Self) {
        self.hours += other.hours;
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.damaged += other.damaged;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.failed += other.failed;
        self.failures.extend(other.failures);
    }

    /// Counts an hour that is not compacted because of `error`.
    pub(crate) fn fail(&mut self, hour: Hour, error: &anyhow::Error) {
        let (text, known) = explain(error);
        let remedy = known.unwrap_or_else(|| "put it right".to_owned());
        let text = format!("{text}; its segments are kept: {remedy}, then run compact again");
        self.failures.push(Failure::new(hour, text));
        self.failed += 1;
    }

    /// Reports the hours of `stream` that failed.
    pub(crate) fn report_failures(&mut self, stream: &Name) {
        cli::report_failures(stream, &std::mem::take(&mut self.failures));
    }

    /// One line for `-v`, with what went to quarantine as a warning.
    pub(crate) fn log(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let rate = megabytes(self.bytes) / seconds.max(0.001);
        log::info!("{}, {self} in {seconds:.2} s ({rate:.0} MB/s), {} failed", count(self.hours, "hour"), self.failed);
        if self.damaged > 0 {
            let damaged = count(self.damaged, "damaged line");
            log::warn!("{damaged} went to quarantine; all other lines of the segments are in Parquet");
        }
    }
}

/// The text of an error without advice (DuckDB's, which is for its own users, or the tree's), and what to do, if known.
pub(crate) fn explain(error: &anyhow::Error) -> (String, Option<String>) {
    let text = engine::explain(error);
    let (text, known) = known_cause(&text);
    let of_tree = error.chain().find_map(|cause| cause.downcast_ref::<layout::Error>()?.remedy.clone());
    let remedy = of_tree.or(known.map(str::to_owned));
    let without = remedy.as_ref().and_then(|remedy| text.strip_suffix(remedy.as_str())?.strip_suffix(": "));
    (without.unwrap_or(text).to_owned(), remedy)
}

/// Bytes in millions.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Rows and what they were made of.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", count(self.rows, "row"))?;
        if self.duplicates > 0 {
            write!(f, ", {} removed", count(self.duplicates, "duplicate"))?;
        }
        if self.damaged + self.late > 0 {
            write!(f, ", {} to quarantine", count(self.damaged + self.late, "line"))?;
        }
        write!(f, ", {:.1} MB of raw segments", megabytes(self.bytes))
    }
}

/// Prints plans, one row for each hour.
pub(crate) fn print_plans(format: Format, plans: &[(Name, Vec<HourPlan>)]) -> std::io::Result<()> {
    let columns = ["stream", "hour", "segments", "bytes", "action"];
    let mut table = Table::new(std::io::stdout().lock(), format, columns)?;
    for (stream, plans) in plans {
        for plan in plans {
            table.row(vec![
                stream.as_str().into(),
                plan.hour.to_string().into(),
                Value::from(plan.fresh.len() + plan.listed.len()),
                plan.bytes.into(),
                plan.action().as_str().into(),
            ])?;
        }
    }
    table.finish()
}
