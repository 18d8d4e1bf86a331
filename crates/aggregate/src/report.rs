//! What is said of windows that are not made, and of a run as a whole.

use std::collections::BTreeMap;

use chrono::Timelike as _;
use cli::Outcome;
use layout::{Hour, Name, Window};
use log::Level;
use models::Streams;

use crate::args::Args;
use crate::calendar::Unit;
use crate::plan::{Plan, Refused, time};
use crate::query::Query;
use crate::sources::how_to_make;

/// Says what is not up to date and not made, for reasons that somebody has to look at, and what was asked for and cannot be.
pub(crate) fn name_not_made(args: &Args, query: &Query, plan: &Plan) -> Outcome {
    cli::report_failures(&query.name, &plan.unreadable);
    if !plan.orphaned.is_empty() {
        log::warn!(
            "{}: {} left as they are, because nothing is there any more of what they were made of: put the input back, or \
             make them anew without it by --rebuild",
            query.name,
            span(query, plan.orphaned.iter().copied()),
        );
    }
    let whole = if args.output.is_none() {
        name_frozen(args, query, plan)
    } else {
        // Printed, they would show a part as if it was all.
        let unmade = &plan.frozen.unmade;
        if !unmade.is_empty() {
            let windows = span(query, unmade.iter().copied());
            log::error!("{}: {windows} skipped, because retention removed a part of what they read", query.name);
        }
        unmade.is_empty()
    };
    let refused = name_refused(query, plan);
    if whole && !refused && plan.unreadable.is_empty() { Outcome::Done } else { Outcome::Partial }
}

/// Says which windows are refused, once for each data set that does not fit into them; returns whether there are any.
pub(crate) fn name_refused(query: &Query, plan: &Plan) -> bool {
    let mut inputs = BTreeMap::<&Name, Vec<&Refused>>::new();
    for refused in &plan.refused {
        inputs.entry(&refused.input).or_default().push(refused);
    }
    for (input, refused) in inputs {
        let Some(Refused { covers, .. }) = refused.first() else { continue };
        log::error!(
            "{}: {} refused, because windows of {input}, first that from {} to {}, lie in them only in part, and their rows \
             cannot be told apart: {}read the streams that {input} is made of, or make windows at whose ends those of \
             {input} end",
            query.name,
            span(query, refused.iter().map(|refused| refused.window.hour())),
            time(covers.start),
            time(covers.end),
            meant(query, input, covers),
        );
    }
    !plan.refused.is_empty()
}

/// What the windows of `query` may be meant to be, if one of `input` that `covers` more is read for them.
fn meant(query: &Query, input: &Name, covers: &Window) -> String {
    let unit = Unit::of(covers);
    if unit < query.header.calendar.unit {
        return String::new();
    }
    if unit == query.header.calendar.unit {
        return format!("did you mean the -- @time_zone of {input}? Or ");
    }
    let is_utc = covers.start.num_seconds_from_midnight() == 0;
    let zone = if is_utc { String::new() } else { format!(" with the -- @time_zone of {input}") };
    format!("did you mean -- @window: {}{zone}? Or ", unit.as_str())
}

/// Says that there is nothing to be read of `dataset`: to whoever wants to see something. Cron is early now and then.
pub(crate) fn name_missing(args: &Args, streams: &Streams, query: &Query, dataset: &Name) {
    let shows = args.explain || args.plan.dry_run || (args.output.is_some() && !args.range.is_given());
    let level = if shows { Level::Warn } else { Level::Info };
    let asked = if args.range.is_given() { " that is asked for" } else { "" };
    let remedy = how_to_make(streams, dataset.as_str());
    log::log!(level, "{}: there is no hour of {dataset}{asked}: {remedy}", query.name);
}

/// Says which frozen windows are not what the query would make; returns whether there is everything in them that was sent.
fn name_frozen(args: &Args, query: &Query, plan: &Plan) -> bool {
    let (name, frozen) = (&query.name, &plan.frozen);
    if let Some(late) = frozen.late.first() {
        let (dataset, removed) = &late.removed;
        log::error!(
            "{name}: {} left without what has come late to {}, because retention removed a part of what they read ({dataset} \
             {removed} first): put that back, or make them of what is left alone by deleting the records of what was \
             removed (.expired.json in their folders of parquet/{dataset}/)",
            span(query, frozen.late.iter().map(|late| late.hour)),
            late.input,
        );
    }
    // To be said once, by the first run that makes what it can, and to whoever asks: there is nothing to be done about it.
    let asked = args.rebuild || args.range.is_given();
    let first = plan.fresh == 0 && !plan.steps.is_empty();
    let level = if asked || first { Level::Warn } else { Level::Info };
    if let Some((_, reason)) = frozen.outdated.first() {
        let windows = span(query, frozen.outdated.iter().map(|(hour, _)| *hour));
        log::log!(
            level,
            "{name}: {windows} left as they are although {reason}, because retention removed a part of what they read"
        );
    }
    if !frozen.unmade.is_empty() {
        let windows = span(query, frozen.unmade.iter().copied());
        log::log!(level, "{name}: {windows} never made, because retention removed a part of what they read");
    }
    let rest = frozen.count - frozen.late.len() - frozen.outdated.len() - frozen.unmade.len();
    if args.rebuild && rest > 0 {
        let rest = query.windows(rest);
        log::warn!("{name}: {rest} left as they are, because retention removed a part of them");
    }
    frozen.late.is_empty()
}

/// Windows in words: how many, the first and the last.
fn span(query: &Query, mut hours: impl ExactSizeIterator<Item = Hour> + DoubleEndedIterator) -> String {
    let windows = query.windows(hours.len());
    match (hours.next(), hours.next_back()) {
        (None, _) => windows,
        (Some(only), None) => format!("{windows} ({only})"),
        (Some(first), Some(last)) => format!("{windows} from {first} to {last}"),
    }
}
