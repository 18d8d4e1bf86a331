//! A decoder that has learnt what lines look like decodes every line as one that has learnt nothing, which leaves them all
//! to `serde_json`: the same decision, the same reason, the same event time, the same values to the last bit.
//!
//! The input is lines, as a source sends them.
#![no_main]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod edit;

use std::path::Path;
use std::sync::{Arc, LazyLock};

use harness::{Random, RandomStream};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use models::{Decoder, Model, Origin, Rejection, Repeated, Streams, Value};

/// How often the lines come: they are learnt, then what is learnt is used, gives way to others, and is used again.
const ROUNDS: usize = 4;

fuzz_target!(|input: &[u8]| {
    let lines: Vec<_> = input.split(|byte| *byte == b'\n').collect();
    let names = ["telemetry".to_owned(), "measurement".to_owned(), (input.len() % RANDOM).to_string()];
    for name in names {
        check(STREAMS.get(&name).unwrap().unwrap(), &lines);
    }
});

/// How many random streams there are; the length of the input says which one it is for.
const RANDOM: usize = 64;

static STREAMS: LazyLock<Streams> = LazyLock::new(|| {
    let mut streams = Streams::shipped();
    for seed in 0..RANDOM {
        let stream = RandomStream::new(&mut Random::with_seed(seed as u64));
        streams.add(&seed.to_string(), Path::new("random.toml"), &stream.file);
    }
    streams
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    edit::mutate(data, size, max_size, seed, 0)
});

type Row<'l> = Result<Vec<Value<'l>>, Rejection>;

/// A line, and what a decoder that has seen no other makes of it.
struct Expected<'l> {
    line: &'l [u8],
    /// The line with its terminator, in front of others.
    block: Vec<u8>,
    message: Result<Option<i64>, Rejection>,
    record: Row<'l>,
}

impl<'l> Expected<'l> {
    fn cold(model: &Arc<Model>, line: &'l [u8]) -> Self {
        Self {
            line,
            block: [line, b"\n{\"\n"].concat(),
            message: Decoder::new(model.clone()).message(line),
            record: record(&mut Decoder::new(model.clone()), line),
        }
    }
}

fn check(model: &Arc<Model>, lines: &[&[u8]]) {
    // A message with columns from outside of it is a record in its envelope.
    let mut envelope = Vec::new();
    model.begin_envelope(&Origin { arrival_us: 1, source: None, listener: "" }, &mut envelope);
    let envelopes: Vec<_> = if model.keeps_messages_as_sent() {
        Vec::new()
    } else {
        lines.iter().map(|line| [envelope.as_slice(), line, b"}"].concat()).collect()
    };
    let all: Vec<_> = lines
        .iter()
        .copied()
        .chain(envelopes.iter().map(Vec::as_slice))
        .map(|line| Expected::cold(model, line))
        .collect();
    for (index, one) in all[..lines.len()].iter().enumerate().filter(|(_, one)| one.message.is_ok()) {
        let record = if model.keeps_messages_as_sent() { one } else { &all[lines.len() + index] };
        assert!(record.record.is_ok(), "{} takes a message that is no record: {}", model.name, show(one.line));
    }

    if all.iter().all(|one| one.message.is_err() && one.record.is_err()) {
        return; // there is nothing to learn
    }
    let mut decoder = Decoder::new(model.clone());
    for round in 0..ROUNDS {
        for one in &all {
            // What is refused teaches nothing. It is decoded before anything is learnt, and after.
            let again = round == 0 || round + 1 == ROUNDS;
            if again || one.message.is_ok() {
                if let Some(repeated) = decoder.repeated(&one.block) {
                    check_front(model, one, repeated);
                }
                let message = decoder.message(one.line);
                assert_eq!(message, one.message, "{} message: {}", model.name, show(one.line));
            }
            if again || one.record.is_ok() {
                let record = record(&mut decoder, one.line);
                assert!(
                    same(&record, &one.record),
                    "{} record: {}\n{record:?}\n{:?}",
                    model.name,
                    show(one.line),
                    one.record
                );
            }
        }
    }
}

/// What is known in front of a block ends where framing finds its end, and is decoded alike.
fn check_front(model: &Arc<Model>, one: &Expected<'_>, Repeated { length, taken, event_time }: Repeated) {
    let text = one.line.strip_suffix(b"\r").unwrap_or(one.line);
    assert_eq!((length, taken), (text.len(), one.line.len() + 1), "{} front: {}", model.name, show(one.line));
    let cold = if text == one.line { one.message.clone() } else { Decoder::new(model.clone()).message(text) };
    assert_eq!(Ok(event_time), cold, "{} front: {}", model.name, show(one.line));
}

fn record<'l>(decoder: &mut Decoder, line: &'l [u8]) -> Row<'l> {
    let mut row = Vec::new();
    decoder.record(line, &mut row).map(|()| row)
}

fn same(left: &Row<'_>, right: &Row<'_>) -> bool {
    let bits = |row: &[Value<'_>]| -> Vec<_> {
        let double = |value: &Value<'_>| if let Value::Double(value) = value { Some(value.to_bits()) } else { None };
        row.iter().map(double).collect()
    };
    // Equal doubles may be two zeros.
    left == right && left.as_deref().map(bits) == right.as_deref().map(bits)
}

fn show(line: &[u8]) -> String {
    line.escape_ascii().to_string()
}
