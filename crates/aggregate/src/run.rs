//! From the command line to the outcome.

use std::collections::BTreeMap;
use std::io;

use anyhow::{Context as _, anyhow, bail};
use chrono::Utc;
use cli::{Failure, Outcome, Table, TryAgain, Usage};
use engine::Printer;
use layout::DatasetLock;
use serde_json::Value;

use crate::args::Args;
use crate::check;
use crate::explain::explain;
use crate::make::{Made, make};
use crate::order::in_order;
use crate::planner::Planner;
use crate::query::{Query, queries};
use crate::reads::find_reads;
use crate::report;
use crate::session::Session;
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
    let streams = args.common.streams()?;
    let queries = queries(args, &streams)?;
    let known = known_datasets(&tree, &streams, &queries)?;
    check_names(&known, &args.tables)?;
    let (queries, mut errors) = find_reads(&args.session, queries)?;
    if errors.is_empty() {
        check_used(&queries, &args.tables)?;
    }
    if args.output.is_some() && queries.len() != 1 {
        bail!(Usage(format!("--output - prints the rows of one query, and there are {}", queries.len())));
    }
    let queries = in_order(queries)?;
    let mut planner = Planner {
        args,
        tree: &tree,
        streams: &streams,
        known: &known,
        now: Utc::now(),
        expected_columns: BTreeMap::new(),
        expected_files: BTreeMap::new(),
        lines: Vec::new(),
    };
    let (mut outcome, mut done) = (Outcome::Done, 0);
    for query in &queries {
        match run_one(&mut planner, query) {
            Ok(result) => {
                done += 1;
                outcome = if result == Outcome::Done { outcome } else { result };
            }
            Err(error) => errors.push(error),
        }
    }
    if checks || args.plan.dry_run {
        let columns: &[&str] = if checks { &check::COLUMNS } else { &["dataset", "hour", "reason"] };
        let print = || -> io::Result<()> {
            let mut table = Table::new(io::stdout().lock(), args.print.format, columns.iter().copied())?;
            planner.lines.into_iter().try_for_each(|line| table.row(line))?;
            table.finish()
        };
        print().context("cannot print")?;
    }
    // The last error is the program's, when there is nothing but errors, or nothing that could be done in part.
    let last = if done == 0 || checks { errors.pop() } else { None };
    for error in errors {
        log::error!("{}", engine::explain(&error));
        outcome = Outcome::Partial;
    }
    last.map_or(Ok(outcome), Err)
}

/// Does with `query` what was asked for.
fn run_one(planner: &mut Planner<'_>, query: &Query) -> anyhow::Result<Outcome> {
    let args = planner.args;
    let checks = !args.check.is_empty();
    if checks {
        check::needs(planner, query);
    }
    let sources = Sources::resolve(query, planner.known, planner.streams, &args.tables)?;
    if checks {
        return check::yields(planner, query, &sources);
    }
    if args.output.is_some() {
        return print_rows(planner, query, &sources);
    }
    if args.plan.dry_run || args.explain {
        return preview(planner, query, &sources);
    }
    let Some(lock) = DatasetLock::try_acquire(planner.tree, &query.name)? else {
        bail!(TryAgain(format!("{}: another process works on this data set", query.name)));
    };
    let outcome = publish(planner, &lock, query, &sources);
    // A data set is known by its folder: one of which nothing could be made is none.
    planner.tree.remove_without_files(&lock, &query.name)?;
    outcome
}

/// Prints the rows of all windows of `query`, in order; nothing is published.
fn print_rows(planner: &Planner<'_>, query: &Query, sources: &Sources<'_>) -> anyhow::Result<Outcome> {
    let (_, plan) = planner.plan(query, sources)?;
    let outcome = report::name_not_made(planner.args, query, &plan);
    let session = Session::open(planner, query, sources)?;
    let mut failed = Vec::new();
    let out = io::BufWriter::new(io::stdout().lock());
    let mut printer = Printer::new(&session.connection, &session.select(), out, planner.args.print.format)?;
    for step in &plan.steps {
        let ran = session.run(&step.window, &step.inputs, "").and_then(|()| printer.run(&session.connection));
        let Err(error) = ran else { continue };
        if error.chain().any(<dyn std::error::Error>::is::<io::Error>) {
            cli::report_failures(&query.name, &failed);
            return Err(error.context("cannot print"));
        }
        let error = session.check_inputs(&step.inputs).err().unwrap_or(error);
        failed.push(Failure::of_error(step.window.hour(), &engine::explain(&error), ""));
    }
    cli::report_failures(&query.name, &failed);
    printer.finish()?;
    Ok(if failed.is_empty() { outcome } else { Outcome::Partial })
}

/// Says which windows of `query` would be made.
fn preview(planner: &mut Planner<'_>, query: &Query, sources: &Sources<'_>) -> anyhow::Result<Outcome> {
    let (recipe, plan) = planner.plan(query, sources)?;
    if planner.args.explain {
        explain(planner, query, sources, &plan)?;
    }
    for step in &plan.steps {
        let cells = [query.name.to_string(), step.window.hour().to_string(), step.reason.to_string()];
        planner.lines.push(cells.map(Value::from).into());
    }
    planner.expect_files(&query.name, &recipe, &plan);
    Ok(report::name_not_made(planner.args, query, &plan))
}

/// Makes the windows of `query` that are out of date.
fn publish(planner: &Planner<'_>, lock: &DatasetLock, query: &Query, sources: &Sources<'_>) -> anyhow::Result<Outcome> {
    let (recipe, plan) = planner.plan(query, sources)?;
    let mut outcome = report::name_not_made(planner.args, query, &plan);
    let mut made = Made::default();
    if !plan.steps.is_empty() {
        let workers = planner.args.session.threads().min(plan.steps.len());
        let session = Session::open(planner, query, sources)?;
        session.check_column_names()?;
        // The threads that make windows side by side count among DuckDB's own: all together are as many as were asked for.
        session.connection.execute_batch(&format!("SET external_threads = {workers}"))?;
        made = make(session, lock, &recipe, &plan.steps, workers)?;
    }
    cli::report_failures(&query.name, &made.failed);
    if !made.failed.is_empty() {
        outcome = Outcome::Partial;
    }
    let current = if plan.current > 0 { format!(", {} not over", plan.current) } else { String::new() };
    log::info!(
        "{}: {} made, {} failed, {} up to date, {} left alone because retention removed a part{current}",
        query.name,
        query.windows(made.windows),
        made.failed.len() + plan.unreadable.len() + plan.refused.len(),
        plan.fresh,
        plan.frozen.count + made.removed
    );
    Ok(outcome)
}
