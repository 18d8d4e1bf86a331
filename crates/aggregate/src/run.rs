//! From the command line to the outcome.

use std::io;

use anyhow::{Context as _, anyhow, bail};
use cli::{Format, Outcome, Table, TryAgain};
use layout::{DatasetLock, Tree};

use crate::args::Args;
use crate::make::{Made, Maker};
use crate::plan::{Holdings, Plan, Recipe, plan};
use crate::print;
use crate::query::{Query, queries};
use crate::reads::Parser;
use crate::session::Session;
use crate::sources::{Sources, check_names, check_used};

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
    let tree = args.common.existing_tree()?;
    let queries = queries(args)?;
    check_names(&tree, &args.tables)?;
    let parser = Parser::new(&args.session);
    if let [query] = queries.as_slice() {
        check_used(query, &parser.tables(query)?, &args.tables)?;
        return run_query(args, &tree, &parser, query);
    }
    if args.output.is_some() {
        bail!("--output - prints the rows of one query, and there are {}", queries.len());
    }
    let mut outcome = Outcome::Done;
    let mut errors = Vec::new();
    for query in &queries {
        match run_query(args, &tree, &parser, query) {
            Ok(Outcome::Done) => {}
            Ok(less) => outcome = less,
            Err(error) => errors.push(error),
        }
    }
    // The last error is the program's, when there is nothing but errors.
    let last = if errors.len() == queries.len() { errors.pop() } else { None };
    for error in errors {
        log::error!("{}", engine::explain(&error));
        outcome = Outcome::Partial;
    }
    last.map_or(Ok(outcome), Err)
}

fn run_query(args: &Args, tree: &Tree, parser: &Parser<'_>, query: &Query) -> anyhow::Result<Outcome> {
    let sources = Sources::resolve(tree, query, &parser.tables(query)?, &args.tables)?;
    if args.output.is_some() {
        return print::print(&args.session, tree, query, &sources, args.range.range()?, args.print.format);
    }
    if args.plan.dry_run {
        let (_, plan) = look(args, tree, query, &sources)?;
        print_plan(query, &plan, args.print.format)?;
        return Ok(name_unreadable(query, &plan));
    }
    let Some(lock) = DatasetLock::try_acquire(tree, &query.name)? else {
        return Err(TryAgain(format!("{}: another process works on this data set", query.name)).into());
    };
    let (recipe, plan) = look(args, tree, query, &sources)?;
    let mut outcome = name_unreadable(query, &plan);
    let mut made = Made::default();
    if !plan.windows.is_empty() {
        made = make(args, Maker { tree, lock: &lock, query, recipe: &recipe }, &sources, &plan)?;
    }
    for (hour, reason) in &made.failed {
        log::error!("{} {hour}: {reason}", query.name);
        outcome = Outcome::Partial;
    }
    log::info!(
        "{}: {} made, {} failed, {} up to date, {} left alone because retention removed a part",
        query.name,
        cli::count(made.hours, "hour"),
        made.failed.len() + plan.unreadable.len(),
        plan.fresh,
        plan.expired + made.removed
    );
    Ok(outcome)
}

fn look(args: &Args, tree: &Tree, query: &Query, sources: &Sources<'_>) -> anyhow::Result<(Recipe, Plan)> {
    let recipe = Recipe { query: query.fingerprint(), tables: sources.table_fingerprints() };
    let holdings = Holdings::look(tree, &sources.datasets, Some(&query.name), args.range.range()?)?;
    let plan = plan(&query.name, &recipe, holdings, args.rebuild);
    Ok((recipe, plan))
}

fn make(args: &Args, maker: Maker<'_>, sources: &Sources<'_>, plan: &Plan) -> anyhow::Result<Made> {
    let workers = args.session.threads().min(plan.windows.len());
    let session = Session::open(&args.session, maker.tree, maker.query, sources, workers)?;
    let bar = cli::progress("hours", plan.windows.len() as u64);
    let made = maker.make(&session, &plan.windows, workers, |hours| bar.inc(hours as u64))?;
    bar.finish_and_clear();
    Ok(made)
}

fn name_unreadable(query: &Query, plan: &Plan) -> Outcome {
    for (hour, problem) in &plan.unreadable {
        log::error!("{} {hour}: {problem}", query.name);
    }
    if plan.unreadable.is_empty() { Outcome::Done } else { Outcome::Partial }
}

fn print_plan(query: &Query, plan: &Plan, format: Format) -> anyhow::Result<()> {
    let columns = ["dataset", "hour", "reason"].map(String::from).into();
    let print = || -> io::Result<()> {
        let mut table = Table::new(io::stdout().lock(), format, columns)?;
        for window in &plan.windows {
            let cells = [query.name.to_string(), window.hour.to_string(), window.reason.to_string()];
            table.row(cells.map(Into::into).into())?;
        }
        table.finish()
    };
    print().context("cannot print the plan")
}
