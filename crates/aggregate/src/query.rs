//! Queries: the built-in ones and the user's, each with the data set that it makes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use layout::{Fingerprint, Name};

use crate::args::Args;

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
    /// Where it stands, for messages.
    pub(crate) origin: String,
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

impl Query {
    /// The fingerprint of what the query asks for.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(format!("{RULES}\n{}", self.sql).as_bytes())
    }

    /// The built-in query `temperatures`.
    fn temperatures() -> anyhow::Result<Self> {
        Ok(Self {
            name: "temperatures".parse().map_err(anyhow::Error::msg)?,
            sql: include_str!("temperatures.sql").to_owned(),
            origin: "temperatures (built in)".to_owned(),
            declared: &[SENSORS],
            reads: Some(&["sensors", "telemetry"]),
        })
    }

    fn from_file(path: &Path, name: Option<&Name>) -> anyhow::Result<Self> {
        let origin = path.display().to_string();
        let sql = std::fs::read_to_string(path).with_context(|| format!("{origin}: cannot be read"))?;
        let name = match name {
            Some(name) => name.clone(),
            None => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                stem.parse()
                    .map_err(|error| anyhow::anyhow!("{origin}: {error}: rename the file, or give a name by --name"))?
            }
        };
        if models::model(name.as_str()).is_some() {
            bail!("{origin}: {name} is a stream, and an aggregate cannot have its name: give it another by --name");
        }
        if name.as_str() == "temperatures" {
            bail!("{origin}: the built-in aggregate has the name {name}: give this one another by --name");
        }
        Ok(Self { name, sql, origin, declared: &[], reads: None })
    }
}

/// The queries that the command line names, built-in ones first.
pub(crate) fn queries(args: &Args) -> anyhow::Result<Vec<Query>> {
    let mut queries = Vec::new();
    for _ in &args.built_in {
        queries.push(Query::temperatures()?);
    }
    let mut files = Vec::new();
    for pattern in &args.sql {
        files.extend(expand(pattern)?);
    }
    if args.name.is_some() && files.len() != 1 {
        bail!("--name names the data set of one file, and there are {}", files.len());
    }
    for file in &files {
        queries.push(Query::from_file(file, args.name.as_ref())?);
    }
    let mut names = BTreeSet::new();
    if let Some(query) = queries.iter().find(|query| !names.insert(&query.name)) {
        bail!("{}: another query makes the data set {} already: rename one of them", query.origin, query.name);
    }
    Ok(queries)
}

/// The files that a pattern stands for, in order of name. A file whose name looks like a pattern is that file.
fn expand(pattern: &str) -> anyhow::Result<Vec<PathBuf>> {
    if Path::new(pattern).exists() {
        return Ok(vec![pattern.into()]);
    }
    let options =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let files = glob::glob_with(pattern, options).with_context(|| format!("--sql {pattern}: not a pattern"))?;
    let files: Vec<_> = files.collect::<Result<_, _>>().with_context(|| format!("--sql {pattern}"))?;
    if files.is_empty() {
        bail!("--sql {pattern}: there is no such file");
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
        assert_eq!(crate::reads::parse(&connection, &query).unwrap(), said);
    }
}
