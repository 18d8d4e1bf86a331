//! Queries: the built-in ones and the user's, each with the data set that it makes.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use cli::Usage;
use layout::{Fingerprint, Name};
use models::Streams;

use crate::args::Args;
use crate::header::Header;

/// How this program surrounds a query. A change of it that changes rows changes this text: every hour is out of date.
const RULES: &str = "hour by hour; HUGEINT becomes BIGINT";

/// A query and the data set it makes.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) name: Name,
    /// One SELECT, as written.
    pub(crate) sql: String,
    /// The fingerprint of what it asks for.
    pub(crate) fingerprint: Fingerprint,
    /// Where it stands, for messages.
    pub(crate) origin: String,
    /// What its file says of itself.
    pub(crate) header: Header,
    /// The reference tables whose columns it fixes.
    pub(crate) declared: &'static [DeclaredTable],
    /// The names that it reads, in lower case as DuckDB compares them. Those of a file's query DuckDB has to find out; those
    /// of a built-in one are known, because to start DuckDB takes as long as to look at a year of hours.
    pub(crate) reads: BTreeSet<String>,
}

/// A reference table that a built-in query knows: when it is not given it is empty.
#[derive(Debug)]
pub(crate) struct DeclaredTable {
    pub(crate) name: &'static str,
    /// The columns that are used, with their SQL types. The first is the key: no two rows have the same.
    pub(crate) columns: &'static [(&'static str, &'static str)],
}

const SENSORS: DeclaredTable = DeclaredTable {
    name: "sensors",
    columns: &[("sensor_id", "BIGINT"), ("name", "VARCHAR"), ("location", "VARCHAR")],
};

/// The fingerprint of the first text of `temperatures`. The text that it has now yields the same rows, so what was made by
/// the first one is up to date.
const TEMPERATURES: &str = "bd940815b7f01e42bdf5c06a95da3bdf";

fn fingerprint(sql: &str) -> Fingerprint {
    Fingerprint::of(format!("{RULES}\n{sql}").as_bytes())
}

impl Query {
    /// The built-in query `temperatures`.
    pub(crate) fn temperatures() -> anyhow::Result<Self> {
        Ok(Self {
            name: "temperatures".parse().map_err(anyhow::Error::msg)?,
            sql: include_str!("temperatures.sql").to_owned(),
            fingerprint: Fingerprint::from_text(TEMPERATURES),
            origin: "temperatures (built in)".to_owned(),
            header: Header::none(),
            declared: &[SENSORS],
            reads: ["sensors", "telemetry"].map(str::to_owned).into(),
        })
    }

    /// So many windows of it in words.
    pub(crate) fn windows(&self, count: usize) -> String {
        cli::count(count, self.header.calendar.unit.as_str())
    }

    /// An error about the byte `position` of the query.
    pub(crate) fn error_at(&self, position: Option<usize>, message: impl Display) -> anyhow::Error {
        error_at(&self.origin, &self.sql, position, message)
    }

    fn from_file(path: &Path, name: Option<&Name>, streams: &Streams) -> anyhow::Result<Self> {
        let origin = path.display().to_string();
        let sql = std::fs::read_to_string(path).with_context(|| format!("{origin}: cannot be read"))?;
        // Some editors put a mark in front that is no part of the text.
        let sql = sql.strip_prefix('\u{feff}').map_or_else(|| sql.clone(), str::to_owned);
        let header = Header::parse(&sql).map_err(|(at, message)| error_at(&origin, &sql, Some(at), message))?;
        let name = match name.or(header.name.as_ref()) {
            Some(name) => name.clone(),
            None => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let remedy = "rename the file, or give a name by -- @name in it or by --name";
                stem.parse().map_err(|error| Usage(format!("{origin}: {error}: {remedy}")))?
            }
        };
        if streams.has(name.as_str()) {
            let taken = "is a stream, and an aggregate cannot have its name: give it another by --name";
            bail!(Usage(format!("{origin}: {name} {taken}")));
        }
        if name.as_str() == "temperatures" {
            let taken = "the built-in aggregate has the name";
            bail!(Usage(format!("{origin}: {taken} {name}: give this one another by --name")));
        }
        let fingerprint = fingerprint(&sql);
        Ok(Self { name, sql, fingerprint, origin, header, declared: &[], reads: BTreeSet::new() })
    }
}

/// An error about the byte `position` of `sql`, which stands in `origin`: the line and column, and the line itself.
fn error_at(origin: &str, sql: &str, position: Option<usize>, message: impl Display) -> anyhow::Error {
    let Some(before) = position.and_then(|position| sql.get(..position)) else {
        return anyhow!("{origin}: {message}");
    };
    let line = before.split('\n').count();
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let shown = sql.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    let lead = before.get(start..).unwrap_or_default();
    // Tabs stay, so that the mark stands below its place.
    let space: String = lead.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    anyhow!("{origin}:{line}:{}: {message}\n  {shown}\n  {space}^", lead.chars().count() + 1)
}

/// The queries that the command line names, built-in ones first.
pub(crate) fn queries(args: &Args, streams: &Streams) -> anyhow::Result<Vec<Query>> {
    let mut queries = args.built_in.iter().map(|_| Query::temperatures()).collect::<anyhow::Result<Vec<_>>>()?;
    let mut files = Vec::new();
    for given in args.sql.iter().chain(&args.check) {
        files.extend(expand(given)?);
    }
    if args.name.is_some() && files.len() != 1 {
        bail!(Usage(format!("--name names the data set of one file, and there are {}", files.len())));
    }
    for file in &files {
        queries.push(Query::from_file(file, args.name.as_ref(), streams)?);
    }
    let mut names = BTreeSet::new();
    if let Some(Query { origin, name, .. }) = queries.iter().find(|query| !names.insert(&query.name)) {
        bail!(Usage(format!("{origin}: another query makes the data set {name} already: rename one of them")));
    }
    Ok(queries)
}

/// The files that a file, a folder or a pattern stands for, in order of name. What is there as a file is no pattern.
fn expand(given: &str) -> anyhow::Result<Vec<PathBuf>> {
    let path = Path::new(given);
    let is_folder = path.is_dir();
    if path.exists() && !is_folder {
        return Ok(vec![path.to_owned()]);
    }
    let all_in = |folder: &str| format!("{}/*.sql", glob::Pattern::escape(folder.trim_end_matches('/')));
    let pattern = if is_folder { all_in(given) } else { given.to_owned() };
    let options =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let files =
        glob::glob_with(&pattern, options).map_err(|error| Usage(format!("--sql {given}: not a pattern: {error}")))?;
    let mut files: Vec<_> = files.collect::<Result<_, _>>().with_context(|| format!("--sql {given}"))?;
    files.retain(|file| {
        let irregular = file.exists() && !file.is_file();
        if irregular {
            log::warn!("{}: is no regular file, and is passed over", file.display());
        }
        !irregular
    });
    if files.is_empty() {
        let what = if is_folder { "there is no .sql file in it" } else { "there is no such file" };
        bail!(Usage(format!("--sql {given}: {what}")));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_in_query_reads_what_it_says() {
        let connection = duckdb::Connection::open_in_memory().unwrap();
        let query = Query::temperatures().unwrap();
        assert_eq!(crate::reads::parse(&connection, &query).unwrap().tables, query.reads);
    }

    #[test]
    fn the_text_of_a_built_in_query_is_not_changed_without_a_thought_to_what_it_made() {
        let text = fingerprint(&Query::temperatures().unwrap().sql);
        let known = "dbea8f15267b12987350d341aef40910";
        assert_eq!(text.as_str(), known, "rows that change need another fingerprint in TEMPERATURES: that of the text");
    }

    #[test]
    fn the_line_is_shown_with_a_mark_below_its_place() {
        let error = error_at("q.sql", "SELECT\n\t'ä', nope\nFROM x", Some(14), "no such column");
        assert_eq!(error.to_string(), "q.sql:2:7: no such column\n  \t'ä', nope\n  \t     ^");
        assert_eq!(error_at("q.sql", "x", None, "empty").to_string(), "q.sql: empty");
        assert_eq!(error_at("q.sql", "ä", Some(1), "within a letter").to_string(), "q.sql: within a letter");
    }
}
