//! `--verify`: reads data sets again and says what is wrong. Takes no lock and changes nothing.
//!
//! The tree may change meanwhile, as it does for every other reader: a file that is not the same after the reading as
//! before is read again, and one that is gone is no fault.

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::Instant;

use anyhow::Context as _;
use cli::{Format, Outcome, Table, count};
use duckdb::Connection;
use engine::{identifier, read_parquet, whole_file};
use layout::{Area, Commit, Error, HourRange, Lineage, Name, ParquetFile, Tree, mounted};
use models::{Model, Streams};
use serde_json::Value;

use crate::args::Args;
use crate::file_check::{Values, check};
use crate::report::megabytes;

/// How often a file is looked at that is replaced meanwhile. compact replaces an hour once in a run.
const READINGS: usize = 10;

/// An hour of a data set to be looked at.
type Task = (Name, ParquetFile);

/// What was found of an hour.
#[derive(Debug)]
struct Finding<'t> {
    dataset: &'t Name,
    file: &'t ParquetFile,
    rows: u64,
    bytes: u64,
    problem: Option<Error>,
    /// Segments that the file lists and that are in raw/ still.
    left: usize,
}

/// Verifies the data sets that are asked for, or all.
pub(crate) fn verify(args: &Args, tree: &Tree) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let streams = args.common.streams()?;
    cli::check_names(tree, &streams, Area::Parquet, &args.streams)?;
    let names = if args.streams.is_empty() { tree.names(Area::Parquet)? } else { args.streams.clone() };
    let range = args.range.range()?;
    let mut tasks = Vec::new();
    for name in names {
        tasks.extend(tree.parquet_files(&name, range)?.into_iter().map(|file| (name.clone(), file)));
    }
    let findings = if tasks.is_empty() { Vec::new() } else { verify_all(args, tree, &streams, &tasks)? };
    print(args.format, &findings).context("cannot print")?;
    let wrong = findings.iter().filter(|finding| finding.problem.is_some()).count();
    log::info!(
        "{}, {}, {:.1} MB of Parquet read in {:.2} s, {} left to remove",
        count(findings.len(), "hour"),
        count(findings.iter().map(|finding| finding.rows).sum::<u64>(), "row"),
        megabytes(findings.iter().map(|finding| finding.bytes).sum()),
        started.elapsed().as_secs_f64(),
        count(findings.iter().map(|finding| finding.left).sum::<usize>(), "segment"),
    );
    if wrong > 0 {
        let (all, are) = (count(findings.len(), "hour"), if wrong == 1 { "is" } else { "are" });
        log::error!("{wrong} of {all} {are} not as it should be; each is printed with its file and what to do");
        return Ok(Outcome::Partial);
    }
    Ok(Outcome::Done)
}

/// Verifies hours side by side. Those that were removed meanwhile are skipped.
fn verify_all<'t>(args: &Args, tree: &Tree, streams: &Streams, tasks: &'t [Task]) -> anyhow::Result<Vec<Finding<'t>>> {
    let connection = engine::open(&args.session)?;
    let bar = cli::progress("hours", tasks.len() as u64);
    let connect = move || Ok(connection.try_clone()?);
    let findings = cli::in_parallel(args.session.threads(), tasks, connect, |connection, task| {
        let finding = verify_hour(connection, tree, streams, task);
        bar.inc(1);
        finding
    })?;
    bar.finish_and_clear();
    findings.into_iter().filter_map(anyhow::Result::transpose).collect()
}

/// Looks at an hour until its file stays the same meanwhile; none if it is gone.
fn verify_hour<'t>(
    connection: &Connection,
    tree: &Tree,
    streams: &Streams,
    (dataset, file): &'t Task,
) -> anyhow::Result<Option<Finding<'t>>> {
    let path = &file.path;
    let mut finding = Finding { dataset, file, rows: 0, bytes: 0, problem: None, left: 0 };
    for _ in 0..READINGS {
        let before = match mounted(path) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            Err(error) => {
                let remedy = "make it readable, or bring the disk back that it is on, and verify again";
                finding.problem = Some(Error::new(error.to_string(), remedy));
                return Ok(Some(finding));
            }
        };
        let commit = Commit::read_at(path, dataset, file.hour);
        let problem = commit.as_ref().map(|commit| {
            let model = streams.get(dataset.as_str()).and_then(Result::ok);
            check(commit, streams.has(dataset.as_str()), &values(connection, model.map(|model| &**model), file))
        });
        let problem = problem.ok();
        let id = |file: &Metadata| (file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec());
        if mounted(path).is_ok_and(|now| now.is_some_and(|now| id(&now) == id(&before))) {
            finding.bytes = before.len();
            match commit {
                Ok(commit) => {
                    finding.problem = problem.flatten();
                    finding.rows = commit.rows;
                    finding.left = left_to_remove(tree, &commit, dataset, file)?;
                }
                Err(error) => finding.problem = Some(error),
            }
            return Ok(Some(finding));
        }
    }
    let what = "was replaced each time while it was read";
    finding.problem = Some(Error::new(what, "verify again when no program writes to it"));
    Ok(Some(finding))
}

/// Reads every value of an hour.
fn values(connection: &Connection, model: Option<&Model>, file: &ParquetFile) -> anyhow::Result<Values> {
    connection.execute_batch(&whole_file(&file.path))?;
    let elsewhere = model.map_or("false".to_owned(), |model| {
        let time = identifier(model.time_column());
        let (start, end) = (file.hour.start_micros(), file.hour.end_micros());
        format!("{time} IS NULL OR {time} < make_timestamp({start}) OR {time} >= make_timestamp({end})")
    });
    let sql = format!("SELECT count(*), count(*) FILTER (WHERE {elsewhere}) FROM {}", read_parquet([&file.path]));
    let (rows, elsewhere) = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Values { rows, elsewhere })
}

/// How many segments the commit record lists that are in raw/ even now: what a compact at work removes is gone by then.
fn left_to_remove(tree: &Tree, commit: &Commit, dataset: &Name, file: &ParquetFile) -> layout::Result<usize> {
    let Lineage::Segments(listed) = &commit.lineage else { return Ok(0) };
    let listed: HashSet<_> = listed.iter().map(|segment| &segment.name).collect();
    let there = tree.sealed_segments(Area::Raw, dataset, HourRange::only(file.hour))?;
    Ok(there.iter().filter(|segment| listed.contains(&segment.name)).count())
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
        let (state, what, remedy) = match (&finding.problem, finding.left) {
            (Some(error), _) => ("wrong", error.problem.clone(), error.remedy.as_deref().unwrap_or_default()),
            (None, 0) => ("ok", String::new(), ""),
            (None, left) => {
                let what = format!("lists {} that is in raw/ still", count(left, "segment"));
                ("left to remove", what, "compact removes what is listed")
            }
        };
        let path = finding.file.path.display().to_string();
        let what = what.strip_prefix(&format!("{path}: ")).unwrap_or(&what);
        let hour = finding.file.hour.to_string();
        let mut row = vec![finding.dataset.as_str().into(), hour.into(), finding.rows.into()];
        row.extend([state, &path, what, remedy].map(Value::from));
        table.row(row)?;
    }
    table.finish()
}
