//! The order of queries that read each other's data sets.

use anyhow::bail;

use crate::query::Query;

/// Puts queries behind those whose data sets they read; else they stay in order. A cycle is an error that names it.
pub(crate) fn in_order(mut waiting: Vec<Query>) -> anyhow::Result<Vec<Query>> {
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        match waiting.iter().position(|query| waits_for(query, &waiting).is_none()) {
            Some(ready) => ordered.push(waiting.remove(ready)),
            None => bail!("{}: give one of them other inputs", cycle(&waiting)),
        }
    }
    Ok(ordered)
}

/// One of `others` whose data set `query` reads. (One that reads its own is refused elsewhere.)
fn waits_for<'q>(query: &Query, others: &'q [Query]) -> Option<&'q Query> {
    others.iter().find(|other| query.reads.contains(other.name.as_str()) && other.name != query.name)
}

/// The cycle that is met when each of `waiting` waits for another.
fn cycle(waiting: &[Query]) -> String {
    let mut path: Vec<&Query> = waiting.first().into_iter().collect();
    while let Some(next) = path.last().and_then(|last| waits_for(last, waiting)) {
        if let Some(first) = path.iter().position(|query| query.name == next.name) {
            let names = path.iter().skip(first).chain([&next]);
            let names: Vec<_> = names.map(|query| format!("{} ({})", query.name, query.origin)).collect();
            return format!("the data sets are made of each other: {}", names.join(" reads "));
        }
        path.push(next);
    }
    String::from("the data sets are made of each other")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, reads: &[&str]) -> Query {
        let reads = reads.iter().map(ToString::to_string).collect();
        Query { name: name.parse().unwrap(), origin: format!("{name}.sql"), reads, ..Query::temperatures().unwrap() }
    }

    #[test]
    fn a_query_comes_after_those_it_reads() {
        let queries =
            vec![query("a", &["c", "telemetry"]), query("b", &["telemetry"]), query("c", &["b"]), query("d", &[])];
        let ordered = in_order(queries).unwrap();
        let names: Vec<_> = ordered.iter().map(|query| query.name.as_str()).collect();
        assert_eq!(names, ["b", "c", "a", "d"]);
    }

    #[test]
    fn a_cycle_is_named_without_what_only_leads_to_it() {
        let queries = vec![query("x", &["a"]), query("a", &["b"]), query("b", &["c"]), query("c", &["a"])];
        let error = in_order(queries).unwrap_err().to_string();
        assert_eq!(
            error,
            "the data sets are made of each other: a (a.sql) reads b (b.sql) reads c (c.sql) reads a (a.sql): \
             give one of them other inputs"
        );
    }
}
