//! From the command line to the outcome.

use std::io;

use anyhow::{Context as _, anyhow};
use chrono::Utc;
use cli::{Outcome, Table, TryAgain, Usage};
use layout::DatasetLock;

use crate::args::Args;
use crate::check;
use crate::explain;
use crate::make::{Made, Maker, make};
use crate::order::{Read, in_order};
use crate::plan::{Plan, Step};
use crate::planner::{Expected, Overlay, Planner};
use crate::print;
use crate::query::{Query, queries};
use crate::reads::Parser;
use crate::report;
use crate::session::{Promised, Session};
use crate::sources::{Sources, check_names, check_used, known_datasets};

/// Runs the program.
#[expect(clippy::needless_pass_by_value, reason = "the arguments are the program's")]
pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    run_queries(&args).map_err(|error| {
        // A run to be tried again keeps its kind; DuckDB's errors are made readable.
        if error.chain().any(<dyn std::error::Error>::is::<duckdb::Error>) {
            anyhow!(engine::explain(&error))
        } else {
            error
        }
    })
}

fn run_queries(args: &Args) -> anyhow::Result<Outcome> {
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
    let planner = Planner { args, tree: &tree, known: &known, now: Utc::now() };
    if checks {
        return check::check(&planner, &in_order(reads)?);
    }
    if args.output.is_some() && reads.len() != 1 {
        return Err(Usage(format!("--output - prints the rows of one query, and there are {}", reads.len())).into());
    }
    run_all(&planner, &in_order(reads)?, errors)
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

/// Runs queries that are in order; `errors` are those of queries that cannot be run at all.
fn run_all(planner: &Planner<'_>, reads: &[Read], mut errors: Vec<anyhow::Error>) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Done;
    let mut done = 0;
    let mut preview = Preview::default();
    for read in reads {
        match run_one(planner, read, &mut preview) {
            Ok(Outcome::Done) => done += 1,
            Ok(less) => {
                done += 1;
                outcome = less;
            }
            Err(error) => errors.push(error),
        }
    }
    if planner.args.plan.dry_run {
        print_plan(planner.args, preview.lines)?;
    }
    // The last error is the program's, when there is nothing but errors.
    let last = if done == 0 { errors.pop() } else { None };
    for error in errors {
        log::error!("{}", engine::explain(&error));
        outcome = Outcome::Partial;
    }
    last.map_or(Ok(outcome), Err)
}

fn run_one(planner: &Planner<'_>, read: &Read, preview: &mut Preview) -> anyhow::Result<Outcome> {
    let (args, query) = (planner.args, &read.query);
    let sources = Sources::resolve(read, planner.known, &args.tables)?;
    if args.output.is_some() {
        return print(planner, query, &sources);
    }
    if args.plan.dry_run || args.explain {
        return preview.add(planner, query, &sources);
    }
    let Some(lock) = DatasetLock::try_acquire(planner.tree, &query.name)? else {
        return Err(TryAgain(format!("{}: another process works on this data set", query.name)).into());
    };
    let outcome = publish(planner, &lock, query, &sources);
    // A data set is known by its folder: one of which nothing could be made is none.
    planner.tree.remove_without_files(&lock, &query.name)?;
    outcome
}

/// Prints the rows of all windows of `query`.
fn print(planner: &Planner<'_>, query: &Query, sources: &Sources<'_>) -> anyhow::Result<Outcome> {
    let args = planner.args;
    let (_, plan) = planner.plan(query, sources, None, &Overlay::new())?;
    let outcome = report::name_not_made(args, query, &plan);
    let session = Session::open(&args.session, planner.tree, query, sources, &Promised::new(), 1)?;
    let printed = print::print(args, &session, &plan)?;
    Ok(if outcome == Outcome::Done { printed } else { outcome })
}

/// What is printed instead of being made.
#[derive(Default)]
struct Preview {
    expected: Expected,
    /// Data set, hour and reason of each window.
    lines: Vec<[String; 3]>,
}

impl Preview {
    fn add(&mut self, planner: &Planner<'_>, query: &Query, sources: &Sources<'_>) -> anyhow::Result<Outcome> {
        let (args, expected) = (planner.args, &mut self.expected);
        let (recipe, plan) = planner.plan(query, sources, Some(&query.name), &expected.files)?;
        if args.explain {
            let columns = explain::explain(args, planner.tree, query, sources, &plan, &expected.columns)?;
            expected.columns.insert(query.name.clone(), columns);
        } else {
            let hour = |step: &Step| step.window.hour().to_string();
            let line = |step| [query.name.to_string(), hour(step), step.reason.to_string()];
            self.lines.extend(plan.steps.iter().map(line));
        }
        expected.add_files(&query.name, &recipe, &plan);
        Ok(report::name_not_made(args, query, &plan))
    }
}

/// Makes the windows of `query` that are out of date.
fn publish(planner: &Planner<'_>, lock: &DatasetLock, query: &Query, sources: &Sources<'_>) -> anyhow::Result<Outcome> {
    let (recipe, plan) = planner.plan(query, sources, Some(&query.name), &Overlay::new())?;
    let mut outcome = report::name_not_made(planner.args, query, &plan);
    let mut made = Made::default();
    if !plan.steps.is_empty() {
        let maker = Maker { tree: planner.tree, lock, query, recipe: &recipe };
        made = make_steps(planner, maker, sources, &plan)?;
    }
    cli::report_failures(&query.name, &made.failed);
    if !made.failed.is_empty() {
        outcome = Outcome::Partial;
    }
    report::summary(query, &made, &plan);
    Ok(outcome)
}

fn make_steps(planner: &Planner<'_>, maker: Maker<'_>, sources: &Sources<'_>, plan: &Plan) -> anyhow::Result<Made> {
    let args = &planner.args.session;
    let workers = args.threads().min(plan.steps.len());
    let session = Session::open(args, planner.tree, maker.query, sources, &Promised::new(), workers)?;
    session.check_column_names()?;
    let bar = cli::progress("windows", plan.steps.len() as u64);
    let made = make(maker, &session, &plan.steps, workers, |windows| bar.inc(windows as u64))?;
    bar.finish_and_clear();
    Ok(made)
}

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
