//! `--check` and `--infer`: a stream file is tried on a capture, or proposed from one. Nothing is written to the tree.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use chrono::Utc;
use cli::{Format, Outcome, Table, count};
use layout::Hour;
use models::{ColumnType, Decoder, Model, Value};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::args::Settings;
use crate::batch::Batch;
use crate::framing::Framing;
use crate::streams::Stream;
use crate::validator::{Bounds, Source, Validator};

/// How many rows are shown.
const ROWS: usize = 10;
/// How many hours are shown.
const HOURS: usize = 24;

const SOURCE: Source<'static> = Source { words: "stdin", peer: None, listener: "" };

/// Prints a stream file for the capture on standard input.
pub(crate) fn infer() -> anyhow::Result<Outcome> {
    let capture = capture()?;
    let proposed = models::infer(&capture).map_err(|why| anyhow!("standard input: {why}"))?;
    io::stdout().write_all(proposed.as_bytes()).context("cannot print")?;
    Ok(Outcome::Done)
}

fn capture() -> anyhow::Result<Vec<u8>> {
    let mut capture = Vec::new();
    if !io::stdin().is_terminal() {
        io::stdin().lock().read_to_end(&mut capture).context("standard input: cannot be read")?;
    }
    Ok(capture)
}

/// What was found in a capture.
#[derive(Default)]
struct Found {
    accepted: u64,
    empty_lines: u64,
    dropped: u64,
    hours: BTreeMap<Hour, u64>,
    rows: Vec<Vec<Json>>,
    /// By reason: how many, and the first one's detail and line.
    rejected: BTreeMap<String, (u64, String, String)>,
}

/// The part of a quarantine record that is shown.
#[derive(Deserialize)]
struct Record {
    reason: String,
    detail: String,
    #[serde(default, alias = "line_base64")]
    line: String,
}

/// Tries the stream on the capture on standard input; without one, its file alone is looked at.
pub(crate) fn check(stream: &Stream, settings: &Settings) -> anyhow::Result<Outcome> {
    let (model, capture) = (&stream.model, capture()?);
    if capture.is_empty() {
        let columns = model.columns.iter().map(|column| {
            let time = if column.name == model.time_column() { "places the row" } else { "" };
            vec![column.name.as_str().into(), column.column_type.to_string().into(), time.into()]
        });
        print("", &["column", "type", ""], columns)?;
        return Ok(Outcome::Done);
    }
    let found = look(model, settings, capture)?;
    let counted =
        [("rows or messages accepted", found.accepted), ("empty lines", found.empty_lines), ("dropped", found.dropped)];
    let counted = counted.into_iter().filter(|(what, number)| *number > 0 || what.contains("accepted"));
    let rejected = found.rejected.iter().map(|(reason, (number, ..))| (format!("rejected: {reason}"), *number));
    let all = counted.map(|(what, number)| (what.to_owned(), number)).chain(rejected);
    print("", &["found", "number"], all.map(|(what, number)| vec![what.into(), number.into()]))?;
    let examples = found.rejected.iter().map(|(reason, (_, detail, line))| {
        vec![reason.as_str().into(), detail.as_str().into(), line.chars().take(120).collect::<String>().into()]
    });
    print("The first rejected of each reason", &["reason", "detail", "message"], examples)?;
    let hours = found.hours.iter().take(HOURS).map(|(hour, rows)| vec![hour.to_string().into(), (*rows).into()]);
    let more = found.hours.len().saturating_sub(HOURS);
    let title =
        if more > 0 { format!("Rows by hour, and {} more", count(more, "hour")) } else { "Rows by hour".to_owned() };
    print(&title, &["hour", "rows"], hours)?;
    let columns: Vec<_> = model.columns.iter().map(|column| column.name.as_str()).collect();
    print("The first rows", &columns, found.rows.into_iter())?;
    Ok(if found.rejected.is_empty() { Outcome::Done } else { Outcome::Partial })
}

/// Validates a capture as if it came in now.
fn look(model: &Arc<Model>, settings: &Settings, mut capture: Vec<u8>) -> anyhow::Result<Found> {
    let bounds = Bounds {
        earliest: settings.earliest.start_micros(),
        ahead: i64::try_from(settings.max_ahead.as_micros()).unwrap_or(i64::MAX),
        hours: usize::MAX,
    };
    let mut validator = Validator::new(Decoder::new(model.clone()), bounds);
    let (mut framing, mut batch) = (Framing::new(model.frame, settings.max_line), Batch::default());
    let (mut found, mut at, now) = (Found::default(), 0, Utc::now());
    loop {
        let rest = capture.get(at..).unwrap_or_default();
        let all = validator.validate(&mut batch, &mut framing, rest, SOURCE, now);
        found.add(model, &batch, rest)?;
        at += batch.taken;
        if all {
            break;
        }
    }
    let rest = capture.split_off(at);
    if !rest.is_empty() {
        // A capture has a definite end, as a pipe.
        if validator.accepts(&rest) {
            let line = [rest.as_slice(), b"\n"].concat();
            validator.validate(&mut batch, &mut framing, &line, SOURCE, now);
            found.add(model, &batch, &line)?;
        } else {
            batch.reject_unfinished(&rest, "the input ended inside this line", SOURCE.words, now);
            found.add(model, &batch, &rest)?;
        }
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, model: &Arc<Model>, batch: &Batch, block: &[u8]) -> anyhow::Result<()> {
        self.empty_lines += batch.empty_lines;
        self.dropped += batch.dropped;
        let (bytes, mut decoder) = (batch.bytes(block), Decoder::new(model.clone()));
        for run in &batch.runs {
            let lines: Vec<u8> =
                run.pieces.iter().flat_map(|piece| bytes.get(piece.clone()).unwrap_or_default()).copied().collect();
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                self.accepted += 1;
                *self.hours.entry(run.hour).or_default() += 1;
                if self.rows.len() < ROWS {
                    let mut row = Vec::new();
                    decoder.record(line, &mut row)?;
                    self.rows.push(
                        model
                            .columns
                            .iter()
                            .zip(&row)
                            .map(|(column, value)| shown(&column.column_type, value))
                            .collect(),
                    );
                }
            }
        }
        for record in batch.rejected.split(|byte| *byte == b'\n').filter(|record| !record.is_empty()) {
            let Record { reason, detail, line } = serde_json::from_slice(record)?;
            self.rejected.entry(reason).or_insert_with(|| (0, detail, line)).0 += 1;
        }
        Ok(())
    }
}

/// A value as it is printed.
fn shown(column_type: &ColumnType, value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Double(value) => (*value).into(),
        Value::Text(text) => text.as_ref().into(),
        value => value.text(column_type).into(),
    }
}

fn print(title: &str, columns: &[&str], rows: impl Iterator<Item = Vec<Json>>) -> anyhow::Result<()> {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let mut printed = || -> io::Result<()> {
        let mut out = io::stdout().lock();
        if !title.is_empty() {
            writeln!(out, "\n{title}")?;
        }
        let mut table = Table::new(out, Format::Table, columns.iter().copied())?;
        rows.try_for_each(|row| table.row(row))?;
        table.finish()
    };
    printed().context("cannot print")
}
