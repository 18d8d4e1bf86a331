//! Rows of a data set with difficult values, and how they are read from Parquet files and from each kind of warehouse, so
//! that they can be compared value by value.

use std::collections::BTreeMap;
use std::path::Path;

use engine::{SessionArgs, literal, read_parquet};
use harness::DataDir;

use crate::target::Target;

/// The columns of `samples`; the last of them are not there from the beginning.
const COLUMNS: [(&str, Kind); 7] = [
    ("taken", Kind::Plain),
    ("sensor_id", Kind::Plain),
    ("value", Kind::Double),
    ("note", Kind::Text),
    ("quality", Kind::Text),
    ("offset_c", Kind::Plain),
    ("day", Kind::Plain),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Double,
    Text,
}

/// A row as text, column by column: texts as hexadecimal bytes, numbers in one notation.
pub(crate) type Row = Vec<String>;

/// Texts that quoting, escaping and splitting trip over. (No zero byte: PostgreSQL takes none.)
const TEXTS: [&str; 14] =
    ["", "NULL", "\\N", "it's", "\"", "a\"\",b", "\t", "\n", "\r\n", "\\", "\\\\'", "ü☺", "😀", ",;\u{1}\u{7f}"];

/// The query for the rows of an hour in a version. Rows of all versions differ.
pub(crate) fn samples(hour: &str, version: usize, rows: u64, added: usize) -> String {
    let texts: Vec<_> = TEXTS.iter().map(|text| literal(text)).collect();
    let texts = format!("[{}]", texts.join(", "));
    let random = |salt: &str, bound: u64| format!("(hash('{salt} {version} ' || i) % {bound})::BIGINT");
    let added: Vec<_> = [
        format!(
            "CASE WHEN {} > 0 THEN {texts}[{} + 1] END AS quality",
            random("q", 5),
            random("r", TEXTS.len() as u64)
        ),
        format!(
            "(({} - 500000000)::DECIMAL(12,0) * 0.001::DECIMAL(4,3))::DECIMAL(12,3) AS offset_c",
            random("o", 1_000_000_000)
        ),
        format!("DATE '1000-01-01' + {}::INTEGER AS day", random("d", 3_000_000)),
    ]
    .into_iter()
    .take(added)
    .map(|column| format!(", {column}"))
    .collect();
    format!(
        "SELECT TIMESTAMP '{}:00:00' + to_microseconds({}) AS taken, \
         [{version} * 1000000 + i, i - 9223372036854775807 - 1, 9223372036854775807 - i, NULL][{} + 1]::BIGINT AS sensor_id, \
         [{} / 977.0::DOUBLE * pow(10::DOUBLE, {} - 150), 0.1, 5e-324, 1.7976931348623157e308, -0.0, NULL][{} + 1]::DOUBLE AS value, \
         {texts}[{} + 1] || ' {version} ' || i || {texts}[{} + 1] AS note{} FROM range({rows}) r(i) ORDER BY i",
        hour.replace('T', " "),
        random("t", 3_600_000_000),
        random("s", 4),
        random("v", 2_000_000_000),
        random("e", 300),
        random("w", 6),
        random("n", TEXTS.len() as u64),
        random("m", TEXTS.len() as u64),
        added.concat(),
    )
}

/// Reads rows.
pub(crate) struct Cells {
    connection: duckdb::Connection,
}

impl Cells {
    pub(crate) fn new() -> Self {
        let session = SessionArgs { threads: Some(1), memory_limit: None, temp_dir: None };
        Self { connection: engine::open(&session).unwrap() }
    }

    /// The rows of a Parquet file, in its order.
    pub(crate) fn of_parquet(&self, path: &Path) -> Vec<Row> {
        let file = read_parquet([path]);
        let names = format!("SELECT column_name FROM (DESCRIBE SELECT * FROM {file})");
        let mut statement = self.connection.prepare(&names).unwrap();
        let names: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let cells: Vec<_> = COLUMNS
            .iter()
            .map(|(name, kind)| match kind {
                _ if !names.iter().any(|there| there == name) => "NULL".to_owned(),
                Kind::Text => format!("hex({name})"),
                _ => format!("{name}::VARCHAR"),
            })
            .collect();
        let sql = format!("SELECT {} FROM {file} ORDER BY file_row_number", cells.join(", "));
        let mut statement = self.connection.prepare(&sql).unwrap();
        let rows = statement.query_map([], |row| {
            (0..COLUMNS.len()).map(|column| row.get::<_, Option<String>>(column)).collect::<duckdb::Result<Vec<_>>>()
        });
        let row =
            |row: Vec<Option<String>>| canonical(row.into_iter().map(|cell| cell.unwrap_or_else(|| "NULL".to_owned())));
        rows.unwrap().map(|found| row(found.unwrap())).collect()
    }

    /// The rows of the table `samples` with their ids, by the start of their hour.
    pub(crate) fn of_table(target: &Target, data_dir: &DataDir) -> BTreeMap<String, Vec<(i64, Row)>> {
        let names = columns(target, data_dir);
        let cells: Vec<_> = COLUMNS
            .iter()
            .map(|(name, kind)| match kind {
                _ if !names.iter().any(|there| there == name) => "NULL".to_owned(),
                Kind::Text => hex(target, name),
                _ => (*name).to_owned(),
            })
            .collect();
        let mut hours: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in
            target.query(data_dir, &format!("SELECT window_start, id, {} FROM samples ORDER BY id", cells.join(", ")))
        {
            let [start, id, cells @ ..] = row.as_slice() else { panic!("{row:?}") };
            let row = (id.parse().unwrap(), canonical(cells.iter().cloned()));
            hours.entry(start.clone()).or_default().push(row);
        }
        hours
    }
}

/// The columns that the table has.
fn columns(target: &Target, data_dir: &DataDir) -> Vec<String> {
    let schema = match target {
        Target::File => "'main'",
        Target::MariaDb { .. } => "DATABASE()",
        Target::Postgres { .. } => "'public'",
        Target::Sqlite => return target.query(data_dir, "SELECT name FROM pragma_table_info('samples')").concat(),
    };
    let sql = format!(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = {schema} AND table_name = 'samples'"
    );
    target.query(data_dir, &sql).concat()
}

/// A text as hexadecimal bytes.
pub(crate) fn hex_of(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().concat()
}

/// A text as hexadecimal bytes, in the warehouse's SQL.
pub(crate) fn hex(target: &Target, column: &str) -> String {
    match target {
        // SQLite has no text where there is none.
        Target::Sqlite => format!("CASE WHEN {column} IS NOT NULL THEN hex({column}) END"),
        Target::File | Target::MariaDb { .. } => format!("hex({column})"),
        Target::Postgres { .. } => format!("upper(encode(convert_to({column}, 'UTF8'), 'hex'))"),
    }
}

/// Cells in one notation, whoever wrote them.
fn canonical(cells: impl IntoIterator<Item = String>) -> Row {
    let cell = |(cell, (_, kind)): (String, &(&str, Kind))| match kind {
        // SQLite keeps no sign of a zero.
        Kind::Double if cell != "NULL" => format!("{:?}", cell.parse::<f64>().unwrap() + 0.0),
        Kind::Plain => crate::target::plain(&cell),
        _ => cell,
    };
    cells.into_iter().zip(&COLUMNS).map(cell).collect()
}
