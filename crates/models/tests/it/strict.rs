//! What the strict decoder takes and what it refuses, and in which words.

use models::{ColumnType, Decoder, Reason, Streams, Value};

use crate::model;

const GOOD: &str = r#"{"timestamp": 1756771200, "sensor_id": 7, "measurement": {"kind": "Temperature", "value": 21.5, "unit": "Celcius"}}"#;

fn telemetry() -> Decoder {
    Decoder::new(model("telemetry"))
}

fn rejection(line: impl AsRef<[u8]>) -> (Reason, String) {
    let rejection = telemetry().message(line.as_ref()).expect_err("must be refused");
    (rejection.reason, rejection.detail)
}

#[test]
fn a_reading_becomes_a_row() {
    let mut row = Vec::new();
    telemetry().record(GOOD.as_bytes(), &mut row).unwrap();
    assert_eq!(
        row,
        [
            Value::Micros(1_756_771_200_000_000),
            Value::Int(7),
            Value::OneOf(0),
            Value::Double(21.5),
            Value::Null,
            Value::OneOf(0),
        ]
    );
    assert_eq!(telemetry().message(GOOD.as_bytes()), Ok(Some(1_756_771_200_000_000)));
}

#[test]
fn a_text_value_goes_to_the_text_column() {
    let line = GOOD.replace("21.5", r#""too \"hot\"""#);
    let mut row = Vec::new();
    telemetry().record(line.as_bytes(), &mut row).unwrap();
    assert_eq!((&row[3], &row[4]), (&Value::Null, &Value::Text("too \"hot\"".into())));
}

#[test]
fn any_order_and_unknown_members_are_allowed() {
    let line = r#" {"x":[1,{"y":null}],"measurement":{"unit":"Fahrenheit","z":1e5,"value":-3,"kind":"Temperature"},
        "sensor_id":-9223372036854775808,"timestamp":0} "#
        .replace('\n', "");
    assert_eq!(telemetry().message(line.as_bytes()), Ok(Some(0)));
}

#[test]
fn integers_are_integers() {
    for (found, words) in [
        ("7.0", "the number 7.0"),
        ("\"7\"", "the string \"7\""),
        ("true", "true"),
        ("null", "null"),
        ("[7]", "an array"),
        ("{}", "an object"),
    ] {
        let line = GOOD.replace(": 7,", &format!(": {found},"));
        assert_eq!(
            rejection(line),
            (Reason::WrongType, format!("field `sensor_id`: expected an integer, found {words}"))
        );
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    for (from, to) in [(": 7,", ": 9223372036854775808,"), ("1756771200", "99999999999999"), ("21.5", "1e999")] {
        let (reason, detail) = rejection(GOOD.replace(from, to));
        assert_eq!(reason, Reason::OutOfRange, "{detail}");
        assert!(detail.starts_with("field `"), "{detail}");
    }
}

#[test]
fn missing_doubled_and_unknown_values_name_the_field() {
    assert_eq!(
        rejection(GOOD.replace("\"unit\"", "\"units\"")),
        (Reason::MissingField, "field `measurement.unit`: missing".into())
    );
    assert_eq!(
        rejection(GOOD.replace("\"sensor_id\": 7", "\"sensor_id\": 7, \"sensor_id\": 7")),
        (Reason::DuplicateKey, "field `sensor_id`: the key stands twice".into())
    );
    assert_eq!(
        rejection(GOOD.replace("\"sensor_id\"", "\"a\": 1, \"a\": 1, \"sensor_id\"")),
        (Reason::DuplicateKey, "the key \"a\" stands twice".into())
    );
    assert_eq!(
        rejection(GOOD.replace("Celcius", "Kelvin")),
        (
            Reason::UnknownValue,
            "field `measurement.unit`: expected one of \"Celcius\", \"Celsius\", \"Fahrenheit\", found \"Kelvin\""
                .into()
        )
    );
}

#[test]
fn what_is_not_one_json_object_is_refused() {
    for line in [
        "",
        " ",
        "hello",
        "{",
        &format!("{GOOD}x"),
        GOOD.strip_suffix('}').unwrap(),
        &format!("{GOOD} {GOOD}"),
        "\0\0\0",
    ] {
        assert_eq!(rejection(line).0, Reason::NotJson, "{line}");
    }
    for line in ["42", "[1,2]", "null", "\"x\""] {
        assert_eq!(rejection(line).0, Reason::WrongType, "{line}");
    }
    assert_eq!(rejection("[".repeat(60_000)).0, Reason::WrongType);
}

#[test]
fn invalid_utf8_is_refused_also_inside_what_is_ignored() {
    let mut line = GOOD.replace("\"sensor_id\"", "\"note\": \"?\", \"sensor_id\"").into_bytes();
    let at = line.iter().position(|byte| *byte == b'?').unwrap();
    line[at] = 0xff;
    assert_eq!(rejection(line), (Reason::NotUtf8, format!("invalid UTF-8 at byte {}", at + 1)));
}

#[test]
fn a_measurement_is_stamped_in_its_envelope() {
    let message = r#"{"kind":"Temperature","value":"n/a","unit":"Celsius"}"#;
    let mut decoder = Decoder::new(model("measurement"));
    assert_eq!(decoder.message(message.as_bytes()), Ok(None));
    let record = format!(r#"{{"arrival_time_us":5,"message":{message}}}"#);
    let mut row = Vec::new();
    decoder.record(record.as_bytes(), &mut row).unwrap();
    assert_eq!((&row[0], &row[3]), (&Value::Micros(5), &Value::Text("n/a".into())));
}

#[test]
fn every_shipped_stream_has_a_time_to_place_its_rows_by() {
    let streams = Streams::shipped();
    for name in streams.names() {
        let model = streams.get(name).unwrap().unwrap();
        assert_eq!(model.columns[model.placed_by].column_type, ColumnType::Timestamp, "{name}");
    }
}
