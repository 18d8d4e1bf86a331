//! `--verify`: reads data sets again and says what is wrong. Takes no lock and changes nothing.
//!
//! The tree may change meanwhile, as it does for every other reader: a file that is not the same after the reading as
//! before is read again, and one that is gone is no fault.

use std::collections::{BTreeMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::Instant;

use anyhow::Context as _;
use cli::{Format, Outcome, Table, count};
use duckdb::Connection;
use engine::{identifier, read_parquet, whole_file};
use layout::{Area, Commit, Hour, HourRange, Lineage, Name, ParquetFile, SealedSegment, Tree, mounted};
use serde_json::Value;

use crate::args::Args;
use crate::file_check::{Values, check};
use crate::problem::Problem;
use crate::report::megabytes;

/// How often a file is looked at that is replaced meanwhile. compact replaces an hour once in a run.
const READINGS: usize = 10;

/// An hour of a data set to be looked at.
#[derive(Debug)]
struct Task {
    dataset: Name,
    file: ParquetFile,
    /// The hour's sealed segments in raw/.
    segments: Vec<SealedSegment>,
}

/// What was found of an hour.
#[derive(Debug)]
struct Finding<'t> {
    task: &'t Task,
    rows: u64,
    bytes: u64,
    problem: Option<Problem>,
    /// Segments that the file lists and that are in raw/ still.
    left: usize,
}

/// Verifies the data sets that are asked for, or all.
pub(crate) fn verify(args: &Args, tree: &Tree) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    cli::check_names(tree, Area::Parquet, &args.streams)?;
    let names = if args.streams.is_empty() { tree.names(Area::Parquet)? } else { args.streams.clone() };
    let range = args.range.range()?;
    let mut tasks = Vec::new();
    for name in names {
        tasks.extend(hours(tree, &name, range)?);
    }
    let findings = if tasks.is_empty() { Vec::new() } else { verify_all(args, &tasks)? };
    print(args.format, &findings).context("cannot print")?;
    let wrong = findings.iter().filter(|finding| finding.problem.is_some()).count();
    log_summary(&findings, started);
    if wrong > 0 {
        let (all, are) = (count(findings.len(), "hour"), if wrong == 1 { "is" } else { "are" });
        log::error!("{wrong} of {all} {are} not as it should be; each is printed with its file and what to do");
        return Ok(Outcome::Partial);
    }
    Ok(Outcome::Done)
}

/// The published hours of a data set, each with its segments in raw/.
fn hours(tree: &Tree, dataset: &Name, range: HourRange) -> anyhow::Result<impl Iterator<Item = Task>> {
    let mut segments = BTreeMap::<Hour, Vec<_>>::new();
    for segment in tree.sealed_segments(Area::Raw, dataset, range)? {
        segments.entry(segment.hour).or_default().push(segment);
    }
    let files = tree.parquet_files(dataset, range)?;
    let dataset = dataset.clone();
    Ok(files.into_iter().map(move |file| {
        let segments = segments.remove(&file.hour).unwrap_or_default();
        Task { dataset: dataset.clone(), file, segments }
    }))
}

/// Verifies hours side by side. Those that were removed meanwhile are skipped.
fn verify_all<'t>(args: &Args, tasks: &'t [Task]) -> anyhow::Result<Vec<Finding<'t>>> {
    let connection = engine::open(&args.session)?;
    let bar = cli::progress("hours", tasks.len() as u64);
    let connect = move || Ok(connection.try_clone()?);
    let findings = cli::in_parallel(args.session.threads(), tasks, connect, |connection, task| {
        let finding = verify_hour(connection, task);
        bar.inc(1);
        finding
    })?;
    bar.finish_and_clear();
    Ok(findings.into_iter().flatten().collect())
}

/// Looks at an hour until its file stays the same meanwhile; none if it is gone.
fn verify_hour<'t>(connection: &Connection, task: &'t Task) -> Option<Finding<'t>> {
    let path = &task.file.path;
    let mut finding = Finding { task, rows: 0, bytes: 0, problem: None, left: 0 };
    for _ in 0..READINGS {
        let before = match mounted(path) {
            Ok(Some(file)) => file,
            Ok(None) => return None,
            Err(error) => {
                let remedy = "make it readable, or bring the disk back that it is on, and verify again".to_owned();
                finding.problem = Some(Problem { what: error.to_string(), remedy });
                return Some(finding);
            }
        };
        let commit = Commit::read_at(path, &task.dataset, task.file.hour);
        finding.problem = match &commit {
            Ok(commit) => check(&task.dataset, commit, &values(connection, task)),
            Err(error) => Some(error.into()),
        };
        let id = |file: &Metadata| (file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec());
        if mounted(path).is_ok_and(|now| now.is_some_and(|now| id(&now) == id(&before))) {
            finding.bytes = before.len();
            if let Ok(commit) = commit {
                finding.rows = commit.rows;
                finding.left = left_to_remove(&commit, &task.segments);
            }
            return Some(finding);
        }
    }
    let what = "was replaced each time while it was read".to_owned();
    finding.problem = Some(Problem { what, remedy: "verify again when no program writes to it".to_owned() });
    Some(finding)
}

/// Reads every value of an hour.
fn values(connection: &Connection, task: &Task) -> anyhow::Result<Values> {
    let path = &task.file.path;
    connection.execute_batch(&whole_file(path))?;
    let model = models::model(task.dataset.as_str());
    let placed_by = model.and_then(|model| model.columns.get(model.placed_by()));
    let elsewhere = placed_by.map_or("false".to_owned(), |column| {
        let (time, hour) = (identifier(column.name), task.file.hour);
        let (start, end) = (hour.start_micros(), hour.end_micros());
        format!("{time} IS NULL OR {time} < make_timestamp({start}) OR {time} >= make_timestamp({end})")
    });
    let sql = format!("SELECT count(*), count(*) FILTER (WHERE {elsewhere}) FROM {}", read_parquet([path]));
    let (rows, elsewhere) = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Values { rows, elsewhere })
}

/// How many of `segments` are listed by the commit record and in raw/ even now: a compact at work is about to remove them.
fn left_to_remove(commit: &Commit, segments: &[SealedSegment]) -> usize {
    let Lineage::Segments(listed) = &commit.lineage else { return 0 };
    if segments.is_empty() {
        return 0;
    }
    let listed: HashSet<_> = listed.iter().map(|segment| &segment.name).collect();
    // A segment whose file cannot be looked at counts: compact reports the error.
    let is_there = |segment: &&SealedSegment| !matches!(layout::size(&segment.path), Ok(None));
    segments.iter().filter(|segment| listed.contains(&segment.name)).filter(is_there).count()
}

/// Prints what is to be said of hours; with a format that was asked for, one row for every hour.
fn print(format: Option<Format>, findings: &[Finding<'_>]) -> std::io::Result<()> {
    let quiet = |finding: &&Finding<'_>| format.is_some() || finding.problem.is_some() || finding.left > 0;
    let rows: Vec<_> = findings.iter().filter(quiet).collect();
    if rows.is_empty() && format.is_none() {
        return Ok(());
    }
    let columns = ["dataset", "hour", "rows", "state", "file", "problem", "remedy"];
    let out = std::io::stdout().lock();
    let mut table = Table::new(out, format.unwrap_or(Format::Table), columns)?;
    for finding in rows {
        let Task { dataset, file, .. } = finding.task;
        let (state, what, remedy) = match (&finding.problem, finding.left) {
            (Some(Problem { what, remedy }), _) => ("wrong", what.clone(), remedy.as_str()),
            (None, 0) => ("ok", String::new(), ""),
            (None, left) => {
                let what = format!("lists {} that is in raw/ still", count(left, "segment"));
                ("left to remove", what, "compact removes what is listed")
            }
        };
        let path = file.path.display().to_string();
        let what = what.strip_prefix(&format!("{path}: ")).unwrap_or(&what);
        let mut row = vec![dataset.as_str().into(), file.hour.to_string().into(), finding.rows.into()];
        row.extend([state, &path, what, remedy].map(Value::from));
        table.row(row)?;
    }
    table.finish()
}

/// One line for `-v`.
fn log_summary(findings: &[Finding<'_>], started: Instant) {
    let megabytes = megabytes(findings.iter().map(|finding| finding.bytes).sum());
    log::info!(
        "{}, {}, {megabytes:.1} MB of Parquet read in {:.2} s, {} left to remove",
        count(findings.len(), "hour"),
        count(findings.iter().map(|finding| finding.rows).sum::<u64>(), "row"),
        started.elapsed().as_secs_f64(),
        count(findings.iter().map(|finding| finding.left).sum::<usize>(), "segment"),
    );
}
