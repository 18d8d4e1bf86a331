//! `--verify`: compares what the warehouse holds with the tree, and changes nothing.
//!
//! Of every hour that was ever loaded the rows are counted and compared with the load log. Of each that is loaded in the
//! version that the tree has, count and checksum of every column are compared with the file's; the checksum is the sum of
//! the values' hashes, so the order of rows does not count, and every other difference does. A file that is gone, although
//! retention did not remove it, is a difference, and so is one that cannot be read; one that is not loaded yet, or in an
//! older version, is none.
//!
//! The warehouse and the tree may change meanwhile: an hour counts only if it is logged afterwards as before.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use cli::{Outcome, Table, TryAgain, count};
use engine::identifier;
use layout::{Hour, HourRange, Hours, Name, Tree};
use warehouse::{LoggedWindow, SqlType, TableColumn, Warehouse};

use crate::args::Args;
use crate::plan::{Window, batches, plan};
use crate::rows::{as_stored, each, hours, rows};
use crate::schema::{Schema, schemas};
use crate::table::is_unchanged;
use crate::target::{Target, look};

/// What was found of an hour.
#[derive(Debug)]
struct Found {
    hour: Hour,
    /// The rows that were loaded, or are to be.
    rows: u64,
    held: u64,
    verdict: Verdict,
}

#[derive(Debug)]
enum Verdict {
    Right,
    /// The warehouse has none of it yet.
    New,
    /// The warehouse has an older version.
    Old,
    Wrong(String),
}

impl Verdict {
    fn text(&self) -> &str {
        match self {
            Self::Right => "ok",
            Self::New => "not loaded yet",
            Self::Old => "ok, but the tree has a newer version, which is not loaded yet",
            Self::Wrong(problem) => problem,
        }
    }
}

/// Verifies data sets, and prints what was found of each hour.
pub(crate) fn verify(args: &Args, tree: &Tree) -> anyhow::Result<Outcome> {
    let columns = ["dataset", "hour", "rows", "in_warehouse", "verdict"].map(str::to_owned).to_vec();
    let mut table = Table::new(io::stdout().lock(), args.print.format, columns)?;
    let (mut all, mut wrong) = (0, 0);
    let warehouse = Warehouse::attach_to_read(&args.warehouse, &args.session, tree)?;
    let log = warehouse.as_ref().map_or(Ok(None), |warehouse| warehouse.load_log(None))?.unwrap_or_default();
    for dataset in args.names(tree, &log)? {
        for found in verify_one(warehouse.as_ref(), tree, &dataset, args.range.range()?)? {
            let Found { hour, rows, held, verdict } = found;
            all += usize::from(!matches!(verdict, Verdict::New));
            wrong += usize::from(matches!(verdict, Verdict::Wrong(_)));
            let cells = [dataset.as_str().into(), hour.to_string().into(), rows.into(), held.into()];
            table.row(cells.into_iter().chain([verdict.text().into()]).collect())?;
        }
    }
    table.finish()?;
    if wrong == 0 {
        log::info!("{}: the warehouse holds what was loaded", count(all, "hour"));
        return Ok(Outcome::Done);
    }
    log::error!(
        "{wrong} of {} differ from what was loaded or cannot be read: each is printed; to load one that the tree has \
         again, set its fingerprint in load_log to '' and run load-warehouse",
        count(all, "hour")
    );
    Ok(Outcome::Partial)
}

fn verify_one(
    warehouse: Option<&Warehouse>,
    tree: &Tree,
    dataset: &Name,
    range: HourRange,
) -> anyhow::Result<Vec<Found>> {
    let log = logged(warehouse, dataset)?;
    // After the log: what it names then, the tree has or had.
    let Hours { published, expired } = tree.hours(dataset, range)?;
    let mut problems = BTreeMap::new();
    let mut files = Vec::new();
    for (file, commit) in published {
        match commit {
            Ok(commit) => files.push((file, commit)),
            Err(error) => drop(problems.insert(file.hour, cli::unreadable(dataset, &error))),
        }
    }
    let windows = plan(files, None);
    let files: BTreeMap<_, _> = windows.iter().map(|window| (window.hour, window)).collect();
    for hour in log.keys().filter(|hour| !files.contains_key(hour) && !expired.contains(hour)) {
        problems.entry(*hour).or_insert_with(|| GONE.to_owned());
    }
    let held = compare(warehouse, dataset, &log, &windows, &mut problems)?;
    let after = logged(warehouse, dataset)?;
    let all: BTreeSet<_> = log.keys().chain(held.keys()).chain(files.keys()).chain(problems.keys()).copied().collect();
    let settled = all.into_iter().filter(|hour| range.contains(*hour) && log.get(hour) == after.get(hour));
    let found = settled.map(|hour| {
        let (logged, file) = (log.get(&hour), files.get(&hour));
        let verdict = match (problems.remove(&hour), logged, file) {
            (Some(problem), _, _) => Verdict::Wrong(problem),
            (None, None, _) => Verdict::New,
            (None, Some(logged), Some(file)) if logged.fingerprint != file.fingerprint => Verdict::Old,
            _ => Verdict::Right,
        };
        let rows = logged.map(|logged| logged.rows).or(file.map(|file| file.rows)).unwrap_or_default();
        Found { hour, rows, held: held.get(&hour).copied().unwrap_or_default(), verdict }
    });
    Ok(found.collect())
}

const GONE: &str = "the tree has no file of it, although retention did not remove it: put it back or make it again";

/// Compares the table with the load log and with those of `windows` that are loaded; adds what is wrong to `problems`.
/// Returns how many rows the table has of each hour.
fn compare(
    warehouse: Option<&Warehouse>,
    dataset: &Name,
    log: &BTreeMap<Hour, LoggedWindow>,
    windows: &[Window],
    problems: &mut BTreeMap<Hour, String>,
) -> anyhow::Result<BTreeMap<Hour, u64>> {
    let Some(warehouse) = warehouse else { return Ok(BTreeMap::new()) };
    let target = look(warehouse, dataset)?;
    let counts = if target.is_some() { warehouse.counts(dataset)? } else { BTreeMap::new() };
    for (hour, window) in log {
        let held = counts.get(hour).copied().unwrap_or_default();
        if held != window.rows {
            problems.insert(*hour, format!("{} missing or too many", count(held.abs_diff(window.rows), "row")));
        }
    }
    for (hour, _) in counts.iter().filter(|(hour, _)| !log.contains_key(hour)) {
        problems.insert(*hour, "the load log does not know of it".to_owned());
    }
    if let Some(target) = target {
        let is_loaded =
            |window: &&Window| log.get(&window.hour).is_some_and(|logged| logged.fingerprint == window.fingerprint);
        for windows in batches(windows.iter().filter(is_loaded).cloned().collect()) {
            for (hour, problem) in each_difference(warehouse, dataset, &target, &windows)? {
                problems.entry(hour).or_insert(problem);
            }
        }
    }
    Ok(counts)
}

fn logged(warehouse: Option<&Warehouse>, dataset: &Name) -> anyhow::Result<BTreeMap<Hour, LoggedWindow>> {
    let Some(warehouse) = warehouse else { return Ok(BTreeMap::new()) };
    Ok(warehouse.load_log(Some(dataset))?.unwrap_or_default().remove(dataset).unwrap_or_default())
}

/// What is wrong with the rows of `windows`. Where they cannot be compared together, each is by itself: one damaged file
/// keeps no other from being looked at.
fn each_difference(
    warehouse: &Warehouse,
    dataset: &Name,
    target: &Target,
    windows: &[Window],
) -> anyhow::Result<Vec<(Hour, String)>> {
    match differences(warehouse, dataset, target, windows.to_vec()) {
        Ok(found) => {
            Ok(found.into_iter().map(|(hour, columns)| (hour, format!("differs from the file in {columns}"))).collect())
        }
        Err(error) if error.is::<TryAgain>() => Err(error),
        Err(error) => match windows {
            [window] if is_unchanged(window) => {
                Ok(vec![(window.hour, format!("{}: {}", cli::damaged(dataset), engine::explain(&error)))])
            }
            [] | [_] => Ok(Vec::new()),
            several => {
                let each = several
                    .iter()
                    .map(|window| each_difference(warehouse, dataset, target, std::slice::from_ref(window)));
                Ok(each.collect::<anyhow::Result<Vec<_>>>()?.concat())
            }
        },
    }
}

/// The hours whose rows are not those of their files, with the columns that differ.
fn differences(
    warehouse: &Warehouse,
    dataset: &Name,
    target: &Target,
    windows: Vec<Window>,
) -> anyhow::Result<Vec<(Hour, String)>> {
    let mut alike: BTreeMap<Schema, Vec<Window>> = BTreeMap::new();
    let found = schemas(warehouse, &windows)?;
    for (window, schema) in windows.into_iter().zip(found) {
        alike.entry(schema?).or_default().push(window);
    }
    let mut different = Vec::new();
    for (schema, windows) in alike {
        let is_lacking = |column: &&TableColumn| !target.columns.iter().any(|held| held.is(&column.name));
        let lacking: Vec<_> = schema.iter().filter(is_lacking).map(|column| column.name.as_str()).collect();
        if !lacking.is_empty() {
            let lacking = format!("{}, which the table does not have", lacking.join(", "));
            different.extend(windows.iter().map(|window| (window.hour, lacking.clone())));
        }
        let sql = comparison(warehouse, dataset, target, &schema, &windows);
        let rows = warehouse.query(&sql, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
        let rows = rows.into_iter().filter_map(|(micros, columns)| Some((Hour::of_micros(micros)?, columns)));
        let unchanged = |hour| windows.iter().any(|window| window.hour == hour && is_unchanged(window));
        different.extend(rows.filter(|(hour, _)| unchanged(*hour)));
    }
    Ok(different)
}

fn comparison(warehouse: &Warehouse, dataset: &Name, target: &Target, schema: &Schema, windows: &[Window]) -> String {
    let start = TableColumn { name: "window_start".to_owned(), sql_type: SqlType::Timestamp };
    let columns: Vec<_> = [start].into_iter().chain(target.columns.iter().cloned()).collect();
    let stored = warehouse.stored(dataset, &columns, &hours(windows));
    let read = format!("SELECT window_start{} FROM {}", as_stored(target, schema), rows(schema, windows));
    let names: Vec<_> = target.columns.iter().map(|column| identifier(&column.name)).collect();
    let sums = each(&names, |name| format!(", sum(hash({name})) AS {name}"));
    let whole = format!(", sum(hash(ROW(0{}))) AS id", each(&names, |name| format!(", {name}")));
    let sums = format!("SELECT window_start, count(*) AS file_index{sums}{whole}");
    let differs = |name: &String, says: &str| {
        format!("CASE WHEN held.{name} IS DISTINCT FROM made.{name} THEN {} END", engine::literal(says))
    };
    let one_by_one = target.columns.iter().zip(&names).map(|(column, name)| differs(name, &column.name));
    let says: Vec<_> =
        [differs(&"file_index".to_owned(), "its number of rows")].into_iter().chain(one_by_one).collect();
    format!(
        "WITH made AS ({sums} FROM ({read}) GROUP BY window_start), held AS ({sums} FROM ({stored}) GROUP BY window_start) \
         SELECT epoch_us(window_start), coalesce(nullif(concat_ws(', ', {}), ''), 'which values belong to one row') \
         FROM made FULL JOIN held USING (window_start) \
         WHERE held.id IS DISTINCT FROM made.id OR held.file_index IS DISTINCT FROM made.file_index",
        says.join(", ")
    )
}
