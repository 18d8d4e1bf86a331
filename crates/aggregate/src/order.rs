//! The order of queries that read each other's data sets.

use std::collections::BTreeSet;

use anyhow::bail;

use crate::query::Query;

/// A query and the names that it reads.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) query: Query,
    pub(crate) names: BTreeSet<String>,
}

/// Puts queries behind those whose data sets they read; else they stay in order. A cycle is an error that names it.
pub(crate) fn in_order(mut waiting: Vec<Read>) -> anyhow::Result<Vec<Read>> {
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|read| waits_for(read, &waiting).is_none());
        match ready {
            Some(ready) => ordered.push(waiting.remove(ready)),
            None => bail!("{}: give one of them other inputs", cycle(&waiting)),
        }
    }
    Ok(ordered)
}

/// One of `others` whose data set `read` reads. (One that reads its own is refused elsewhere.)
fn waits_for<'r>(read: &Read, others: &'r [Read]) -> Option<&'r Read> {
    let reads = |other: &&Read| read.names.contains(other.query.name.as_str()) && other.query.name != read.query.name;
    others.iter().find(reads)
}

/// The cycle that is met when each of `waiting` waits for another.
fn cycle(waiting: &[Read]) -> String {
    let mut path: Vec<&Read> = waiting.first().into_iter().collect();
    while let Some(next) = path.last().and_then(|last| waits_for(last, waiting)) {
        if let Some(first) = path.iter().position(|read| read.query.name == next.query.name) {
            let names = path.iter().skip(first).chain([&next]);
            let names: Vec<_> = names.map(|read| format!("{} ({})", read.query.name, read.query.origin)).collect();
            return format!("the data sets are made of each other: {}", names.join(" reads "));
        }
        path.push(next);
    }
    String::from("the data sets are made of each other")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, names: &[&str]) -> Read {
        let mut query = Query::temperatures().unwrap();
        query.name = name.parse().unwrap();
        query.origin = format!("{name}.sql");
        Read { query, names: names.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn a_query_comes_after_those_it_reads() {
        let reads = vec![read("a", &["c", "telemetry"]), read("b", &["telemetry"]), read("c", &["b"]), read("d", &[])];
        let ordered = in_order(reads).unwrap();
        let names: Vec<_> = ordered.iter().map(|read| read.query.name.as_str()).collect();
        assert_eq!(names, ["b", "c", "a", "d"]);
    }

    #[test]
    fn a_cycle_is_named_without_what_only_leads_to_it() {
        let reads = vec![read("x", &["a"]), read("a", &["b"]), read("b", &["c"]), read("c", &["a"])];
        let error = in_order(reads).unwrap_err().to_string();
        assert_eq!(
            error,
            "the data sets are made of each other: a (a.sql) reads b (b.sql) reads c (c.sql) reads a (a.sql): \
             give one of them other inputs"
        );
    }
}
