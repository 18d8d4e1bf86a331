//! What the decoder promises for every line there is: it never panics, takes what the model describes however it is
//! written, refuses everything else, and reads back from raw/ what it took from a source.

use models::{Decoder, Reason, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value as Json, json};

use crate::model;

const UNITS: [&str; 3] = ["Celcius", "Celsius", "Fahrenheit"];

/// A measured value: a number as a device may write it, or a text.
fn any_value() -> impl Strategy<Value = Json> {
    prop_oneof![
        any::<f64>().prop_filter("JSON has no other numbers", |value| value.is_finite()).prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ]
}

/// Any JSON, for members that no model knows; few levels, many shapes.
fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![Just(Json::Null), any::<bool>().prop_map(Json::from), any_value()];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::from),
            vec((any::<String>(), inner), 0..4).prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

/// One of the ways to write an object: its members in any order, unknown ones among them, with any spacing.
fn written(known: Vec<(&'static str, String)>) -> impl Strategy<Value = String> {
    let unknown = proptest::collection::btree_map("[a-z]{0,3}_|[äß\"\\\\\n]{1,3}", any_json(), 0..3);
    let space = vec(select(vec!["", " ", "\t", "  \r"]), 16);
    (unknown, space, any::<bool>()).prop_flat_map(move |(unknown, space, escaped)| {
        let mut members: Vec<_> = unknown.iter().map(|(key, value)| (key.clone(), value.to_string())).collect();
        members.extend(known.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        Just(members).prop_shuffle().prop_map(move |members| {
            let mut spaces = space.iter().cycle();
            let mut gap = || *spaces.next().unwrap();
            let members = members.into_iter().map(|(key, value)| {
                let mut key = serde_json::to_string(&key).unwrap();
                if escaped && key.len() > 2 && key.as_bytes()[1].is_ascii_lowercase() {
                    // The same key, written with an escape.
                    key = format!("\"\\u{:04x}{}", key.as_bytes()[1], &key[2..]);
                }
                format!("{}{key}{}:{}{value}{}", gap(), gap(), gap(), gap())
            });
            let members: Vec<_> = members.collect();
            format!("{}{{{}}}{}", gap(), members.join(","), gap())
        })
    })
}

/// A measurement, as a device may write it, with the values that are in it.
fn any_measurement() -> impl Strategy<Value = (String, (Json, u32))> {
    (any_value(), 0..3_u32).prop_flat_map(|(value, unit)| {
        let known =
            vec![("kind", json!("Temperature")), ("value", value.clone()), ("unit", json!(UNITS[unit as usize]))];
        let known = known.into_iter().map(|(key, value)| (key, value.to_string())).collect();
        (written(known), Just((value, unit)))
    })
}

/// A telemetry message with the values that are in it.
fn any_telemetry() -> impl Strategy<Value = (String, (i64, i64, Json, u32))> {
    (any_measurement(), -9_000_000_000_000i64..9_000_000_000_000, any::<i64>()).prop_flat_map(
        |((measurement, (value, unit)), time, sensor)| {
            let known =
                vec![("timestamp", time.to_string()), ("sensor_id", sensor.to_string()), ("measurement", measurement)];
            (written(known), Just((time, sensor, value, unit)))
        },
    )
}

/// The two columns of a measured value.
fn columns(value: &Json) -> [Value<'_>; 2] {
    match value {
        Json::String(text) => [Value::Null, Value::Text(text.into())],
        number => [Value::Double(number.as_f64().unwrap()), Value::Null],
    }
}

fn decoder(name: &str) -> Decoder {
    Decoder::new(model(name))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_reading_is_taken_however_it_is_written((line, (time, sensor, value, unit)) in any_telemetry()) {
        let mut decoder = decoder("telemetry");
        prop_assert_eq!(decoder.message(line.as_bytes()), Ok(Some(time * 1_000_000)), "{}", line);
        let mut row = Vec::new();
        decoder.record(line.as_bytes(), &mut row).unwrap();
        let [number, text] = columns(&value);
        let expected = [
            Value::Micros(time * 1_000_000), Value::Int(sensor), Value::OneOf(0), number, text,
            Value::OneOf(unit),
        ];
        prop_assert_eq!(&row[..], &expected[..], "{}", line);
    }

    #[test]
    fn a_measurement_that_is_taken_is_a_record_in_its_envelope(
        (line, (value, unit)) in any_measurement(),
        arrival in any::<i64>(),
    ) {
        let mut decoder = decoder("measurement");
        prop_assert_eq!(decoder.message(line.as_bytes()), Ok(None));
        let record = format!("{{\"arrival_time_us\":{arrival},\"message\":{line}}}");
        let mut row = Vec::new();
        decoder.record(record.as_bytes(), &mut row).unwrap();
        let [number, text] = columns(&value);
        let expected =
            [Value::Micros(arrival), Value::OneOf(0), number, text, Value::OneOf(unit)];
        prop_assert_eq!(&row[..], &expected[..], "{}", line);
    }

    #[test]
    fn damage_is_refused_or_leaves_a_message_and_what_is_taken_is_always_a_record(
        (line, _) in any_telemetry(),
        (inner, _) in any_measurement(),
        changes in vec((any::<Index>(), prop_oneof![any::<u8>(), select(b"{}[]\",:0.-eE\\u\0 ".to_vec())]), 0..4),
        cut in proptest::option::of(any::<Index>()),
    ) {
        for (name, line, envelope) in [("telemetry", line, false), ("measurement", inner, true)] {
            let mut bytes = line.into_bytes();
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            if let Some(cut) = &cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let mut decoder = decoder(name);
            let accepted = decoder.message(&bytes);
            let record = if envelope { [b"{\"arrival_time_us\":1,\"message\":", &bytes[..], b"}"].concat() } else { bytes.clone() };
            let mut row = Vec::new();
            match accepted {
                Ok(time) => {
                    prop_assert!(std::str::from_utf8(&bytes).is_ok());
                    // Not as values: a number in an ignored field may be beyond what a double holds.
                    prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok());
                    prop_assert_eq!(bytes.trim_ascii_start().first(), Some(&b'{'));
                    prop_assert_eq!(time.is_some(), !envelope);
                    prop_assert_eq!(decoder.record(&record, &mut row), Ok(()));
                    prop_assert!(row.iter().all(|value| !matches!(value, Value::Double(number) if !number.is_finite())));
                }
                Err(rejection) => {
                    prop_assert!(!rejection.detail.is_empty());
                    prop_assert!(rejection.detail.len() < 1000, "{}", rejection.detail);
                    if !envelope {
                        prop_assert!(decoder.record(&record, &mut row).is_err());
                    }
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop_oneof![
        vec(any::<u8>(), 0..300),
        "[{}\\[\\]\",:0-9.eE\\\\a-z -]{0,80}".prop_map(String::into_bytes),
    ]) {
        for name in ["telemetry", "measurement"] {
            let mut decoder = decoder(name);
            let _ = decoder.record(&bytes, &mut Vec::new());
            if let Err(rejection) = decoder.message(&bytes) {
                prop_assert_eq!(rejection.reason == Reason::NotUtf8, std::str::from_utf8(&bytes).is_err());
            }
        }
    }

    #[test]
    fn a_value_of_another_type_names_its_field((line, _) in any_telemetry(), other in any_json(), field in 0..4usize) {
        let (key, takes): (_, fn(&Json) -> bool) = [
            ("timestamp", Json::is_i64 as fn(&Json) -> bool),
            ("sensor_id", Json::is_i64),
            ("measurement", |_| false),
            ("unit", |value| value.as_str().is_some_and(|unit| UNITS.contains(&unit))),
        ][field];
        let mut message: Json = serde_json::from_str(&line).unwrap();
        let object = if key == "unit" { &mut message["measurement"] } else { &mut message };
        object[key] = other.clone();
        prop_assume!(!takes(&other));
        let rejection = decoder("telemetry").message(message.to_string().as_bytes()).unwrap_err();
        prop_assert!(rejection.detail.contains(key), "{}", rejection.detail);
    }
}

#[test]
fn unknown_members_may_be_nested_as_deep_as_a_line_is_long() {
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let line = format!(r#"{{"x":{deep},"kind":"Temperature","value":1,"unit":"Celsius"}}"#);
    let mut decoder = decoder("measurement");
    let record = format!(r#"{{"arrival_time_us":1,"message":{line}}}"#);
    assert_eq!(decoder.message(line.as_bytes()), Ok(None));
    assert_eq!(decoder.record(record.as_bytes(), &mut Vec::new()), Ok(()));
}
