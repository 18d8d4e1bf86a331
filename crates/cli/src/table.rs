//! Results on stdout: as a table for people, NDJSON or CSV for pipes.

use std::io::{self, Write};

use serde_json::{Map, Value};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people
    Table,
    /// A JSON object per line
    Ndjson,
    /// Comma-separated values with a header (RFC 4180)
    Csv,
}

/// Rows to print. NDJSON and CSV are written as they come; a table is held back until its widths are known.
/// In CSV an empty text is `""`, and null is nothing. In a table, characters that would move the cursor, colour the terminal
/// or reorder the line are escaped: text may come from any device.
#[derive(Debug)]
pub struct Table<W> {
    out: W,
    format: Format,
    columns: Vec<String>,
    held: Vec<Vec<Value>>,
}

impl<W: Write> Table<W> {
    /// Begins a table with these columns.
    pub fn new<C: Into<String>>(out: W, format: Format, columns: impl IntoIterator<Item = C>) -> io::Result<Self> {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        let header = columns.iter().map(|name| name.as_str().into()).collect();
        let mut table = Self { out, format, columns, held: Vec::new() };
        if format != Format::Ndjson {
            table.row(header)?;
        }
        Ok(table)
    }

    /// Adds a row, one value for each column.
    pub fn row(&mut self, row: Vec<Value>) -> io::Result<()> {
        match self.format {
            Format::Table => self.held.push(row),
            Format::Csv => writeln!(self.out, "{}", row.iter().map(csv_cell).collect::<Vec<_>>().join(","))?,
            Format::Ndjson => {
                let object: Map<_, _> = self.columns.iter().cloned().zip(row).collect();
                serde_json::to_writer(&mut self.out, &object)?;
                writeln!(self.out)?;
            }
        }
        Ok(())
    }

    /// Prints what is held back and flushes.
    pub fn finish(mut self) -> io::Result<()> {
        // Of each column its width and whether it has numbers, which stand to the right.
        let mut columns = vec![(0, false); self.columns.len()];
        let mut lines = Vec::with_capacity(self.held.len());
        for row in &self.held {
            let cells: Vec<_> = row.iter().map(|cell| escape(&text(cell))).collect();
            for ((width, is_right), (cell, value)) in columns.iter_mut().zip(cells.iter().zip(row)) {
                *width = cell.chars().count().max(*width);
                *is_right |= value.is_number();
            }
            lines.push(cells);
        }
        for cells in lines {
            let padded = cells.iter().zip(&columns).map(|(cell, (width, is_right))| {
                if *is_right { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") }
            });
            writeln!(self.out, "{}", padded.collect::<String>().trim_end())?;
        }
        self.out.flush()
    }
}

/// A value as text: without quotes, nothing for null.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `text` with escapes for what a terminal would do: control characters, directions of writing, separators of lines.
pub(crate) fn escape(text: &str) -> String {
    let is_shown = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_shown(c) { escaped.push(c) } else { escaped.extend(c.escape_default()) }
    }
    escaped
}

fn csv_cell(value: &Value) -> String {
    let text = text(value);
    let is_plain = value.is_null() || (!text.is_empty() && !text.contains([',', '"', '\n', '\r']));
    if is_plain { text } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn print(format: Format) -> String {
        let mut out = Vec::new();
        let mut table = Table::new(&mut out, format, ["name", "n"]).unwrap();
        table.row(vec![json!("a,\"b\""), json!(10)]).unwrap();
        table.row(vec![json!(null), json!(2.5)]).unwrap();
        table.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_format_prints_the_same_rows() {
        assert_eq!(print(Format::Table), "name     n\na,\"b\"   10\n       2.5\n");
        assert_eq!(print(Format::Ndjson), "{\"name\":\"a,\\\"b\\\"\",\"n\":10}\n{\"name\":null,\"n\":2.5}\n");
        assert_eq!(print(Format::Csv), "name,n\n\"a,\"\"b\"\"\",10\n,2.5\n");
    }

    fn print_text(format: Format, column: &str, text: &str) -> String {
        let mut out = Vec::new();
        let mut table = Table::new(&mut out, format, [column, "n"]).unwrap();
        table.row(vec![json!(text), json!(1)]).unwrap();
        table.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_cannot_do_anything_to_a_terminal() {
        let table = print_text(Format::Table, "a\u{1b}", "\u{1b}[2Jgone\r\u{7}\u{9b}1m\n\u{202e}x\u{2028}\t\u{7f}ä");
        assert_eq!(
            table,
            "a\\u{1b}                                                   n\n\\u{1b}[2Jgone\\r\\u{7}\\u{9b}1m\\n\\u{202e}x\\u{2028}\\t\\u{7f}ä  1\n"
        );
        let csv = print_text(Format::Csv, "a", "\u{1b}[2J\r");
        assert_eq!(csv, "a,n\n\"\u{1b}[2J\r\",1\n", "what a pipe reads stays as it is");
        let line: Value = serde_json::from_str(&print_text(Format::Ndjson, "a", "\u{1b}[2J\r")).unwrap();
        assert_eq!(line, json!({"a": "\u{1b}[2J\r", "n": 1}));
    }

    #[test]
    fn an_empty_text_is_not_null_in_csv() {
        assert_eq!(print_text(Format::Csv, "", ""), "\"\",n\n\"\",1\n");
    }
}
