//! A stream that is described by the JSON Schema of a pydantic model accepts what pydantic's strict mode does.

use std::process::Command;
use std::{env, fs};

use harness::seed;
use harness::tempfile::tempdir;
use models::{Decoder, Origin, Streams};
use serde_json::Value as Json;

#[test]
fn random_models_get_the_same_verdicts() {
    let Some(python) = env::var_os("PIPELINE_PYTHONPATH") else {
        assert!(env::var_os("PIPELINE_REQUIRE_SERVERS").is_none(), "pydantic is missing: scripts/test.sh fetches it");
        eprintln!("skipped: pydantic is missing (scripts/test.sh fetches it)");
        return;
    };
    let number = |name: &str, usual: u32| env::var(name).map_or(usual, |number| number.parse().unwrap());
    let (models, messages) = (number("MODELS", 300), number("MESSAGES", 100));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/pydantic_models.py");
    let mut python3 = Command::new("python3");
    python3.arg(script).args([seed().to_string(), models.to_string(), messages.to_string()]).env("PYTHONPATH", python);
    let output = python3.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = tempdir().unwrap();
    let (mut accepted, mut rejected, mut different) = (0, 0, Vec::new());
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        fs::write(folder.path().join("s.schema.json"), case["schema"].to_string()).unwrap();
        fs::write(folder.path().join("s.toml"), "schema = \"s.schema.json\"").unwrap();
        let streams = Streams::load(folder.path()).unwrap();
        let model = streams.get("s").unwrap().unwrap_or_else(|problems| panic!("{problems}\n{}", case["schema"]));
        let mut decoder = Decoder::new(model.clone());
        for sent in case["messages"].as_array().unwrap() {
            let (message, valid) = (sent[0].as_str().unwrap(), sent[1].as_bool().unwrap());
            let verdict = decoder.message(message.as_bytes());
            let ours = verdict.as_ref().err().map(ToString::to_string).unwrap_or_default();
            if verdict.is_ok() != valid {
                different.push(format!("{message}\n  pydantic: {valid}, ours: {ours}\n{}", model.text));
            }
            if verdict.is_ok() {
                accepted += 1;
                let mut record = Vec::new();
                model.begin_envelope(&Origin { arrival_us: 0, source: None, listener: "" }, &mut record);
                let record = [&record[..], message.as_bytes(), b"}"].concat();
                assert_eq!(decoder.record(&record, &mut Vec::new()), Ok(()), "{message}");
            } else {
                rejected += 1;
            }
        }
    }
    println!("{models} models, {accepted} messages accepted, {rejected} rejected, {} different", different.len());
    assert!(different.is_empty(), "{}", different.iter().take(5).cloned().collect::<Vec<_>>().join("\n"));
    assert!(accepted > 0 && rejected > 0);
}

/// The models of the talk that the shipped streams come from, as `model_json_schema()` prints them.
const TALK: &str = r##"{
  "$defs": {"Measurement": {
    "properties": {
      "kind": {"const": "Temperature", "title": "Kind", "type": "string"},
      "value": {"anyOf": [{"type": "number"}, {"type": "string"}], "title": "Value"},
      "unit": {"enum": ["Celcius", "Celsius", "Fahrenheit"], "title": "Unit", "type": "string"}
    },
    "required": ["kind", "value", "unit"], "title": "Measurement", "type": "object"
  }},
  "properties": {
    "timestamp": {"title": "Timestamp", "type": "integer"},
    "sensor_id": {"title": "Sensor Id", "type": "integer"},
    "measurement": {"$ref": "#/$defs/Measurement"}
  },
  "required": ["timestamp", "sensor_id", "measurement"], "title": "TelemetryData", "type": "object"
}"##;

#[test]
fn the_models_of_the_talk_give_the_rows_of_the_shipped_streams() {
    let folder = tempdir().unwrap();
    let telemetry: Json = serde_json::from_str(TALK).unwrap();
    let file = "schema = \"t.schema.json\"\ntime = \"timestamp\"\n[columns]\ntimestamp = { type = \"timestamp\", format = \"epoch_s\" }\n";
    fs::write(folder.path().join("t.schema.json"), TALK).unwrap();
    fs::write(folder.path().join("t.toml"), file).unwrap();
    fs::write(folder.path().join("m.schema.json"), telemetry["$defs"]["Measurement"].to_string()).unwrap();
    fs::write(folder.path().join("m.toml"), "schema = \"m.schema.json\"").unwrap();
    let streams = Streams::load(folder.path()).unwrap();
    for (name, shipped, before, after) in [
        ("t", "telemetry", r#"{"timestamp":1756807200,"sensor_id":7,"measurement":"#, "}"),
        ("m", "measurement", r#"{"arrival_time_us":5,"message":"#, "}"),
    ] {
        let decoder = |name: &str| {
            let model = streams.get(name).unwrap().unwrap_or_else(|problems| panic!("{problems}"));
            Decoder::new(model.clone())
        };
        let (mut ours, mut theirs) = (decoder(name), decoder(shipped));
        let types = |decoder: &Decoder| {
            decoder.model().columns.iter().map(|column| column.column_type.clone()).collect::<Vec<_>>()
        };
        assert_eq!(types(&ours), types(&theirs));
        for value in ["21.5", "-3", "\"n/a\"", "null", "true", "1e999"] {
            for unit in ["Celsius", "Fahrenheit", "Kelvin"] {
                let line = format!("{before}{{\"kind\":\"Temperature\",\"value\":{value},\"unit\":\"{unit}\"}}{after}");
                let (mut row, mut shipped_row) = (Vec::new(), Vec::new());
                let taken = ours.record(line.as_bytes(), &mut row).is_ok();
                assert_eq!(taken, theirs.record(line.as_bytes(), &mut shipped_row).is_ok(), "{line}");
                if taken {
                    assert_eq!(row, shipped_row, "{line}");
                }
            }
        }
    }
}
