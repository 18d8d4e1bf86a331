//! A decoder that has learnt the shape of lines treats every line as one that has seen none, with equal values.

use std::sync::Arc;

use models::{Decoder, Model, Rejection, Repeated};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::model;

/// Lines that are taught, as several devices would send them.
const TAUGHT: [&str; 6] = [
    r#"{"timestamp": 1756771200, "sensor_id": 7, "measurement": {"kind": "Temperature", "value": 21.5, "unit": "Celcius"}}"#,
    r#"{"sensor_id":7,"measurement":{"unit":"Celsius","value":-3,"kind":"Temperature"},"timestamp":0}"#,
    "{\"timestamp\":1,\"sensor_id\":-1,\"measurement\":{\"kind\":\"Temperature\",\"value\":\"off\",\"unit\":\"Fahrenheit\"}}\r",
    r#" {"x":[1,{"timestamp":5}],"timestamp": 1756771200 ,"sensor_id": 7,"y":{"sensor_id":9},"measurement":{"kind":"Temperature","value":1e3,"unit":"Celcius"} } "#,
    r#"{"sensor_id": 12, "timestamp": 7, "note": "a \"b\\", "measurement": {"kind": "Temperature", "value": 0.25, "unit": "Celcius", "sensor_id": 1}}"#,
    r#"{"s\u0065nsor_id": 12, "timestamp": 7, "measurement": {"kind": "Temperature", "value": 0.25, "unit": "Celcius"}}"#,
];

/// What stands for a value in a line, or anywhere else.
const VALUES: [&str; 46] = [
    "0",
    "-0",
    "0.0",
    "-0.0",
    "00",
    "01",
    "-1",
    "-01",
    "1.",
    ".5",
    "1.0",
    "1.50",
    "1e2",
    "1E2",
    "1e999",
    "1.5e-3",
    "123456789012345678",
    "1234567890123456789",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "9223372036854",
    "9223372036855",
    "0.1",
    "0.30000000000000004",
    "123456789.123456",
    "1234567890.123456",
    "99999999999999.9",
    "0.000000000000001",
    "2.2250738585072011e-308",
    "179.769",
    "\"\"",
    "\"off\"",
    "\"a\\\"b\"",
    "\"\\u00e4\"",
    "\"ä\"",
    "\"\u{7f}\"",
    "\"\u{1}\"",
    "\"Celcius\"",
    "\"Celsius\"",
    "\"Fahrenheit\"",
    "\"Kelvin\"",
    "null",
    "true",
    "[1]",
    "{}",
];

const SLOTS: [&str; 12] =
    ["1756771200", ": 7,", "21.5", "\"Celcius\"", ":7,", "-3", "\"Celsius\"", ":0}", "\"off\"", "0.25", ": 12,", "1e3"];

/// The outcome and the values, as text that tells -0.0 from 0.0.
fn outcome(decoder: &mut Decoder, line: &[u8]) -> String {
    let mut row = Vec::new();
    let record = decoder.record(line, &mut row).map(|()| row);
    format!("{record:?} {:?}", validated(decoder, line))
}

/// The outcome on a message, first as the front of a block if the decoder knows it as such.
fn validated(decoder: &mut Decoder, line: &[u8]) -> Result<Option<i64>, Rejection> {
    for terminator in ["\n", "\r\n"] {
        let block = [line, terminator.as_bytes(), b"{\n"].concat();
        if let Some(Repeated { length, taken, event_time }) = decoder.repeated(&block) {
            // Its end is where framing finds it.
            let end = block.iter().position(|byte| *byte == b'\n').unwrap();
            let text = block[..end].strip_suffix(b"\r").unwrap_or(&block[..end]);
            assert_eq!((taken, length), (end + 1, text.len()));
            assert_eq!(Decoder::new(decoder.model().clone()).message(text), Ok(event_time));
        }
        // What is not complete is nobody's message.
        assert_eq!(decoder.repeated(line), None);
    }
    let known = decoder.repeated(&[line, b"\n"].concat()).map(|repeated| repeated.event_time);
    known.map_or_else(|| decoder.message(line), Ok)
}

fn taught(model: &Arc<Model>, lines: &[&str]) -> Decoder {
    let mut decoder = Decoder::new(model.clone());
    for line in lines {
        let _ = decoder.message(line.as_bytes());
        let _ = decoder.record(line.as_bytes(), &mut Vec::new());
    }
    decoder
}

/// A line with one of its values (or any text of that look) replaced, then perhaps a byte changed, added or lost.
fn variants() -> impl Strategy<Value = Vec<u8>> {
    let replaced = (any::<Index>(), proptest::collection::vec((any::<Index>(), any::<Index>()), 0..3)).prop_map(
        |(line, changes)| {
            let mut line = (*line.get::<&str>(&TAUGHT)).to_owned();
            for (slot, value) in changes {
                let slot = slot.get::<&str>(&SLOTS);
                let bare = slot.trim_matches([':', ',', ' ', '}']);
                line = line.replacen(slot, &slot.replace(bare, value.get::<&str>(&VALUES)), 1);
            }
            line.into_bytes()
        },
    );
    (replaced, 0..6u8, any::<Index>(), any::<u8>()).prop_map(|(mut line, change, at, byte)| {
        let at = at.index(line.len());
        match change {
            0 => line[at] = byte,
            1 => line.insert(at, byte),
            2 => drop(line.remove(at)),
            _ => {}
        }
        line
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn learning_changes_no_outcome_and_no_value(lines in proptest::collection::vec(variants(), 1..4)) {
        let model = model("telemetry");
        let mut warm = taught(&model, &TAUGHT);
        for line in lines {
            let cold = outcome(&mut Decoder::new(model.clone()), &line);
            prop_assert_eq!(outcome(&mut warm, &line), cold, "{}", String::from_utf8_lossy(&line));
        }
    }

    #[test]
    fn lines_that_differ_in_digits_alone_get_the_outcome_and_time_of_the_parser(
        sent in proptest::collection::vec(
            ("-?[0-9]{7,13}|[0-9]{18,19}", "-?[0-9]{1,2}", "-?[0-9]{1,2}(\\.[0-9]{1,2})?", select(&["Celcius", "Celsius"][..]), "[ \r]?"),
            1..40,
        ),
    ) {
        let model = model("telemetry");
        let mut warm = Decoder::new(model.clone());
        for (time, sensor, value, unit, end) in sent {
            let line = TAUGHT[0].replace("21.5", &value).replace(": 7,", &format!(": {sensor},")).replace("Celcius", unit);
            let start = line.find("timestamp\":").unwrap() + 11;
            let digits = line[start..].find(',').unwrap();
            let line = format!("{} {time}{}{end}", &line[..start], &line[start + digits..]);
            let cold = Decoder::new(model.clone()).message(line.as_bytes());
            for _ in 0..3 {
                prop_assert_eq!(&validated(&mut warm, line.as_bytes()), &cold, "{}", line);
            }
        }
    }

    #[test]
    fn every_decimal_number_is_read_alike(number in "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{0,19})?([eE][+-]?[0-9]{1,3})?") {
        let model = model("telemetry");
        let line = TAUGHT[0].replace("21.5", &number);
        prop_assert_eq!(
            outcome(&mut taught(&model, &TAUGHT[..1]), line.as_bytes()),
            outcome(&mut Decoder::new(model.clone()), line.as_bytes())
        );
        let line = TAUGHT[0].replace(": 7,", &format!(": {number},"));
        prop_assert_eq!(
            outcome(&mut taught(&model, &TAUGHT[..1]), line.as_bytes()),
            outcome(&mut Decoder::new(model.clone()), line.as_bytes())
        );
    }
}

#[test]
fn envelopes_are_learnt_as_well() {
    let model = model("measurement");
    let line =
        r#"{"arrival_time_us":1756771200000001,"message":{"kind":"Temperature","value":20.25,"unit":"Celsius"}}"#;
    let mut warm = taught(&model, &[line]);
    for (from, to) in [("20.25", "-7"), ("20.25", "\"n/a\""), ("0001", "0001.0"), ("Celsius", "Kelvin"), ("}}", "} }")]
    {
        let line = line.replace(from, to);
        assert_eq!(outcome(&mut warm, line.as_bytes()), outcome(&mut Decoder::new(model.clone()), line.as_bytes()));
    }
}

#[test]
fn more_shapes_than_are_kept_do_no_harm() {
    let model = model("telemetry");
    let mut warm = Decoder::new(model.clone());
    for round in 0..1000 {
        let spaces = " ".repeat(round * 7 % 13);
        let line = TAUGHT[round % 5].replacen(',', &format!(",{spaces}"), 1);
        assert_eq!(outcome(&mut warm, line.as_bytes()), outcome(&mut Decoder::new(model.clone()), line.as_bytes()));
    }
}

#[test]
fn a_message_that_repeats_another_in_all_but_digits_is_known_in_front_of_others() {
    let model = model("telemetry");
    let mut decoder = Decoder::new(model.clone());
    let line = TAUGHT[0].as_bytes();
    let block = [line, b"\r\n", line, b"\n"].concat();
    assert_eq!(decoder.repeated(&block), None);
    // Accepted, shaped, and then known.
    decoder.message(line).unwrap();
    decoder.message(line).unwrap();
    let known = Repeated { length: line.len(), taken: line.len() + 2, event_time: Some(1_756_771_200_000_000) };
    assert_eq!(decoder.repeated(&block), Some(known));
    assert_eq!(decoder.repeated(&block[known.taken..]), Some(Repeated { taken: line.len() + 1, ..known }));
}
