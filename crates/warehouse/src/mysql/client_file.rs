//! The file of MySQL's and MariaDB's own clients, `~/.my.cnf`: user and password in the groups that every client reads. Which
//! server is meant only the environment says.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use anyhow::Context as _;

/// What the file says, by the names of the environment's variables. A file that everybody may change is skipped with
/// a warning, as the clients do.
pub(crate) fn read() -> anyhow::Result<BTreeMap<&'static str, String>> {
    let Some(home) = std::env::var_os("HOME") else { return Ok(BTreeMap::new()) };
    let path = PathBuf::from(home).join(".my.cnf");
    let Ok(metadata) = path.metadata() else { return Ok(BTreeMap::new()) };
    if metadata.mode() & 0o002 != 0 {
        log::warn!("{}: is not read, because everybody may change it: chmod 600", path.display());
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}: cannot be read", path.display()))?;
    Ok(parse(&text))
}

/// The groups that every client reads; a later line wins.
const GROUPS: [&str; 3] = ["client", "client-server", "client-mariadb"];

fn parse(text: &str) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    let mut is_ours = false;
    for line in text.lines().map(str::trim) {
        if let Some(group) = line.strip_prefix('[') {
            is_ours = group.split(']').next().is_some_and(|group| GROUPS.contains(&group.trim()));
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_ours && !line.starts_with(['#', ';'])) {
            let name = match key.trim() {
                "user" => "DB_USER",
                "password" => "DB_PASSWORD",
                _ => continue,
            };
            found.insert(name, unquoted(value.trim()));
        }
    }
    found
}

/// A value without its quotes, its comment and its escapes.
fn unquoted(value: &str) -> String {
    let quote = value.chars().next().filter(|first| ['\'', '"'].contains(first));
    let value = match quote {
        Some(quote) => value.get(1..).and_then(|rest| rest.rsplit_once(quote)).map_or(value, |(inner, _)| inner),
        None => value.split(" #").next().unwrap_or(value).trim_end(),
    };
    let mut plain = String::new();
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match (c, c == '\\') {
            (_, true) => match rest.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some('r') => plain.push('\r'),
                Some('b') => plain.push('\u{8}'),
                Some('s') => plain.push(' '),
                Some(c @ ('\\' | '"' | '\'')) => plain.push(c),
                Some(c) => plain.extend(['\\', c]),
                None => plain.push('\\'),
            },
            (c, false) => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_groups_are_read_and_no_others() {
        let text = "[mysqld]\nuser=mysql\n\n[client]\n# user=no\nuser = loader\npassword=\"a#b\\\\ \\\"c'\"  # said\n\
                    socket=/run/s\n[mysqldump]\npassword=other\n[client-mariadb]\nport = 3307 # here\n";
        let found = parse(text);
        let expected = [("DB_PASSWORD", "a#b\\ \"c'".to_owned()), ("DB_USER", "loader".to_owned())];
        assert_eq!(found, expected.into());
    }
}
