//! What stream files say: types, demands, paths, cases and rows, and what is wrong with a file.

use models::{ColumnType, Decoder, Origin, Reason, Value};

use crate::compile;

/// The values of the only row that a message gives, or why it is rejected.
fn row(columns: &str, message: &str) -> Result<Vec<Value<'static>>, (Reason, String)> {
    let model = compile(&format!("{columns}\nx = {{ meta = \"arrival_time\" }}"))
        .unwrap_or_else(|problems| panic!("{problems}"));
    let mut decoder = Decoder::new(model);
    let refused = |rejection: models::Rejection| (rejection.reason, rejection.detail);
    let record = format!(r#"{{"arrival_time_us":0,"message":{message}}}"#);
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    let validated = decoder.message(message.as_bytes());
    let first = decoder.record(record.as_bytes(), &mut cold);
    let shown = |result: &Result<(), models::Rejection>| {
        format!("{result:?}").replace("`message.", "`").replace("`message`", "").replace("field : ", "")
    };
    assert_eq!(shown(&validated.map(|_| ())), shown(&first), "{message}");
    let second = decoder.record(record.as_bytes(), &mut warm);
    assert_eq!(second, first, "{message}");
    first.map_err(refused)?;
    assert_eq!(warm, cold, "{message}");
    cold.pop();
    Ok(cold.iter().map(owned).collect())
}

fn owned(value: &Value<'_>) -> Value<'static> {
    match value {
        Value::Text(text) => Value::Text(text.to_string().into()),
        Value::List(elements) => Value::List(elements.iter().map(owned).collect()),
        Value::Null => Value::Null,
        Value::Bool(value) => Value::Bool(*value),
        Value::Int(value) => Value::Int(*value),
        Value::Double(value) => Value::Double(*value),
        Value::Decimal(value) => Value::Decimal(*value),
        Value::OneOf(value) => Value::OneOf(*value),
        Value::Bytes(value) => Value::Bytes(value.clone()),
        Value::Micros(value) => Value::Micros(*value),
        Value::Days(value) => Value::Days(*value),
        Value::TimeOfDay(value) => Value::TimeOfDay(*value),
    }
}

fn text(text: &str) -> Value<'static> {
    Value::Text(text.to_owned().into())
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn each_type_takes_its_values_and_no_others() {
    // The declaration of a column `v`, values that it takes with what becomes of them, and values that it refuses.
    type Case = (&'static str, Vec<(&'static str, Value<'static>)>, Vec<(&'static str, Reason)>);
    use Reason::{Constraint, OutOfRange, UnknownValue, WrongType};
    let cases: Vec<Case> = vec![
        (
            r#""int""#,
            vec![("-5", Value::Int(-5))],
            vec![("5.0", WrongType), ("\"5\"", WrongType), ("null", WrongType), ("9223372036854775808", OutOfRange)],
        ),
        (
            r#""float""#,
            vec![("5", Value::Double(5.0)), ("1.5e3", Value::Double(1500.0))],
            vec![("\"5\"", WrongType), ("true", WrongType)],
        ),
        (
            r#""bool""#,
            vec![("true", Value::Bool(true)), ("false", Value::Bool(false))],
            vec![("1", WrongType), ("\"true\"", WrongType)],
        ),
        (r#""text""#, vec![("\"ä\\n\"", text("ä\n"))], vec![("1", WrongType), ("[]", WrongType)]),
        (
            r#""decimal(5,2)""#,
            vec![("1.5", Value::Decimal(150)), ("-999.99", Value::Decimal(-99_999)), ("1e2", Value::Decimal(10_000))],
            vec![("1000", OutOfRange), ("0.001", OutOfRange), ("\"1\"", WrongType), ("true", WrongType)],
        ),
        (
            r#"{ type = "decimal(38,0)", coerce = true }"#,
            vec![(
                "\"-99999999999999999999999999999999999999\"",
                Value::Decimal(-99_999_999_999_999_999_999_999_999_999_999_999_999),
            )],
            vec![("\"x\"", WrongType)],
        ),
        (
            r#""bytes""#,
            vec![("\"00fF\"", Value::Bytes(vec![0, 255]))],
            vec![("\"0\"", WrongType), ("\"zz\"", WrongType)],
        ),
        (
            r#"{ type = "bytes", format = "base64" }"#,
            vec![("\"AP8=\"", Value::Bytes(vec![0, 255]))],
            vec![("\"AP8\"", WrongType)],
        ),
        (
            r#""timestamp""#,
            vec![("\"1970-01-01T01:00:00.5+01:00\"", Value::Micros(500_000))],
            vec![("\"1970-01-01T01:00:00\"", WrongType), ("0", WrongType)],
        ),
        (
            r#"{ type = "timestamp", format = "epoch_ms" }"#,
            vec![("1", Value::Micros(1000))],
            vec![("1.5", WrongType), ("9223372036854775807", OutOfRange)],
        ),
        (
            r#"{ type = "timestamp", format = "epoch" }"#,
            vec![("1.25", Value::Micros(1_250_000)), ("3", Value::Micros(3_000_000))],
            vec![("\"3\"", WrongType)],
        ),
        (
            r#"{ type = "timestamp", format = "%d.%m.%Y %H:%M", zone = "Europe/Berlin", fold = "reject" }"#,
            vec![("\"01.01.1970 01:00\"", Value::Micros(0))],
            vec![
                ("\"25.10.2026 02:30\"", OutOfRange),
                ("\"29.03.2026 02:30\"", OutOfRange),
                ("\"1.13.1970 01:00\"", OutOfRange),
            ],
        ),
        (r#""date""#, vec![("\"1969-12-31\"", Value::Days(-1))], vec![("\"1970-02-30\"", WrongType)]),
        (r#""time""#, vec![("\"00:00:01.5\"", Value::TimeOfDay(1_500_000))], vec![("\"24:00:00\"", WrongType)]),
        (
            r#""json""#,
            vec![("{\"a\":[1, 2]}", text("{\"a\":[1, 2]}")), ("1", text("1")), ("null", Value::Null)],
            vec![],
        ),
        (
            r#""[int]""#,
            vec![("[1,2]", Value::List(vec![Value::Int(1), Value::Int(2)])), ("[]", Value::List(vec![]))],
            vec![("[1.5]", WrongType), ("1", WrongType), ("[null]", WrongType)],
        ),
        (
            r#"{ type = "[text]", min_items = 1, max_length = 2 }"#,
            vec![("[\"ab\"]", Value::List(vec![text("ab")]))],
            vec![("[]", Constraint), ("[\"abc\"]", Constraint)],
        ),
        (
            r#"{ type = "int", range = [1, 40] }"#,
            vec![("1", Value::Int(1)), ("40", Value::Int(40))],
            vec![("0", Constraint), ("41", Constraint)],
        ),
        (
            r#"{ type = "float", above = 0, below = 1.5 }"#,
            vec![("0.1", Value::Double(0.1))],
            vec![("0", Constraint), ("1.5", Constraint)],
        ),
        (r#"{ type = "decimal(6,3)", min = 0.5 }"#, vec![("0.5", Value::Decimal(500))], vec![("0.499", Constraint)]),
        (r#"{ type = "int", multiple_of = 5 }"#, vec![("10", Value::Int(10))], vec![("11", Constraint)]),
        (
            r#"{ one_of = ["on", "off"] }"#,
            vec![("\"off\"", Value::OneOf(1))],
            vec![("\"no\"", UnknownValue), ("1", WrongType)],
        ),
        (
            r#"{ one_of = { 0 = "off", 1 = "on", "x" = "off" } }"#,
            vec![("1", Value::OneOf(1)), ("\"x\"", Value::OneOf(0))],
            vec![("2", UnknownValue), ("\"1\"", UnknownValue)],
        ),
        ("{ one_of = [1, 2] }", vec![("2", Value::Int(2))], vec![("3", UnknownValue)]),
        (r#"{ type = "text", pattern = "^a+$" }"#, vec![("\"aa\"", text("aa"))], vec![("\"b\"", Constraint)]),
        (
            r#"{ type = "text", min_length = 1, max_length = 2 }"#,
            vec![("\"äö\"", text("äö"))],
            vec![("\"\"", Constraint), ("\"abc\"", Constraint)],
        ),
        (
            r#"{ type = "int", null = [-1, "N/A"], empty = "null" }"#,
            vec![("-1", Value::Null), ("\"N/A\"", Value::Null), ("\"\"", Value::Null), ("7", Value::Int(7))],
            vec![("null", WrongType)],
        ),
        (r#"{ type = "int", optional = true }"#, vec![("null", Value::Null)], vec![("\"\"", WrongType)]),
        (
            r#"{ type = "float", coerce = true }"#,
            vec![("\" 2.5 \"", Value::Double(2.5)), ("3", Value::Double(3.0))],
            vec![("\"x\"", WrongType), ("\"\"", WrongType), ("true", WrongType)],
        ),
        (r#"{ type = "bool", coerce = true }"#, vec![("\"true\"", Value::Bool(true))], vec![("\"yes\"", WrongType)]),
    ];
    for (declared, taken, refused) in cases {
        let columns = format!("[columns]\nv = {declared}");
        for (value, expected) in taken {
            assert_eq!(row(&columns, &format!("{{\"v\":{value}}}")), Ok(vec![expected]), "{declared} {value}");
        }
        for (value, reason) in refused {
            let result = row(&columns, &format!("{{\"v\":{value}}}"));
            assert_eq!(result.clone().map_err(|(reason, _)| reason), Err(reason), "{declared} {value}");
            assert!(result.unwrap_err().1.starts_with("field `message.v`: "), "{declared} {value}");
        }
    }
}

#[test]
fn what_does_not_fit_goes_to_another_column() {
    let columns = "[columns]\nv = { type = \"int\", range = [0, 9], else = \"f\" }\nf = { type = \"float\", else = \"t\" }\nt = \"text\"";
    let of = |value: &str| row(columns, &format!("{{\"v\":{value}}}"));
    assert_eq!(of("5"), Ok(vec![Value::Int(5), Value::Null, Value::Null]));
    assert_eq!(of("50"), Ok(vec![Value::Null, Value::Double(50.0), Value::Null]));
    assert_eq!(of("\"x\""), Ok(vec![Value::Null, Value::Null, text("x")]));
    assert_eq!(of("true").unwrap_err().1, "field `message.v`: expected an integer or a number or a string, found true");
}

#[test]
fn values_are_found_by_their_paths() {
    let columns = "[columns]\na = { from = \"x.y\", type = \"int\" }\nb = { from = \"p[1]\", type = \"int\" }\nc = { from = '\"a key\".z', type = \"int\", optional = true }";
    let of = |message: &str| row(columns, message);
    assert_eq!(
        of(r#"{"p":[{},2,null],"x":{"y":1},"a key":{"z":3}}"#),
        Ok(vec![Value::Int(1), Value::Int(2), Value::Int(3)])
    );
    // An object in which everything is optional may be missing, and be null.
    for message in [
        r#"{"p":[0,2],"x":{"y":1}}"#,
        r#"{"p":[0,2],"x":{"y":1},"a key":null}"#,
        r#"{"p":[0,2],"x":{"y":1},"a key":{}}"#,
    ] {
        assert_eq!(of(message), Ok(vec![Value::Int(1), Value::Int(2), Value::Null]));
    }
    for (message, words) in [
        (r#"{"p":[0],"x":{"y":1}}"#, "field `message.p[1]`: missing"),
        (r#"{"p":[0,2],"x":{}}"#, "field `message.x.y`: missing"),
        (r#"{"p":[0,2]}"#, "field `message.x`: missing"),
        (r#"{"p":{},"x":{"y":1}}"#, "field `message.p`: expected an array, found an object"),
        (
            r#"{"p":[0,2],"x":{"y":1},"a key":5}"#,
            "field `message.\"a key\"`: expected an object or null, found the number 5",
        ),
        (r#"{"p":[0,2],"x":{"y":1,"y":1}}"#, "field `message.x.y`: the key stands twice"),
    ] {
        assert_eq!(of(message).unwrap_err().1, words, "{message}");
    }
}

#[test]
fn objects_may_be_closed_or_optional() {
    let columns = "unknown = \"quarantine\"\n[objects]\ng = { optional = \"missing\", unknown = \"ignore\" }\n[columns]\nlat = { from = \"g.lat\", type = \"float\" }\nv = \"int\"";
    let of = |message: &str| row(columns, message);
    assert_eq!(of(r#"{"v":1}"#), Ok(vec![Value::Null, Value::Int(1)]));
    assert_eq!(of(r#"{"v":1,"g":{"lat":2,"x":1}}"#), Ok(vec![Value::Double(2.0), Value::Int(1)]));
    assert_eq!(of(r#"{"v":1,"g":{}}"#).unwrap_err().1, "field `message.g.lat`: missing");
    assert_eq!(of(r#"{"v":1,"g":null}"#).unwrap_err().1, "field `message.g`: expected an object, found null");
    assert_eq!(
        of(r#"{"v":1,"w":1}"#).unwrap_err(),
        (Reason::Constraint, "field `message`: the key \"w\" is not known".into())
    );
}

const CASES: &str = "
[columns]
device = 'int'
kind = { one_of = ['status', 'value', 'v2'] }
[[case]]
when = { from = 'kind', one_of = ['value', 'v2'] }
[case.columns]
value = 'float'
origin = { const = 'sensor' }
[[case]]
when = { from = 'kind', one_of = ['status'] }
[case.columns]
state = { one_of = ['ok', 'bad'] }
x = { meta = 'arrival_time' }
";

#[test]
fn a_discriminator_tells_kinds_of_messages_apart() {
    let model = compile(CASES).unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<_> = model.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["device", "kind", "value", "origin", "state", "x"]);
    let mut decoder = Decoder::new(model);
    for _ in 0..3 {
        let mut record = |message: &str| {
            let record = format!(r#"{{"arrival_time_us":9,"message":{message}}}"#);
            decoder.message(message.as_bytes()).map_err(|rejection| rejection.to_string())?;
            let mut row = Vec::new();
            decoder.record(record.as_bytes(), &mut row).map_err(|rejection| rejection.to_string())?;
            Ok::<_, String>(row.iter().map(owned).collect::<Vec<_>>())
        };
        assert_eq!(
            record(r#"{"device":1,"kind":"v2","value":2.5}"#),
            Ok(vec![Value::Int(1), Value::OneOf(2), Value::Double(2.5), text("sensor"), Value::Null, Value::Micros(9)])
        );
        assert_eq!(
            record(r#"{"device":1,"kind":"status","state":"bad"}"#),
            Ok(vec![Value::Int(1), Value::OneOf(0), Value::Null, Value::Null, Value::OneOf(1), Value::Micros(9)])
        );
        assert_eq!(record(r#"{"device":1,"kind":"status"}"#), Err("field `state`: missing".into()));
        assert_eq!(
            record(r#"{"device":1,"kind":"other"}"#),
            Err("field `kind`: expected one of \"value\", \"v2\", \"status\", found the string \"other\"".into())
        );
        assert_eq!(record(r#"{"device":1}"#), Err("field `kind`, which tells the cases apart, is missing".into()));
    }
}

#[test]
fn an_array_gives_rows_that_are_records_of_their_own() {
    let stream = "time = 't'\n[columns]\ndevice = 'int'\nt = { from = 'r[].t', type = 'timestamp', format = 'epoch_s' }\nv = { from = 'r[].v', type = 'decimal(4,1)', optional = true }\nl = { from = 'r[].l', type = '[text]', optional = true }\nb = { from = 'r[].b', type = 'bytes', optional = true }\nd = { from = 'r[].d', type = 'date', optional = true }\nj = { from = 'r[].j', type = 'json' }\nport = { meta = 'source_port' }";
    let model = compile(stream).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!model.keeps_messages_as_sent());
    let mut decoder = Decoder::new(model);
    let origin = Origin { arrival_us: 7, source: Some(([127, 0, 0, 1].into(), 99)), listener: "0.0.0.0:1" };
    let message = r#"{"r":[{"t":1,"v":2.5,"j":{"a":1}},{"t":3600,"l":["a\"b"],"b":"00ff","d":"2026-01-31","j":null}],"device":4}"#;
    let mut records = Vec::new();
    let rows = decoder.rows(message.as_bytes(), &origin, &mut records).unwrap();
    let lines: Vec<_> = std::str::from_utf8(&records).unwrap().lines().collect();
    assert_eq!(
        lines,
        [
            r#"{"device":4,"t":"1970-01-01T00:00:01.000000Z","v":"2.5","l":null,"b":null,"d":null,"j":{"a":1},"port":99}"#,
            r#"{"device":4,"t":"1970-01-01T01:00:00.000000Z","v":null,"l":["a\"b"],"b":"00ff","d":"2026-01-31","j":null,"port":99}"#,
        ]
    );
    assert_eq!(rows.iter().map(|(time, _)| *time).collect::<Vec<_>>(), [Some(1_000_000), Some(3_600_000_000)]);
    assert_eq!(rows.iter().map(|(_, end)| *end).collect::<Vec<_>>(), [lines[0].len() + 1, records.len()]);
    for _ in 0..2 {
        let mut row = Vec::new();
        decoder.record(lines[0].as_bytes(), &mut row).unwrap();
        assert_eq!(
            row,
            [
                Value::Int(4),
                Value::Micros(1_000_000),
                Value::Decimal(25),
                Value::Null,
                Value::Null,
                Value::Null,
                text("{\"a\":1}"),
                Value::Int(99)
            ]
        );
        decoder.record(lines[1].as_bytes(), &mut row).unwrap();
        assert_eq!(row[3..6], [Value::List(vec![text("a\"b")]), Value::Bytes(vec![0, 255]), Value::Days(20_484)]);
    }
    // One bad element, and there is no row at all.
    let error =
        decoder.rows(br#"{"r":[{"t":1,"j":1},{"t":"x","j":1}],"device":4}"#, &origin, &mut Vec::new()).unwrap_err();
    assert_eq!(error.detail, "field `r[1].t`: expected an integer (seconds since 1970), found the string \"x\"");
    assert_eq!(decoder.rows(br#"{"r":[],"device":4}"#, &origin, &mut Vec::new()), Ok(Vec::new()));
}

#[test]
fn a_time_that_is_missing_is_that_of_arrival() {
    let model = compile("[columns]\nv = 'int'").unwrap();
    assert_eq!((model.time_column(), model.columns.len()), ("arrival_time", 2));
    assert_eq!(model.columns[0].column_type, ColumnType::Timestamp);
}

#[test]
fn the_version_that_was_in_use_last_stands_for_a_file_that_is_gone() {
    let mut streams = models::Streams::shipped();
    let path = std::path::Path::new("kept.toml");
    for (version, column) in [("ZZZZZZZ", "a"), ("0000000", "b")] {
        streams.keep("s", version, path, &format!("[columns]\n{column} = 'int'"));
    }
    let name = |model: &models::Model| model.columns[1].name.clone();
    assert_eq!(name(streams.get("s").unwrap().unwrap()), "b");
    assert_eq!(name(streams.versions("s").last().unwrap()), "b");
    assert_eq!(name(streams.version("s", "ZZZZZZZ").unwrap().unwrap()), "a");
}

#[test]
fn messages_may_be_dropped() {
    let decoder = Decoder::new(compile("drop = ['^#', '\"ping\"']\n[columns]\nv = 'int'").unwrap());
    assert!(decoder.drops(b"# x") && decoder.drops(b"{\"ping\":1}") && !decoder.drops(b"{\"v\":1}"));
}

#[test]
fn all_that_is_wrong_with_a_file_is_named_with_its_place() {
    let text = "time = 'when'\nframes = 'lines'\n\n[columns]\nid = 'int'\na = 'flot'\nb = { type = 'int', range = [1], colour = 'red' }\nc = { from = 'x..y', type = 'int' }\nd = { type = 'timestamp', zone = 'Europe/Berlin' }\ne = { type = 'timestamp', format = '%H:%M' }\nf = { one_of = [], type = 'text' }\ng = { type = 'text', pattern = '(' }\n";
    let problems = compile(text).unwrap_err().to_string();
    let first_lines: Vec<_> = problems.lines().filter(|line| line.starts_with("s.toml:")).collect();
    for expected in [
        "s.toml:2:1: there is no key `frames` here; there are frame, time, drop, unknown, no_case, schema, columns, objects, case",
        "s.toml:5:1: warehouses have a column `id` of their own: name it otherwise, as in `device_id = { from = \"id\", … }`",
        "s.toml:6:5: `flot` is no type: the types are int, float, decimal(p,s), bool, text, bytes, timestamp, date, time, json, and lists of them as [int]",
        "s.toml:7:29: `range` has two ends, as in [0, 100]",
        "s.toml:7:34: there is no key `colour` here",
        "s.toml:8:14: `` is no key: quote it as in '\"\"'",
        "s.toml:9:34: clocks are set back in this zone, and show an hour twice: say which one a time in it is of by fold = \"earlier\", \"later\" or \"reject\"",
        "s.toml:10:36: the pattern does not give a date and a time",
        "s.toml:11:16: `one_of` is a list of texts",
        "s.toml:12:32: the pattern is no regular expression: ",
        "s.toml:1:8: `time` is the name of a column of the type timestamp, as `d`",
    ] {
        assert!(first_lines.iter().any(|line| line.starts_with(expected)), "{expected}\n{problems}");
    }
    assert!(problems.contains("  6 | a = 'flot'\n    |     ^^^^^^"), "{problems}");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    for (text, words) in [
        ("[columns]\na = 'int'\nA = 'int'", "SQL takes this name for that of the column `a`"),
        ("[columns]\na = 'int'\nb = { from = 'a.c', type = 'int' }", "`a` is a value that another column reads"),
        (
            "[columns]\na = { from = 'x', type = 'int' }\nb = { from = 'x', type = 'int' }",
            "another column reads `x`, too",
        ),
        ("[columns]\na = { from = 'x[0]', type = 'int' }\nb = { from = 'x[]', type = 'int' }", "not two of them"),
        ("[columns]\na = { type = 'int', else = 'b' }", "there is no column `b`"),
        ("[columns]\na = { type = 'int', else = 'b' }\nb = { type = 'text', else = 'a' }", "circle"),
        ("time = 't'\n[columns]\nt = { type = 'timestamp', optional = true }", "each message has an event time"),
        ("time = 't'\n[columns]\nt = 'text'", "but no column is one"),
        ("[objects]\ng = { optional = true }\n[columns]\na = 'int'", "no column reads anything in an object `g`"),
        ("[columns]\na = { type = 'int', pattern = 'x' }", "`pattern` is for texts"),
        ("[columns]\na = { type = 'text', zone = 'UTC' }", "`zone` is for times"),
        (
            "[columns]\na = { meta = 'arrival_time' }\nb = { meta = 'arrival_time' }",
            "another column has the same `meta`",
        ),
        ("[columns]\na = { meta = 'nothing' }", "`meta` is one of \"arrival_time\""),
        ("[columns]\n\"a b\" = 'int'", "consists of at most 63 letters"),
        ("drop = ['(']\n[columns]\na = 'int'", "no regular expression"),
        ("", "the stream has no columns"),
        ("a = ", "s.toml:1:"),
        ("[columns]\na = 'int'\n[[case]]\nwhen = { from = 'k' }", "`when` has either `one_of` or `pattern`"),
        (
            "[[case]]\nwhen = { from = 'k', one_of = [1] }\n[case.columns]\na = 'int'\n[[case]]\nwhen = { from = 'k', one_of = [2] }\n[case.columns]\na = 'text'",
            "in another case the column is of the type BIGINT",
        ),
    ] {
        let problems = compile(text).unwrap_err().to_string();
        assert!(problems.contains(words), "{text}: {problems}");
    }
}
