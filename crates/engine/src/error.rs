//! Errors of DuckDB in one line.

use anyhow::Error;

/// What went wrong, from the outside in. DuckDB's part is its message, without the excerpt of the SQL text and the code,
/// which is always the same, that the crate puts to it.
pub fn explain(error: &Error) -> String {
    let mut parts = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if cause.is::<duckdb::Error>() {
            let message = text.split("\n\nLINE ").next().unwrap_or_default();
            let lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
            parts.push(lines.collect::<Vec<_>>().join(" "));
            break;
        }
        parts.push(text);
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    #[test]
    fn an_error_is_one_line_without_the_excerpt_and_the_code() {
        let connection = duckdb::Connection::open_in_memory().unwrap();
        let error = connection.execute_batch("SELECT nothing FROM range(1)").context("x.sql").unwrap_err();
        let line = super::explain(&error);
        assert!(
            line.starts_with("x.sql: Binder Error: Referenced column \"nothing\" not found in FROM clause!"),
            "{line}"
        );
        assert!(!line.contains('\n') && !line.contains("LINE") && !line.contains("Error code"), "{line}");
    }
}
