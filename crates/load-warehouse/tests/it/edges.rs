//! Values at the edges of their types arrive in each kind of warehouse as they are, or as the rule says.

use harness::DataDir;

use crate::cells::{hex, hex_of};
use crate::hours::publish;
use crate::target::{Target, on_each};

const HOUR: &str = "2025-09-02T10";

/// Texts for the values of `DECIMAL(precision,scale)` at which digits are carried, filled up or cut.
fn decimals(precision: usize, scale: usize) -> Vec<String> {
    let whole = precision - scale;
    let number = |digits: &str| {
        let (before, after) = digits.split_at(whole);
        let before = if before.is_empty() { "0" } else { before };
        if after.is_empty() { before.to_owned() } else { format!("{before}.{after}") }
    };
    let digits: String = "1234567890".chars().cycle().take(precision).collect();
    let one = format!("{}1", "0".repeat(precision - 1));
    let half =
        format!("{}5{}", "0".repeat(whole.min(precision - 1)), "0".repeat(precision - 1 - whole.min(precision - 1)));
    let all = [digits, one, half, "9".repeat(precision), "0".repeat(precision)].map(|digits| number(&digits));
    all.iter().cloned().chain(all.iter().map(|text| format!("-{text}"))).collect()
}

/// A number without zeros at its ends and without the sign of a zero.
fn plain(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let digits = digits.trim_start_matches('0');
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    let digits = if digits.is_empty() || digits.starts_with('.') { format!("0{digits}") } else { digits.to_owned() };
    if digits == "0" { digits } else { format!("{sign}{digits}") }
}

#[test]
fn every_decimal_arrives_as_it_is_or_is_refused_before_anything_is_made() {
    on_each("decimals", |data_dir, target| {
        // As many columns as a table of MariaDB takes.
        for precisions in [1..=12, 13..=18, 19..=24, 25..=30, 31..=34, 35..=38] {
            let dataset = format!("decimals_{}", precisions.start());
            let types: Vec<_> = precisions.flat_map(|p| (0..=p).map(move |s| (p, s))).collect();
            let (refused, types): (Vec<_>, Vec<_>) =
                types.into_iter().partition(|(_, s)| matches!(target, Target::Postgres { .. }) && *s > 36);
            let rows: Vec<_> = types.iter().map(|(p, s)| decimals(*p, *s)).collect();
            let row = |number: usize| {
                let cells = types
                    .iter()
                    .zip(&rows)
                    .map(|((p, s), texts)| format!("'{}'::DECIMAL({p},{s}) AS d{p}_{s}", texts[number]));
                format!("SELECT {}", cells.collect::<Vec<_>>().join(", "))
            };
            let select: Vec<_> = (0..rows[0].len()).map(row).collect();
            publish(data_dir, &dataset, HOUR, "a", &select.join(" UNION ALL "));
            target.run(data_dir, &dataset).expect(0);
            let names: Vec<_> = types.iter().map(|(p, s)| format!("d{p}_{s}")).collect();
            let found = target.query(data_dir, &format!("SELECT {} FROM {dataset} ORDER BY id", names.join(", ")));
            assert_eq!(found.len(), rows[0].len());
            for (number, found) in found.iter().enumerate() {
                for ((found, texts), (p, s)) in found.iter().zip(&rows).zip(&types) {
                    assert_eq!(plain(found), plain(&texts[number]), "DECIMAL({p},{s})");
                }
            }
            target.run(data_dir, &format!("{dataset} --verify")).expect(0);
            for (p, s) in refused {
                let dataset = format!("refused_{p}_{s}");
                publish(data_dir, &dataset, HOUR, "a", &format!("SELECT 0.1::DECIMAL({p},{s}) AS d"));
                let run = target.run(data_dir, &dataset).expect(3);
                assert!(
                    run.stderr.contains(&format!("the column d is DECIMAL({p},{s}), which DuckDB's")),
                    "{}",
                    run.stderr
                );
                let Target::Postgres { server, database } = target else { panic!() };
                assert_eq!(server.sql(database, &format!("SELECT to_regclass('{dataset}')")), [["NULL"]]);
            }
        }
    });
}

#[test]
fn a_decimal_that_was_made_too_narrow_for_the_extension_is_refused_with_how_to_widen_it() {
    let Some(server) = harness::Postgres::shared("a narrow decimal") else { return };
    let (data_dir, database) = (DataDir::new(), server.database());
    let target = Target::Postgres { server, database };
    publish(&data_dir, "d", HOUR, "a", "SELECT 0.5::DECIMAL(9,9) AS d");
    target.run(&data_dir, "d").expect(0);
    target.change(&data_dir, "ALTER TABLE d ALTER COLUMN d TYPE numeric(9,9)");
    publish(&data_dir, "d", HOUR, "b", "SELECT 0.25::DECIMAL(9,9) AS d");
    let run = target.run(&data_dir, "d").expect(3);
    assert!(run.stderr.contains("the table's is numeric(9,9)"), "{}", run.stderr);
    let (_, statement) = run.stderr.split_once("or change the table: ").unwrap();
    target.change(&data_dir, statement.lines().next().unwrap());
    target.run(&data_dir, "d").expect(0);
    assert_eq!(target.query(&data_dir, "SELECT d FROM d"), [["0.25"]]);
}

/// Texts that quoting, escaping, encoding and trimming trip over.
fn texts() -> Vec<String> {
    let each = (1..=255).filter_map(char::from_u32).map(String::from);
    let more = [
        "",
        " ",
        "  two  ",
        "NULL",
        "null",
        "\\N",
        "\\",
        "\\\\",
        "''",
        "'",
        "\"",
        "`",
        "a\"\",b",
        "\r\n",
        "\n\r",
        "\u{1a}",
        "München 21 °C",
        "e\u{301}",
        "\u{e9}",
        "ﬁ",
        "ß",
        "İ",
        "ı",
        "\u{200b}",
        "\u{200f}שלום",
        "\u{2028}",
        "\u{feff}bom",
        "\u{fffd}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{10000}",
        "😀",
        "👩‍👩‍👧",
        "\u{10ffff}",
        "\u{d7ff}",
        "\u{e000}",
        "%s %n",
        "{}",
        "$1",
        "?",
    ];
    each.chain(more.map(str::to_owned)).chain(["ü".repeat(70_000), "x".repeat(1 << 20)]).collect()
}

#[test]
fn every_text_arrives_as_it_is() {
    on_each("texts", |data_dir, target| {
        let texts = texts();
        let list: Vec<_> = texts.iter().map(|text| engine::literal(text)).collect();
        publish(data_dir, "texts", HOUR, "a", &format!("SELECT unnest([{}]) AS text", list.join(", ")));
        target.run(data_dir, "texts").expect(0);
        let found = target.query(data_dir, &format!("SELECT {} FROM texts ORDER BY id", hex(target, "text")));
        assert_eq!(found.len(), texts.len());
        for (found, text) in found.iter().zip(&texts) {
            assert_eq!(found[0], hex_of(text), "{text:?}");
        }
        target.run(data_dir, "texts --verify").expect(0);
    });
}

fn bits(number: &str) -> u64 {
    number.parse::<f64>().unwrap().to_bits()
}

#[test]
fn every_number_time_and_truth_arrives_as_it_is() {
    on_each("edges", |data_dir, target| {
        let columns = [
            ("TINYINT", &["-128", "127"][..]),
            ("SMALLINT", &["-32768", "32767"]),
            ("INTEGER", &["-2147483648", "2147483647"]),
            ("BIGINT", &["-9223372036854775808", "9223372036854775807"]),
            ("UTINYINT", &["0", "255"]),
            ("USMALLINT", &["0", "65535"]),
            ("UINTEGER", &["0", "4294967295"]),
            ("FLOAT", &["1e-45", "-3.4028235e38", "0.1", "16777217"]),
            (
                "DOUBLE",
                &["5e-324", "-1.7976931348623157e308", "2.2250738585072014e-308", "0.1", "9007199254740993", "1e22"],
            ),
            (
                "TIMESTAMP",
                &[
                    "0001-01-01 00:00:00",
                    "9999-12-31 23:59:59.999999",
                    "1969-12-31 23:59:59.999999",
                    "1582-10-10 12:00:00",
                ],
            ),
            ("DATE", &["0001-01-01", "9999-12-31", "1582-10-10", "1900-02-28"]),
            ("BOOLEAN", &["true", "false"]),
        ];
        for (sql_type, values) in columns {
            let dataset = format!("of_{}", sql_type.to_lowercase());
            let list: Vec<_> = values.iter().map(|value| format!("'{value}'::{sql_type}")).collect();
            publish(data_dir, &dataset, HOUR, "a", &format!("SELECT unnest([{}, NULL]) AS v", list.join(", ")));
            target.run(data_dir, &dataset).expect(0);
            let found = target.query(data_dir, &format!("SELECT v FROM {dataset} ORDER BY id")).concat();
            assert_eq!(found.last().unwrap(), "NULL");
            for (found, value) in found.iter().zip(values) {
                match sql_type {
                    "FLOAT" => assert_eq!(bits(found), f64::from(value.parse::<f32>().unwrap()).to_bits()),
                    "DOUBLE" => assert_eq!(bits(found), bits(value)),
                    "BOOLEAN" => assert_eq!(matches!(found.as_str(), "1" | "t" | "true"), *value == "true", "{found}"),
                    _ => assert_eq!(crate::target::plain(found), *value),
                }
            }
            assert_eq!(found.len(), values.len() + 1);
            target.run(data_dir, &format!("{dataset} --verify")).expect(0);
        }
    });
}

#[test]
fn floating_numbers_of_any_size_arrive_as_they_are() {
    on_each("floating numbers", |data_dir, target| {
        let random = |salt: &str, bound: u64| format!("(hash('{salt} {}' || i) % {bound})::BIGINT", harness::seed());
        let select = format!(
            "SELECT ({} - 4503599627370496)::DOUBLE * pow(2::DOUBLE, {} - 1100) AS v, \
             {}::DOUBLE / {} AS w FROM range(30000) r(i)",
            random("a", 1 << 53),
            random("b", 2000),
            random("c", 1_000_000_000),
            random("d", 1000)
        );
        publish(
            data_dir,
            "numbers",
            HOUR,
            "a",
            &format!("SELECT v, w FROM ({select}) WHERE isfinite(v) AND isfinite(w)"),
        );
        // The load compares what it has written with the file.
        target.run(data_dir, "numbers").expect(0);
        target.run(data_dir, "numbers --verify").expect(0);
    });
}

#[test]
fn what_a_warehouse_cannot_hold_is_replaced_counted_and_named_once() {
    on_each("values that it cannot hold", |data_dir, target| {
        let is = |kinds: &[&str]| {
            kinds.contains(&match target {
                Target::File => "file",
                Target::Sqlite => "sqlite",
                Target::MariaDb { .. } => "mariadb",
                Target::Postgres { .. } => "postgres",
            })
        };
        let cases = [
            ("DOUBLE", "nan", is(&["mariadb", "sqlite"])),
            ("DOUBLE", "inf", is(&["mariadb"])),
            ("DOUBLE", "-inf", is(&["mariadb"])),
            ("FLOAT", "nan", is(&["mariadb", "sqlite"])),
            ("TIMESTAMP", "0044-03-15 (BC) 12:00:00", is(&["mariadb"])),
            ("TIMESTAMP", "10000-01-01 00:00:00", is(&["mariadb"])),
            ("TIMESTAMP", "infinity", is(&["mariadb"])),
            ("TIMESTAMP", "-infinity", is(&["mariadb"])),
            ("TIMESTAMP", "5000-01-01 (BC) 00:00:00", is(&["mariadb", "postgres"])),
            ("TIMESTAMP", "294247-01-10 04:00:54.775806", is(&["mariadb"])),
            ("DATE", "0044-03-15 (BC)", is(&["mariadb"])),
            ("DATE", "5000-01-01 (BC)", is(&["mariadb", "postgres"])),
            ("DATE", "5877642-06-25 (BC)", is(&["mariadb", "postgres"])),
            ("DATE", "5881580-07-10", is(&["mariadb", "postgres"])),
            ("DATE", "infinity", is(&["mariadb"])),
            ("DATE", "-infinity", is(&["mariadb"])),
        ];
        for (number, (sql_type, value, is_replaced)) in cases.iter().enumerate() {
            let dataset = format!("case_{number}");
            let cast = format!("'{value}'::{sql_type}");
            publish(data_dir, &dataset, HOUR, "a", &format!("SELECT unnest([NULL, {cast}, {cast}]) AS v"));
            let run = target.run(data_dir, &dataset);
            let status = if *is_replaced { 3 } else { 0 };
            assert_eq!(run.status, Some(status), "{sql_type} {value}: {}", run.stderr);
            let says = format!("{dataset}: {HOUR}: the column v has 2 values that the warehouse cannot hold: ");
            assert_eq!(run.stderr.contains(&says), *is_replaced, "{sql_type} {value}: {}", run.stderr);
            assert_eq!(run.stderr.lines().count(), usize::from(*is_replaced), "{}", run.stderr);
            let held = target.query(data_dir, &format!("SELECT count(v) FROM {dataset}"));
            assert_eq!(held, [[if *is_replaced { "0" } else { "2" }]], "{sql_type} {value}");
            for arguments in ["", " --verify"] {
                let run = target.run(data_dir, &format!("{dataset}{arguments}")).expect(0);
                assert_eq!(run.stderr, "", "{sql_type} {value}{arguments}");
            }
        }
    });
}

#[test]
fn a_text_that_a_warehouse_cannot_hold_is_stored_as_one_near_it() {
    on_each("texts that it cannot hold", |data_dir, target| {
        let is_postgres = matches!(target, Target::Postgres { .. });
        publish(data_dir, "texts", HOUR, "a", "SELECT unnest(['a' || chr(0) || 'b', 'c', chr(0)]) AS text");
        let run = target.run(data_dir, "texts").expect(if is_postgres { 3 } else { 0 });
        let says = "texts: 2025-09-02T10: the column text has 2 values that the warehouse cannot hold: \
                    U+0000 is stored as U+FFFD";
        assert_eq!(run.stderr.contains(says), is_postgres, "{}", run.stderr);
        let zero = if is_postgres { "EFBFBD" } else { "00" };
        let found = target.query(data_dir, &format!("SELECT {} FROM texts ORDER BY id", hex(target, "text")));
        assert_eq!(found.concat(), [format!("61{zero}62"), "63".to_owned(), zero.to_owned()]);
        for arguments in ["texts", "texts --verify"] {
            assert_eq!(target.run(data_dir, arguments).expect(0).stderr, "");
        }
        // The rows that stay as they are keep their ids, the replaced ones too.
        publish(data_dir, "texts", HOUR, "b", "SELECT unnest(['a' || chr(0) || 'b', 'd', chr(0)]) AS text");
        target.run(data_dir, "texts").expect(if is_postgres { 3 } else { 0 });
        assert_eq!(target.query(data_dir, "SELECT id FROM texts ORDER BY id").concat(), ["1", "3", "4"]);
    });
}

#[test]
fn a_text_that_is_too_long_for_its_column_is_cut_visibly() {
    on_each("texts that are too long", |data_dir, target| {
        let is_server = matches!(target, Target::Postgres { .. } | Target::MariaDb { .. });
        let select = "SELECT repeat('é', 3000) || n AS name, n FROM (VALUES (1), (2)) v(n) UNION ALL SELECT 'short', 3";
        publish(data_dir, "keyed", HOUR, "a", select);
        let run = target.run(data_dir, "keyed --key name,window_start").expect(if is_server { 3 } else { 0 });
        assert_eq!(run.stderr.contains("the column name has 2 values"), is_server, "{}", run.stderr);
        let longest = if is_server { "190" } else { "3001" };
        let length = if matches!(target, Target::MariaDb { .. }) { "char_length" } else { "length" };
        let found = target.query(data_dir, &format!("SELECT {length}(name), n FROM keyed ORDER BY n"));
        assert_eq!(found, [[longest, "1"], [longest, "2"], ["5", "3"]]);
        assert_eq!(target.query(data_dir, "SELECT count(DISTINCT name) FROM keyed"), [["3"]]);
        for arguments in ["keyed", "keyed --verify"] {
            assert_eq!(target.run(data_dir, arguments).expect(0).stderr, "");
        }
    });
}
