//! `--replay`: what is in the quarantine is judged again, after the stream file was mended. What is accepted now goes to
//! raw/, exactly once; the rest stays where it is.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use cli::{CommonArgs, Outcome, TryAgain, count};
use layout::{DatasetLock, Draft, Hour, HourRange, Name, Replay, StreamVersion, Tree};
use models::{Decoder, Streams};
use serde::Deserialize;

use crate::batch::Batch;
use crate::framing::Framing;
use crate::streams::StreamFiles;
use crate::validator::{Bounds, Source, Validator};

/// The limits of times are the usual ones, whatever was said to the program that received: a replay that was begun and is
/// done again has to accept the same messages, because the segments that it makes have the same names.
const BOUNDS: Bounds = Bounds { earliest: 0, ahead: 86_400_000_000, hours: usize::MAX };

/// The reasons that a stream file decides. What was torn, cut or poison is not judged again.
const JUDGED: [&str; 9] = [
    "not_utf8",
    "not_json",
    "missing_field",
    "duplicate_key",
    "wrong_type",
    "unknown_value",
    "out_of_range",
    "constraint",
    "no_case",
];

/// A record of the quarantine.
#[derive(Deserialize)]
struct Record {
    time: DateTime<Utc>,
    source: String,
    reason: String,
    line: Option<String>,
    line_base64: Option<String>,
}

pub(crate) fn replay(common: &CommonArgs, name: &Name, range: HourRange) -> anyhow::Result<Outcome> {
    let tree = common.existing_tree()?;
    let stream = StreamFiles::read(common, false)?.stream(name)?;
    // Not beside another replay; and compact comes after it.
    let Some(lock) = DatasetLock::try_acquire(&tree, name)? else {
        return Err(TryAgain(format!("{name}: another process has the lock; try again later")).into());
    };
    tree.use_stream_version(name, &stream.model.text)?;
    let known = common.streams()?;
    let (mut accepted, mut left) = (0, 0);
    for mut replay in tree.replays(&lock, name, range, stream.version)? {
        let mut judge = Judge::new(&tree, &known, name, replay.version())?;
        // Nothing of it would be accepted: then it stays as it is.
        if replay.segment().path.exists() && judge.accepts_any(&replay.segment().path)? {
            replay.begin(&tree)?;
            let (taken, rest) = judge.replay(replay)?;
            accepted += taken;
            left += rest;
        } else {
            left += judge.records;
        }
    }
    log::info!("{name}: {} accepted, {} left in the quarantine", count(accepted, "message"), count(left, "record"));
    Ok(if left == 0 { Outcome::Done } else { Outcome::Partial })
}

/// Judges records by one version of a stream.
struct Judge<'t> {
    tree: &'t Tree,
    validator: Validator,
    framing: Framing,
    batch: Batch,
    /// The message that was judged last, with its line end.
    line: Vec<u8>,
    /// Records that were read and not accepted.
    records: u64,
}

impl<'t> Judge<'t> {
    fn new(tree: &'t Tree, known: &Streams, name: &Name, version: StreamVersion) -> anyhow::Result<Self> {
        let model = known.version(name.as_str(), &version.to_string()).context("there is no such stream")?;
        let model = model.map_err(Clone::clone)?.clone();
        // The record is one message, however it was framed.
        let framing = Framing::new(models::Frame::Lines, usize::MAX / 2);
        let validator = Validator::new(Decoder::new(model), BOUNDS);
        Ok(Self { tree, validator, framing, batch: Batch::default(), line: Vec::new(), records: 0 })
    }

    /// Judges the message of a record. Its records in raw/ are in the batch then, if it is accepted.
    fn judge(&mut self, record: &[u8]) -> bool {
        let Ok(Record { time, source, reason, line, line_base64 }) = serde_json::from_slice(record) else {
            return false;
        };
        let line = line.map(String::into_bytes).or_else(|| BASE64.decode(line_base64?).ok());
        let Some(mut line) = line.filter(|_| JUDGED.contains(&reason.as_str())) else { return false };
        // A document may span lines, and a record does not.
        line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        line.push(b'\n');
        self.line = line;
        let peer = source.strip_prefix("tcp ").and_then(|peer| peer.parse().ok());
        let source = Source { words: &source, peer, listener: "" };
        self.validator.validate(&mut self.batch, &mut self.framing, &self.line, source, time);
        self.batch.rejected.is_empty() && self.batch.lines + self.batch.dropped > 0
    }

    fn accepts_any(&mut self, path: &Path) -> anyhow::Result<bool> {
        self.records = 0;
        for record in BufReader::new(File::open(path)?).split(b'\n') {
            if self.judge(&record?) {
                return Ok(true);
            }
            self.records += 1;
        }
        Ok(false)
    }

    /// Returns how many messages were accepted, and how many records are left.
    fn replay(&mut self, replay: Replay) -> anyhow::Result<(u64, u64)> {
        let mut hours: BTreeMap<Hour, (Draft, BufWriter<File>)> = BTreeMap::new();
        let rest = replay.draft_rest()?;
        let mut left = BufWriter::new(File::create(rest.path())?);
        let (mut accepted, mut records) = (0, 0);
        let segment = BufReader::new(File::open(&replay.segment().path)?);
        for record in segment.split(b'\n') {
            let record = record?;
            if !self.judge(&record) {
                left.write_all(&record)?;
                left.write_all(b"\n")?;
                records += 1;
                continue;
            }
            accepted += 1;
            let bytes = self.batch.bytes(&self.line);
            for run in &self.batch.runs {
                let (_, file) = match hours.entry(run.hour) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        let draft = replay.draft(self.tree, run.hour)?;
                        let file = BufWriter::new(File::create(draft.path())?);
                        new.insert((draft, file))
                    }
                };
                run.pieces.iter().try_for_each(|piece| file.write_all(bytes.get(piece.clone()).unwrap_or_default()))?;
            }
        }
        left.flush()?;
        let mut drafts = Vec::new();
        for (draft, mut file) in hours.into_values() {
            file.flush()?;
            drafts.push(draft);
        }
        replay.finish(drafts, (records > 0).then_some(rest))?;
        Ok((accepted, records))
    }
}
