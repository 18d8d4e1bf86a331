//! CSV as INSERTs of many rows.

use std::io::BufRead;

use super::client::ClientError;

/// How long a statement becomes before the next one begins. Servers take one of 1 MiB at least, the oldest of them; what
/// a longer row needs is the server's to say.
const LONG: usize = 512 << 10;

/// Has `run` run statements that begin with `head` and insert the rows of `csv`; returns how many rows they inserted.
pub(super) fn send(
    mut csv: impl BufRead,
    head: &str,
    mut run: impl FnMut(&str) -> Result<u64, ClientError>,
) -> Result<u64, ClientError> {
    let mut rows = 0;
    let mut statement = Statement::new(head);
    loop {
        let piece = csv.fill_buf().map_err(|error| ClientError::because(&error))?;
        if piece.is_empty() {
            break;
        }
        let length = piece.len();
        for byte in piece {
            statement.push(*byte);
            if statement.is_long() {
                rows += run(statement.text()?)?;
                statement = Statement::new(head);
            }
        }
        csv.consume(length);
    }
    if !statement.is_empty() {
        rows += run(statement.text()?)?;
    }
    Ok(rows)
}

/// Where in the CSV the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CsvState {
    RowStart,
    FieldStart,
    Bare,
    Enclosed,
    /// Behind a quote inside of an enclosed field: its end, or the first half of a quote.
    Quote,
}

/// A statement in the making.
struct Statement {
    text: Vec<u8>,
    head: usize,
    state: CsvState,
    /// The field at hand, if it is not enclosed: the word NULL is no text.
    bare: Vec<u8>,
}

impl Statement {
    fn new(head: &str) -> Self {
        Self { text: head.as_bytes().to_vec(), head: head.len(), state: CsvState::RowStart, bare: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.text.len() == self.head
    }

    /// Whether it is complete and long enough to be run.
    fn is_long(&self) -> bool {
        self.state == CsvState::RowStart && self.text.len() >= LONG
    }

    fn text(&self) -> Result<&str, ClientError> {
        if self.state != CsvState::RowStart {
            return Err(ClientError::because(&"DuckDB's rows end in the middle of one"));
        }
        std::str::from_utf8(&self.text).map_err(|error| ClientError::because(&error))
    }

    fn push(&mut self, byte: u8) {
        match (self.state, byte) {
            (CsvState::RowStart, _) => {
                self.text.extend_from_slice(if self.is_empty() { b"(" } else { b",(" });
                self.state = CsvState::FieldStart;
                self.push(byte);
            }
            (CsvState::FieldStart, b'"') => {
                self.text.push(b'\'');
                self.state = CsvState::Enclosed;
            }
            (CsvState::Enclosed, b'"') => self.state = CsvState::Quote,
            (CsvState::Quote, b'"') => {
                self.text.push(b'"');
                self.state = CsvState::Enclosed;
            }
            (CsvState::Enclosed, _) => self.text.extend_from_slice(escaped(&byte)),
            (CsvState::Quote, _) => {
                self.text.push(b'\'');
                self.end_field(byte);
            }
            (CsvState::FieldStart | CsvState::Bare, b',' | b'\n') => {
                self.end_bare();
                self.end_field(byte);
            }
            (CsvState::FieldStart | CsvState::Bare, _) => {
                self.bare.push(byte);
                self.state = CsvState::Bare;
            }
        }
    }

    fn end_bare(&mut self) {
        if self.bare == b"NULL" {
            self.text.extend_from_slice(b"NULL");
        } else {
            self.text.push(b'\'');
            self.bare.iter().for_each(|byte| self.text.extend_from_slice(escaped(byte)));
            self.text.push(b'\'');
        }
        self.bare.clear();
    }

    fn end_field(&mut self, byte: u8) {
        let is_row = byte == b'\n';
        self.text.push(if is_row { b')' } else { b',' });
        self.state = if is_row { CsvState::RowStart } else { CsvState::FieldStart };
    }
}

/// A byte of a text between `'`.
fn escaped(byte: &u8) -> &[u8] {
    match byte {
        b'\'' => b"''",
        b'\\' => b"\\\\",
        0 => b"\\0",
        _ => std::slice::from_ref(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(csv: &[u8]) -> Vec<String> {
        let mut sent = Vec::new();
        send(csv, "INSERT ", |sql| {
            sent.push(sql.to_owned());
            Ok(1)
        })
        .unwrap();
        sent
    }

    #[test]
    fn a_null_is_no_text_and_a_text_is_what_it_was() {
        let csv = b"1,NULL,\"NULL\",,\"\"\n-2.5,\"a\"\"b,c\nd\",it's \\ \0,null,\"\"\"\"\n";
        assert_eq!(
            statements(csv),
            [r#"INSERT ('1',NULL,'NULL','',''),('-2.5','a"b,c|d','it''s \\ \0','null','"')"#.replace('|', "\n")]
        );
        assert!(statements(b"").is_empty());
    }

    #[test]
    fn a_statement_ends_where_it_is_long_enough() {
        let row = format!("{}\n", "x".repeat(LONG / 2));
        assert_eq!(statements(row.repeat(5).as_bytes()).len(), 3);
        assert!(send(&b"1,\"a"[..], "INSERT ", |_| Ok(1)).is_err());
    }
}
