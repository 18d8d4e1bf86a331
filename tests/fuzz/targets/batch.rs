//! A source's bytes, cut anywhere and validated by workers of which some die: what is written to raw/, what is quarantined
//! and what is left are the input, each byte once, and every line is where it belongs when it is validated by itself.
#![no_main]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

// The modules of the program, which name each other as they do there. A program has no library to depend on.
#[allow(dead_code, reason = "what only the program needs")]
#[path = "../../../crates/tcp-ingest/src/batch.rs"]
mod batch;
mod cuts;
mod edit;
#[allow(dead_code, reason = "what only the program needs")]
#[path = "../../../crates/tcp-ingest/src/framing.rs"]
mod framing;
#[allow(dead_code, reason = "what only the program needs")]
#[path = "../../../crates/tcp-ingest/src/validator.rs"]
mod validator;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use batch::Batch;
use chrono::{DateTime, Utc};
use cuts::Input;
use framing::{Framing, Part};
use layout::Hour;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use models::{Decoder, Frame, Model, Reason, Streams};
use serde_json::Value as Json;
use validator::{Bounds, Source, Validator};

/// 2025-09-02T10:40:00Z
const NOW: i64 = 1_756_809_600;
const BOUNDS: Bounds = Bounds { earliest: 0, ahead: 86_400_000_000, hours: 3 };

fuzz_target!(|bytes: &[u8]| {
    let Some(input) = Input::new(bytes) else { return };
    for name in ["telemetry", "measurement"] {
        receive(STREAMS.get(name).unwrap().unwrap(), &input);
    }
});

static STREAMS: LazyLock<Streams> = LazyLock::new(Streams::shipped);

const SOURCE: Source<'static> = Source { words: "fuzz", peer: None, listener: "" };

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    edit::mutate(data, size, max_size, seed, cuts::HEADER)
});

/// Takes the input in batches, as a connection does.
fn receive(model: &Arc<Model>, input: &Input<'_>) {
    let now = DateTime::from_timestamp_secs(NOW).unwrap();
    let new_validator = || Validator::new(Decoder::new(model.clone()), BOUNDS);
    let (mut validator, mut framing, mut batch) =
        (new_validator(), Framing::new(Frame::Lines, input.max_line), Batch::default());
    let mut at = 0;
    for arrived in input.blocks() {
        let mut suspect = arrived.suspect;
        loop {
            let block = &input.text[at..arrived.end];
            if arrived.successor {
                validator = new_validator();
                framing = Framing::resume(Frame::Lines, input.max_line, framing.inside_too_long());
            }
            let mut expected = Expected {
                model: model.clone(),
                now,
                framing: framing.clone(),
                written: HashMap::new(),
                rejected: vec![],
                empty_lines: 0,
            };
            let suspected = std::mem::take(&mut suspect) && !block.is_empty();
            let all = if suspected {
                batch.reject_unparsed(&mut framing, block, "fuzz", now);
                expected.unparsed(&block[..batch.taken]);
                false
            } else {
                let all = validator.validate(&mut batch, &mut framing, block, SOURCE, now);
                expected.validated(&block[..batch.taken]);
                let full = batch.runs.len() == BOUNDS.hours || batch.rejected.len() >= 1 << 20;
                assert_eq!(all, !full, "a batch ends when it is full, and not before");
                assert!(!all || expected.framing.clone().next(&block[batch.taken..]).is_none(), "a line was left");
                all
            };
            expected.compare(&batch, block, &framing);
            at += batch.taken;
            if all {
                break;
            }
        }
    }
    let left = &input.text[at..];
    batch.reject_unfinished(left, "the end", "fuzz", now);
    let empty_lines = u64::from(left == b"\r");
    let mut rejected = vec![(Reason::Unfinished.label().to_owned(), left.to_vec())];
    rejected.retain(|(_, line)| line != b"\r");
    let expected = Expected {
        model: model.clone(),
        now,
        framing: framing.clone(),
        written: HashMap::new(),
        rejected,
        empty_lines,
    };
    expected.compare(&batch, left, &framing);
    assert_eq!(at + batch.taken, input.text.len());
}

/// What a batch has to be.
struct Expected {
    model: Arc<Model>,
    now: DateTime<Utc>,
    framing: Framing,
    /// The bytes for each hour.
    written: HashMap<Hour, Vec<u8>>,
    /// Reasons and bytes.
    rejected: Vec<(String, Vec<u8>)>,
    empty_lines: u64,
}

impl Expected {
    /// Takes the lines of `block`, each validated as if it were the first.
    fn validated(&mut self, mut block: &[u8]) {
        while let Some((part, taken)) = self.framing.next(block) {
            match part {
                Part::Line([]) => self.empty_lines += 1,
                Part::Line(line) => match self.hour(line) {
                    Ok(hour) => {
                        let stamp = format!("{{\"arrival_time_us\":{},\"message\":", self.now.timestamp_micros());
                        let written = self.written.entry(hour).or_default();
                        match self.model.event_time {
                            Some(_) => written.extend_from_slice(line),
                            None => written.extend_from_slice(&[stamp.as_bytes(), line, b"}"].concat()),
                        }
                        written.push(b'\n');
                    }
                    Err(reason) => self.reject(reason, line),
                },
                Part::Blank | Part::TooLong(b"") => {}
                Part::TooLong(piece) => self.reject(Reason::TooLong, piece),
            }
            block = &block[taken..];
        }
        assert!(block.is_empty(), "a batch takes whole lines");
    }

    /// Takes what is not parsed.
    fn unparsed(&mut self, mut block: &[u8]) {
        while let Some((part, taken)) = self.framing.next(block) {
            match part {
                Part::Line([]) => self.empty_lines += 1,
                Part::Blank | Part::TooLong([]) => {}
                Part::Line(line) | Part::TooLong(line) => self.reject(Reason::Poison, line),
            }
            block = &block[taken..];
        }
        if !block.is_empty() {
            assert!(
                self.rejected.is_empty() && self.empty_lines == 0,
                "an incomplete line is taken only if there is no other"
            );
            self.reject(Reason::Poison, block);
            self.framing.break_line();
        }
    }

    fn reject(&mut self, reason: Reason, line: &[u8]) {
        self.rejected.push((reason.label().to_owned(), line.to_vec()));
    }

    fn hour(&self, line: &[u8]) -> Result<Hour, Reason> {
        let event_time = Decoder::new(self.model.clone()).message(line).map_err(|rejection| rejection.reason)?;
        let Some(micros) = event_time else { return Ok(Hour::of(self.now)) };
        let allowed = BOUNDS.earliest..=self.now.timestamp_micros() + BOUNDS.ahead;
        Hour::of_micros(micros).filter(|_| allowed.contains(&micros)).ok_or(Reason::TimeOutOfBounds)
    }

    fn compare(&self, batch: &Batch, block: &[u8], framing: &Framing) {
        let bytes = batch.bytes(block);
        let mut written: HashMap<_, Vec<u8>> = HashMap::new();
        for run in &batch.runs {
            let twice =
                written.insert(run.hour, run.pieces.iter().flat_map(|piece| &bytes[piece.clone()]).copied().collect());
            assert!(twice.is_none(), "an hour has two runs");
        }
        assert_eq!(written, self.written, "{}", self.model.name);
        let records = batch.rejected.split_inclusive(|byte| *byte == b'\n');
        assert_eq!(records.map(rejected).collect::<Vec<_>>(), self.rejected, "{}", self.model.name);
        let lines: usize = written.values().map(|lines| memchr::memchr_iter(b'\n', lines).count()).sum();
        assert_eq!(batch.lines, lines as u64);
        assert_eq!(batch.empty_lines, self.empty_lines);
        for reason in Reason::ALL {
            let count = self.rejected.iter().filter(|(label, _)| label == reason.label()).count();
            assert_eq!(batch.rejects[reason.index()], count as u64);
        }
        assert_eq!(framing.inside_too_long(), self.framing.inside_too_long());
    }
}

/// The reason and the bytes of a record of the quarantine.
fn rejected(record: &[u8]) -> (String, Vec<u8>) {
    let record: Json = serde_json::from_slice(record).unwrap();
    let line = match (&record["line"], &record["line_base64"]) {
        (Json::String(line), Json::Null) => line.clone().into_bytes(),
        (Json::Null, Json::String(line)) => base64::engine::general_purpose::STANDARD.decode(line).unwrap(),
        _ => panic!("a record without a line, or with two: {record}"),
    };
    (record["reason"].as_str().unwrap().to_owned(), line)
}
