//! `--verify`: reads data sets again and says what is wrong. Takes no lock and changes nothing.
//!
//! The tree may change meanwhile, as it does for every other reader: a file that is not the same after the reading as
//! before is read again, and one that is gone is nobody's fault.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use cli::{Format, Outcome, Table, count};
use duckdb::Connection;
use engine::{identifier, read_parquet, whole_file};
use indicatif::ProgressBar;
use layout::{Area, Commit, Hour, HourRange, Lineage, Name, ParquetFile, SealedSegment, Tree, file_id};

use crate::args::Args;
use crate::problem::Problem;
use crate::verdict::{Reading, Values, judge};

/// How often a file is looked at that is replaced meanwhile. compact replaces an hour once in a run.
const LOOKS: usize = 10;

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
struct Verdict<'t> {
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
    let verdicts = if tasks.is_empty() { Vec::new() } else { look_at_all(args, &tasks)? };
    print(args.format, &verdicts).context("cannot print")?;
    let wrong = verdicts.iter().filter(|verdict| verdict.problem.is_some()).count();
    log_summary(&verdicts, started);
    if wrong > 0 {
        let (all, are) = (count(verdicts.len(), "hour"), if wrong == 1 { "is" } else { "are" });
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

/// Looks at hours on as many threads as there are to be. Those that were removed meanwhile are left out.
fn look_at_all<'t>(args: &Args, tasks: &'t [Task]) -> anyhow::Result<Vec<Verdict<'t>>> {
    let connection = engine::open(&args.session)?;
    let bar = cli::progress("hours", tasks.len() as u64);
    let (bar, untaken) = (&bar, &AtomicUsize::new(0));
    let connections = (0..args.session.threads().min(tasks.len())).map(|_| connection.try_clone());
    let connections = connections.collect::<duckdb::Result<Vec<_>>>()?;
    let mut found = Vec::with_capacity(tasks.len());
    std::thread::scope(|scope| {
        let work = |connection| move || look_at_some(&connection, tasks, untaken, bar);
        let workers: Vec<_> = connections.into_iter().map(|connection| scope.spawn(work(connection))).collect();
        for worker in workers {
            found.extend(worker.join().map_err(|_| anyhow::anyhow!("a thread panicked; run it again"))?);
        }
        anyhow::Ok(())
    })?;
    bar.finish_and_clear();
    found.sort_by(|a, b| (&a.task.dataset, a.task.file.hour).cmp(&(&b.task.dataset, b.task.file.hour)));
    Ok(found)
}

fn look_at_some<'t>(
    connection: &Connection,
    tasks: &'t [Task],
    untaken: &AtomicUsize,
    bar: &ProgressBar,
) -> Vec<Verdict<'t>> {
    let mut found = Vec::new();
    while let Some(task) = tasks.get(untaken.fetch_add(1, Ordering::Relaxed)) {
        found.extend(look_at(connection, task));
        bar.inc(1);
    }
    found
}

/// Looks at an hour until its file stays the same meanwhile; none if it is gone.
fn look_at<'t>(connection: &Connection, task: &'t Task) -> Option<Verdict<'t>> {
    let path = &task.file.path;
    let mut verdict = Verdict { task, rows: 0, bytes: 0, problem: None, left: 0 };
    for _ in 0..LOOKS {
        let before = match file_id(path) {
            Ok(Some(id)) => id,
            Ok(None) => return None,
            Err(error) => {
                let remedy = "make it readable, or bring the disk back that it is on, and verify again".to_owned();
                verdict.problem = Some(Problem { what: error.to_string(), remedy });
                return Some(verdict);
            }
        };
        let reading = read(connection, task);
        if file_id(path).ok() == Some(Some(before)) {
            verdict.bytes = before.bytes();
            verdict.problem = judge(&task.dataset, &reading);
            if let Ok(commit) = &reading.commit {
                verdict.rows = commit.rows;
                verdict.left = left_to_remove(commit, &task.segments);
            }
            return Some(verdict);
        }
    }
    let what = "was replaced each time while it was read".to_owned();
    verdict.problem = Some(Problem { what, remedy: "verify again when nobody writes to it".to_owned() });
    Some(verdict)
}

/// Reads an hour: its footer, and then every value.
fn read(connection: &Connection, task: &Task) -> Reading {
    let commit = Commit::read_at(&task.file.path, &task.dataset, task.file.hour);
    let values = match &commit {
        Ok(_) => values(connection, task),
        Err(_) => Err(anyhow::anyhow!("not looked at")),
    };
    Reading { commit, values }
}

fn values(connection: &Connection, task: &Task) -> anyhow::Result<Values> {
    let path: &Path = &task.file.path;
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
    // One that cannot be looked at is compact's to tell of.
    let is_there = |segment: &&SealedSegment| !matches!(layout::size(&segment.path), Ok(None));
    segments.iter().filter(|segment| listed.contains(&segment.name)).filter(is_there).count()
}

/// Prints what is to be said of hours; with a format that was asked for, one row for every hour.
fn print(format: Option<Format>, verdicts: &[Verdict<'_>]) -> std::io::Result<()> {
    let quiet = |verdict: &&Verdict<'_>| format.is_some() || verdict.problem.is_some() || verdict.left > 0;
    let rows: Vec<_> = verdicts.iter().filter(quiet).collect();
    if rows.is_empty() && format.is_none() {
        return Ok(());
    }
    let columns = ["dataset", "hour", "rows", "state", "file", "problem", "remedy"];
    let out = std::io::stdout().lock();
    let mut table = Table::new(out, format.unwrap_or(Format::Table), columns.map(String::from).to_vec())?;
    for verdict in rows {
        let Task { dataset, file, .. } = verdict.task;
        let (state, problem) = state(verdict);
        let path = file.path.display().to_string();
        let what = problem.what.strip_prefix(&format!("{path}: ")).unwrap_or(&problem.what);
        let hour = file.hour.to_string();
        let cells = [state, &path, what, &problem.remedy].map(Into::into);
        table.row([dataset.as_str().into(), hour.into(), verdict.rows.into()].into_iter().chain(cells).collect())?;
    }
    table.finish()
}

/// The state of an hour in a word or three, and what there is to say.
fn state(verdict: &Verdict<'_>) -> (&'static str, Problem) {
    match (&verdict.problem, verdict.left) {
        (Some(problem), _) => ("wrong", problem.clone()),
        (None, 0) => ("ok", Problem { what: String::new(), remedy: String::new() }),
        (None, left) => {
            let what = format!("lists {} that is in raw/ still", count(left, "segment"));
            ("left to remove", Problem { what, remedy: "compact removes what is listed".to_owned() })
        }
    }
}

/// One line for `-v`.
fn log_summary(verdicts: &[Verdict<'_>], started: Instant) {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let megabytes = verdicts.iter().map(|verdict| verdict.bytes).sum::<u64>() as f64 / 1e6;
    log::info!(
        "{}, {}, {megabytes:.1} MB of Parquet read in {:.2} s, {} left to remove",
        count(verdicts.len(), "hour"),
        count(verdicts.iter().map(|verdict| verdict.rows).sum::<u64>(), "row"),
        started.elapsed().as_secs_f64(),
        count(verdicts.iter().map(|verdict| verdict.left).sum::<usize>(), "segment"),
    );
}
