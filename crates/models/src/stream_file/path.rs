//! Paths to values: `a.b`, `a[0].b`, `a[].b`, `"a key".b`.

use crate::schema::{Step, is_plain_key};

/// The path that `text` says, or what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Vec<Step>, String> {
    let mut path = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let step;
        if let Some(inside) = rest.strip_prefix('[') {
            let (index, after) = inside.split_once(']').ok_or("a `[` without its `]`")?;
            step = match index {
                "" => Step::Each,
                _ => Step::Index(index.parse().map_err(|_| {
                    format!("`[{index}]` is no index: write `[0]` for the first element, `[]` for a row of each")
                })?),
            };
            rest = after;
        } else {
            if !path.is_empty() {
                rest = rest.strip_prefix('.').ok_or_else(|| format!("a `.` is missing before `{rest}`"))?;
            }
            let (key, after) = key(rest)?;
            step = Step::Key(key);
            rest = after;
        }
        path.push(step);
    }
    match path.first() {
        None => Err("the path is empty".into()),
        // serde_json goes no deeper.
        Some(_) if path.len() > 100 => Err("the path has more than 100 steps".into()),
        Some(Step::Key(_)) => Ok(path),
        Some(_) => Err("a message is an object: its path begins with a key".into()),
    }
}

/// The key that `text` begins with, and what follows it.
fn key(text: &str) -> Result<(String, &str), String> {
    if text.starts_with('"') {
        let mut keys = serde_json::Deserializer::from_str(text).into_iter::<String>();
        return match keys.next() {
            Some(Ok(key)) => Ok((key, text.get(keys.byte_offset()..).unwrap_or_default())),
            _ => Err(format!("`{text}` has a quote without its end")),
        };
    }
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (key, rest) = text.split_at(end);
    if is_plain_key(key) {
        Ok((key.to_owned(), rest))
    } else {
        Err(format!("`{key}` is no key: quote it as in '\"{key}\"'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Written;

    #[test]
    fn a_path_is_read_and_written() {
        for text in
            ["a", "a.b.c", "a[0].b", "a[].b", "a[1][2]", "\"a key\".\"x.y\"", "messung.größe", "sensors.ds18b20-1"]
        {
            let path = parse(text).unwrap();
            assert_eq!(Written(&path).to_string(), text);
        }
        for (text, words) in [
            ("", "empty"),
            ("[0]", "begins with a key"),
            ("a..b", "no key"),
            ("a b", "quote it"),
            ("a[x]", "no index"),
            ("a[0", "without its"),
            ("a[0]b", "a `.` is missing"),
            ("\"a", "quote without"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
