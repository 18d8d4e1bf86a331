//! Queries: the built-in ones and the user's, each with the data set that it makes.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cli::Usage;
use layout::{Fingerprint, Name};

use crate::args::Args;
use crate::calendar::Calendar;
use crate::header::Header;
use crate::location::error_at;

/// How this program surrounds a query. A change of it that changes rows changes this text, and so makes every hour out
/// of date.
const RULES: &str = "hour by hour; HUGEINT becomes BIGINT";

/// A query and the data set it makes.
#[derive(Debug)]
pub(crate) struct Query {
    /// The data set's name.
    pub(crate) name: Name,
    /// One SELECT, as written.
    pub(crate) sql: String,
    /// The fingerprint of what it asks for.
    pub(crate) fingerprint: Fingerprint,
    /// Where it stands, for messages.
    pub(crate) origin: String,
    /// The windows that it sees one at a time.
    pub(crate) calendar: Calendar,
    /// The columns that no two rows of a window have equal; none if that is not looked at.
    pub(crate) key: Vec<String>,
    /// The reference tables whose change makes nothing out of date.
    pub(crate) ignore_changes: BTreeSet<String>,
    /// The reference tables whose columns it fixes.
    pub(crate) declared: &'static [DeclaredTable],
    /// The tables that it reads, where that is known and DuckDB need not be asked, whose start takes as long as to look
    /// at a year of hours.
    pub(crate) reads: Option<&'static [&'static str]>,
}

/// A reference table that a built-in query knows: when it is not given it is empty.
#[derive(Debug)]
pub(crate) struct DeclaredTable {
    /// Its name.
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
            calendar: Calendar::hourly(),
            key: Vec::new(),
            ignore_changes: BTreeSet::new(),
            declared: &[SENSORS],
            reads: Some(&["sensors", "telemetry"]),
        })
    }

    /// An error about the byte `position` of the query.
    pub(crate) fn error_at(&self, position: Option<usize>, message: impl Display) -> anyhow::Error {
        error_at(&self.origin, &self.sql, position, message)
    }

    fn from_file(path: &Path, name: Option<&Name>) -> anyhow::Result<Self> {
        let origin = path.display().to_string();
        let sql = std::fs::read_to_string(path).with_context(|| format!("{origin}: cannot be read"))?;
        // Some editors put a mark in front that is no part of the text.
        let sql = sql.strip_prefix('\u{feff}').map_or_else(|| sql.clone(), str::to_owned);
        let header = Header::parse(&sql).map_err(|(at, message)| error_at(&origin, &sql, Some(at), message))?;
        let name = match name.cloned().or(header.name) {
            Some(name) => name,
            None => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let remedy = "rename the file, or give a name by -- @name in it or by --name";
                stem.parse().map_err(|error| Usage(format!("{origin}: {error}: {remedy}")))?
            }
        };
        let taken = if models::model(name.as_str()).is_some() {
            Some(format!("{name} is a stream, and an aggregate cannot have its name: give it another by --name"))
        } else if name.as_str() == "temperatures" {
            Some(format!("the built-in aggregate has the name {name}: give this one another by --name"))
        } else {
            None
        };
        match taken {
            Some(taken) => Err(Usage(format!("{origin}: {taken}")).into()),
            None => Ok(Self {
                name,
                fingerprint: fingerprint(&sql),
                sql,
                origin,
                calendar: header.calendar,
                key: header.key,
                ignore_changes: header.ignore_changes,
                declared: &[],
                reads: None,
            }),
        }
    }
}

/// The queries that the command line names, built-in ones first.
pub(crate) fn queries(args: &Args) -> anyhow::Result<Vec<Query>> {
    let mut queries = Vec::new();
    for _ in &args.built_in {
        queries.push(Query::temperatures()?);
    }
    let mut files = Vec::new();
    for given in args.sql.iter().chain(&args.check) {
        files.extend(expand(given)?);
    }
    if args.name.is_some() && files.len() != 1 {
        return Err(Usage(format!("--name names the data set of one file, and there are {}", files.len())).into());
    }
    for file in &files {
        queries.push(Query::from_file(file, args.name.as_ref())?);
    }
    let mut names = BTreeSet::new();
    if let Some(query) = queries.iter().find(|query| !names.insert(&query.name)) {
        let (origin, name) = (&query.origin, &query.name);
        let taken = format!("{origin}: another query makes the data set {name} already: rename one of them");
        return Err(Usage(taken).into());
    }
    Ok(queries)
}

/// The files that a file, a folder or a pattern stands for, in order of name. A file whose name looks like a pattern is
/// that file.
fn expand(given: &str) -> anyhow::Result<Vec<PathBuf>> {
    let path = Path::new(given);
    if path.is_dir() {
        return matching(&format!("{}/*.sql", glob::Pattern::escape(given.trim_end_matches('/'))), given);
    }
    if path.exists() {
        return Ok(vec![path.to_owned()]);
    }
    matching(given, given)
}

fn matching(pattern: &str, given: &str) -> anyhow::Result<Vec<PathBuf>> {
    let options =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let files =
        glob::glob_with(pattern, options).map_err(|error| Usage(format!("--sql {given}: not a pattern: {error}")))?;
    let mut files: Vec<_> = files.collect::<Result<_, _>>().with_context(|| format!("--sql {given}"))?;
    files.retain(|file| {
        let irregular = file.exists() && !file.is_file();
        if irregular {
            log::warn!("{}: is no regular file, and is passed over", file.display());
        }
        !irregular
    });
    if files.is_empty() {
        let what = if Path::new(given).is_dir() { "there is no .sql file in it" } else { "there is no such file" };
        return Err(Usage(format!("--sql {given}: {what}")).into());
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
        let said: BTreeSet<_> = query.reads.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(crate::reads::parse(&connection, &query).unwrap().tables, said);
    }

    #[test]
    fn the_text_of_a_built_in_query_is_not_changed_without_a_thought_to_what_it_made() {
        let text = fingerprint(&Query::temperatures().unwrap().sql);
        let known = "dbea8f15267b12987350d341aef40910";
        assert_eq!(text.as_str(), known, "rows that change need another fingerprint in TEMPERATURES: that of the text");
    }
}
