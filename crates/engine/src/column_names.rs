//! The rule for the names of a data set's columns: every kind of warehouse can have them as they are.
//!
//! DuckDB takes any name. PostgreSQL cuts what is longer than 63 bytes, MariaDB refuses spaces at the end and characters
//! beyond the Basic Multilingual Plane, and takes `Ärger` and `ärger` for one column where DuckDB has two.

use std::collections::HashMap;

/// Columns that the table of a data set has for itself, and those by which DuckDB numbers the rows of Parquet files.
const RESERVED: [&str; 4] = ["id", "window_start", "file_index", "file_row_number"];

/// How many bytes of a name PostgreSQL keeps.
const MOST_BYTES: usize = 63;

/// Fails unless columns of these names can be together in a table of every warehouse. The error says what to do.
pub fn check_column_names<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<(), String> {
    let mut seen = HashMap::new();
    for name in names {
        let other = seen.insert(folded_name(name), name);
        if let Some(problem) = problem(name, other) {
            return Err(format!("the column {name:?} {problem}: give it another name in the query, by AS name"));
        }
    }
    Ok(())
}

/// What is wrong with a name, after that of the `other` column with which it would be confused.
fn problem(name: &str, other: Option<&str>) -> Option<String> {
    Some(match name {
        _ if name.trim().is_empty() => "has no name".to_owned(),
        _ if name.trim() != name => "has a space at an end of its name".to_owned(),
        _ if name.chars().any(char::is_control) => "has a control character in its name".to_owned(),
        _ if name.chars().any(|c| u32::from(c) > 0xFFFF) => {
            "has a character in its name that MariaDB has not in names".to_owned()
        }
        _ if name.len() > MOST_BYTES => {
            format!("has a name of {} bytes, of which PostgreSQL would keep {MOST_BYTES}", name.len())
        }
        _ if RESERVED.contains(&folded_name(name).as_str()) => "has a name that tables have for themselves".to_owned(),
        _ => format!("has the same name as {:?} where upper and lower case are one", other?),
    })
}

/// A name in a form that is equal for names that any warehouse takes for equal: without case, as Unicode has it. MariaDB
/// takes `İ` for `i`, which Unicode writes with a dot of its own.
pub fn folded_name(name: &str) -> String {
    let folded = name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    folded.filter(|c| *c != '\u{307}').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_every_warehouse_has_are_accepted() {
        let longest = "x".repeat(63);
        let names = ["sensor_id", "Ärger", "arger", "count_star()", "a b", "a\"b`c", "größe", "温度", "_", &longest];
        assert_eq!(check_column_names(names), Ok(()));
    }

    #[test]
    fn other_names_are_refused_with_what_to_do() {
        for (names, problem) in [
            (&["a", ""] as &[&str], "the column \"\" has no name"),
            (&[" "], "has no name"),
            (&["a "], "the column \"a \" has a space at an end"),
            (&["\u{a0}a"], "has a space at an end"),
            (&["a\tb"], "the column \"a\\tb\" has a control character"),
            (&["a\u{9b}b"], "has a control character"),
            (&["heiß 😀"], "has a character in its name that MariaDB"),
            (&["ä".repeat(32).as_str()], "has a name of 64 bytes, of which PostgreSQL would keep 63"),
            (&["ID"], "the column \"ID\" has a name that tables have for themselves"),
            (&["window_start"], "has a name that tables have for themselves"),
            (&["Ärger", "ärger"], "the column \"ärger\" has the same name as \"Ärger\""),
            (&["maß", "x", "MASS"], "the column \"MASS\" has the same name as \"maß\""),
            (&["Σας", "σασ"], "has the same name as \"Σας\""),
            (&["İ", "i"], "has the same name as \"İ\""),
            (&["\u{212a}", "k"], "has the same name as"),
        ] {
            let error = check_column_names(names.iter().copied()).unwrap_err();
            assert!(error.contains(problem), "{names:?}: {error}");
            assert!(error.ends_with(": give it another name in the query, by AS name"), "{error}");
        }
    }
}
