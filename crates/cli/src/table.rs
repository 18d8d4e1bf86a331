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
#[derive(Debug)]
pub struct Table<W> {
    out: W,
    format: Format,
    columns: Vec<String>,
    held: Vec<Vec<Value>>,
}

impl<W: Write> Table<W> {
    /// Begins a table with these columns.
    pub fn new(mut out: W, format: Format, columns: Vec<String>) -> io::Result<Self> {
        if format == Format::Csv {
            write_csv(&mut out, columns.iter().map(|name| name.as_str().into()))?;
        }
        Ok(Self { out, format, columns, held: Vec::new() })
    }

    /// Adds a row, one value for each column.
    pub fn row(&mut self, row: Vec<Value>) -> io::Result<()> {
        match self.format {
            Format::Table => self.held.push(row),
            Format::Csv => write_csv(&mut self.out, row.iter().map(text))?,
            Format::Ndjson => {
                let object: Map<_, _> = self.columns.iter().cloned().zip(row).collect();
                serde_json::to_writer(&mut self.out, &object)?;
                self.out.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    /// Prints what is held back and flushes.
    pub fn finish(mut self) -> io::Result<()> {
        if self.format == Format::Table {
            let cells: Vec<Vec<_>> = self.held.iter().map(|row| row.iter().map(text).collect()).collect();
            let widths: Vec<usize> = (0..self.columns.len())
                .map(|column| {
                    let cells = cells.iter().filter_map(|row| row.get(column));
                    let header = self.columns.get(column).map_or(0, |name| name.chars().count());
                    cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(header)
                })
                .collect();
            let right: Vec<bool> = (0..self.columns.len())
                .map(|column| self.held.iter().filter_map(|row| row.get(column)).any(Value::is_number))
                .collect();
            for row in std::iter::once(&self.columns).chain(&cells) {
                let mut line = String::new();
                for ((cell, width), right) in row.iter().zip(&widths).zip(&right) {
                    let padding = " ".repeat(width - cell.chars().count());
                    let (first, second) = if *right { (padding.as_str(), cell) } else { (cell.as_str(), &padding) };
                    line.extend([first, second, "  "]);
                }
                writeln!(self.out, "{}", line.trim_end())?;
            }
        }
        self.out.flush()
    }
}

/// A value as a cell: text without quotes, nothing for null.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn write_csv(out: &mut impl Write, cells: impl Iterator<Item = String>) -> io::Result<()> {
    let cells: Vec<_> =
        cells
            .map(|cell| {
                if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
            })
            .collect();
    writeln!(out, "{}", cells.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn print(format: Format) -> String {
        let mut out = Vec::new();
        let mut table = Table::new(&mut out, format, vec!["name".into(), "n".into()]).unwrap();
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
}
