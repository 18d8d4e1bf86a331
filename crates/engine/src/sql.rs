//! Text from outside as SQL: the only place where it is quoted.

/// `name` as an SQL identifier, whatever it contains.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `text` as an SQL string, whatever it contains.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
