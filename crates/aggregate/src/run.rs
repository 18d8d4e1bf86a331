//! From the command line to the outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Utc};
use cli::{Outcome, Table, TryAgain, Usage};
use layout::{Commit, DatasetLock, HourRange, Name, Tree};

use crate::args::Args;
use crate::check;
use crate::explain;
use crate::holdings::Holdings;
use crate::make::{Made, Maker};
use crate::order::{Read, in_order};
use crate::plan::{Plan, Recipe, Wanted, forgotten, plan};
use crate::print;
use crate::query::{Query, queries};
use crate::reads::Parser;
use crate::report;
use crate::session::{Promised, Session};
use crate::sources::{Sources, check_names, check_used, known_datasets};

/// Runs the program.
#[expect(clippy::needless_pass_by_value, reason = "the arguments are the program's")]
pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    run_queries(&args, Utc::now()).map_err(|error| {
        // A run to be tried again keeps its kind; DuckDB's errors are made readable.
        if error.chain().any(<dyn std::error::Error>::is::<duckdb::Error>) {
            anyhow!(engine::explain(&error))
        } else {
            error
        }
    })
}

fn run_queries(args: &Args, now: DateTime<Utc>) -> anyhow::Result<Outcome> {
    let checks = !args.check.is_empty();
    let tree = if checks { args.common.tree() } else { args.common.existing_tree()? };
    let queries = queries(args)?;
    let known = known_datasets(&tree, &queries)?;
    check_names(&known, &args.tables)?;
    let parser = Parser::new(&args.session);
    let (reads, errors) = read_all(&parser, queries)?;
    if errors.is_empty() {
        check_used(&reads, &args.tables)?;
    }
    let run = Run { args, tree: &tree, known: &known, now };
    if checks {
        return check::check(&run, &in_order(reads)?);
    }
    if args.output.is_some() && reads.len() != 1 {
        return Err(Usage(format!("--output - prints the rows of one query, and there are {}", reads.len())).into());
    }
    run.all(&in_order(reads)?, errors)
}

/// Finds out what each query reads. Of several, those that cannot be understood are set apart; one alone is the error.
fn read_all(parser: &Parser<'_>, queries: Vec<Query>) -> anyhow::Result<(Vec<Read>, Vec<anyhow::Error>)> {
    let (mut reads, mut errors) = (Vec::new(), Vec::new());
    let alone = queries.len() == 1;
    for query in queries {
        match parser.tables(&query) {
            Ok(names) => reads.push(Read { query, names }),
            Err(error) if alone => return Err(error),
            Err(error) => errors.push(error),
        }
    }
    Ok((reads, errors))
}

/// A run of the program.
pub(crate) struct Run<'a> {
    pub(crate) args: &'a Args,
    pub(crate) tree: &'a Tree,
    /// The names of all data sets.
    pub(crate) known: &'a BTreeSet<Name>,
    now: DateTime<Utc>,
}

impl Run<'_> {
    /// Runs queries that are in order; `errors` are those of queries that cannot be run at all.
    fn all(&self, reads: &[Read], mut errors: Vec<anyhow::Error>) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::Done;
        let mut done = 0;
        let mut planned = Planned::default();
        for read in reads {
            match self.one(read, &mut planned) {
                Ok(Outcome::Done) => done += 1,
                Ok(less) => {
                    done += 1;
                    outcome = less;
                }
                Err(error) => errors.push(error),
            }
        }
        if self.args.plan.dry_run {
            print_plan(self.args, planned.lines)?;
        }
        // The last error is the program's, when there is nothing but errors.
        let last = if done == 0 { errors.pop() } else { None };
        for error in errors {
            log::error!("{}", engine::explain(&error));
            outcome = Outcome::Partial;
        }
        last.map_or(Ok(outcome), Err)
    }

    fn one(&self, read: &Read, planned: &mut Planned) -> anyhow::Result<Outcome> {
        let (args, query) = (self.args, &read.query);
        let sources = Sources::resolve(read, self.known, &args.tables)?;
        if args.output.is_some() {
            let (_, plan) = self.look(query, &sources, None, &BTreeMap::new())?;
            let outcome = report::name_left(args, query, &plan);
            let session = Session::open(&args.session, self.tree, query, &sources, &Promised::new(), 1)?;
            let printed = print::print(args, &session, &plan)?;
            return Ok(if outcome == Outcome::Done { printed } else { outcome });
        }
        if args.plan.dry_run || args.explain {
            let (recipe, plan) = self.look(query, &sources, Some(&query.name), &planned.files)?;
            if args.explain {
                let columns = explain::explain(args, self.tree, query, &sources, &plan, &planned.columns)?;
                planned.columns.insert(query.name.clone(), columns);
            } else {
                planned.lines.extend(
                    plan.steps
                        .iter()
                        .map(|step| [query.name.to_string(), step.window.hour().to_string(), step.reason.to_string()]),
                );
            }
            planned.add_files(&query.name, &recipe, &plan);
            return Ok(report::name_left(args, query, &plan));
        }
        let Some(lock) = DatasetLock::try_acquire(self.tree, &query.name)? else {
            return Err(TryAgain(format!("{}: another process works on this data set", query.name)).into());
        };
        let outcome = self.publish(&lock, query, &sources);
        // A data set is known by its folder: one of which nothing could be made is none.
        self.tree.remove_without_files(&lock, &query.name)?;
        outcome
    }

    /// Makes the windows of `query` that are out of date.
    fn publish(&self, lock: &DatasetLock, query: &Query, sources: &Sources<'_>) -> anyhow::Result<Outcome> {
        let (recipe, plan) = self.look(query, sources, Some(&query.name), &BTreeMap::new())?;
        let mut outcome = report::name_left(self.args, query, &plan);
        let mut made = Made::default();
        if !plan.steps.is_empty() {
            made = self.make(Maker { tree: self.tree, lock, query, recipe: &recipe }, sources, &plan)?;
        }
        cli::report_failures(&query.name, &made.failed);
        if !made.failed.is_empty() {
            outcome = Outcome::Partial;
        }
        report::summary(query, &made, &plan);
        Ok(outcome)
    }

    /// Looks at the tree, and at the files `planned` as if they were in it, and plans the windows of `query`.
    pub(crate) fn look(
        &self,
        query: &Query,
        sources: &Sources<'_>,
        output: Option<&Name>,
        planned: &Overlay,
    ) -> anyhow::Result<(Recipe, Plan)> {
        let (args, range) = (self.args, self.args.range.range()?);
        let recipe = Recipe {
            query: query.fingerprint(),
            tables: sources.table_fingerprints(),
            ignore_changes: query.ignore_changes.clone(),
        };
        let mut holdings = Holdings::look(self.tree, &sources.datasets, output, &query.calendar, range)?;
        for (dataset, files) in &mut holdings.inputs {
            let files_of = planned.get(dataset).into_iter().flatten();
            files.extend(files_of.map(|(hour, commit)| (*hour, Ok(commit.clone()))));
            if files.is_empty() {
                report::name_missing(args, query, dataset);
            }
        }
        let wanted = Wanted {
            calendar: &query.calendar,
            range,
            rebuild: args.rebuild || output.is_none(),
            include_current: args.include_current,
            now: self.now,
            expired: &|dataset, hour| self.tree.expired_record(dataset, hour).ok(),
        };
        let plan = plan(&query.name, &recipe, &holdings, wanted)?;
        let made_anew = plan.steps.iter().filter_map(|step| holdings.output.get(&step.window.hour())?.as_ref().ok());
        let newest = if output.is_none() { self.newest(query)? } else { None };
        if let Some(table) = forgotten(query, &recipe, made_anew.chain(&newest)).filter(|_| !args.rebuild) {
            return Err(Usage(format!(
                "{}: was made with the table {table}, and now none is given: give it by --table {table}=FILE, or make the \
                 windows anew without it by --rebuild",
                query.name
            ))
            .into());
        }
        Ok((recipe, plan))
    }

    /// The newest file of what `query` makes, if it can be read.
    fn newest(&self, query: &Query) -> anyhow::Result<Option<Commit>> {
        let files = self.tree.parquet_files(&query.name, HourRange::ALL)?;
        Ok(files.last().and_then(|file| Commit::read(&file.path).ok()))
    }

    fn make(&self, maker: Maker<'_>, sources: &Sources<'_>, plan: &Plan) -> anyhow::Result<Made> {
        let session_args = &self.args.session;
        let workers = session_args.threads().min(plan.steps.len());
        let mut session = Session::open(session_args, maker.tree, maker.query, sources, &Promised::new(), workers)?;
        // One window alone need not be looked at so closely.
        if plan.steps.len() > 1 {
            session.find_together()?;
        }
        let bar = cli::progress("windows", plan.steps.len() as u64);
        let made = maker.make(&session, &plan.steps, workers, |windows| bar.inc(windows as u64))?;
        bar.finish_and_clear();
        Ok(made)
    }
}

/// What would have been made, where nothing is.
#[derive(Debug, Default)]
pub(crate) struct Planned {
    pub(crate) files: Overlay,
    pub(crate) columns: Promised,
    /// Data set, hour and reason of each window.
    lines: Vec<[String; 3]>,
}

impl Planned {
    /// Adds the files that `plan` would make.
    pub(crate) fn add_files(&mut self, dataset: &Name, recipe: &Recipe, plan: &Plan) {
        let files = plan.steps.iter().map(|step| (step.window.hour(), recipe.commit(&step.window, &step.inputs)));
        self.files.insert(dataset.clone(), files.collect());
    }
}

/// The files that would have been made of each data set.
pub(crate) type Overlay = BTreeMap<Name, BTreeMap<layout::Hour, Commit>>;

fn print_plan(args: &Args, lines: Vec<[String; 3]>) -> anyhow::Result<()> {
    let columns = ["dataset", "hour", "reason"].map(String::from).into();
    let print = || -> io::Result<()> {
        let mut table = Table::new(io::stdout().lock(), args.print.format, columns)?;
        for line in lines {
            table.row(line.map(Into::into).into())?;
        }
        table.finish()
    };
    print().context("cannot print the plan")
}
