//! Which hours are made: a pure function of what the tree holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use layout::{Commit, Fingerprint, Hour, HourRange, Lineage, Name, Tree};

/// An hour that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// The hour.
    pub(crate) hour: Hour,
    /// The data sets that have it, with the fingerprints of their files.
    pub(crate) inputs: BTreeMap<Name, Fingerprint>,
    /// Why it is made.
    pub(crate) reason: Reason,
}

/// Why an hour is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It is not there yet.
    Missing,
    /// It was made by another query.
    Query,
    /// This reference table was given, or not, or had another content.
    Table(String),
    /// This data set had another file for the hour, or none, or has none any more.
    Input(Name),
    /// It is wanted although it is up to date.
    Asked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("not made yet"),
            Self::Query => f.write_str("the query has changed"),
            Self::Table(name) => write!(f, "the table {name} has changed"),
            Self::Input(name) => write!(f, "{name} has changed"),
            Self::Asked => f.write_str("asked for"),
        }
    }
}

/// What a query is made of apart from the hours that it reads.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// The query.
    pub(crate) query: Fingerprint,
    /// The reference tables.
    pub(crate) tables: BTreeMap<String, Fingerprint>,
}

/// What the tree holds of the data sets that a query reads and of the one it makes.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    /// The files of each hour of the data sets that it reads.
    pub(crate) inputs: BTreeMap<Hour, BTreeMap<Name, layout::Result<Commit>>>,
    /// The hours it has made.
    pub(crate) output: BTreeMap<Hour, layout::Result<Commit>>,
    /// The hours that retention has removed, of what it reads or of what it makes.
    pub(crate) expired: BTreeSet<Hour>,
}

/// The hours to make, in order, and those that cannot be.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// To make.
    pub(crate) windows: Vec<Window>,
    /// Hours with a file that cannot be read, and what to do about it.
    pub(crate) unreadable: Vec<(Hour, String)>,
    /// How many hours are up to date.
    pub(crate) fresh: usize,
    /// How many hours are left as they are, because retention removed a part of them.
    pub(crate) expired: usize,
}

impl Holdings {
    /// Looks at the tree. Without an `output`, only at what is read.
    pub(crate) fn look(
        tree: &Tree,
        datasets: &[Name],
        output: Option<&Name>,
        range: HourRange,
    ) -> layout::Result<Self> {
        let mut holdings = Self::default();
        // Side by side: to list the folders of a year takes about as long as to read its footers on two threads.
        let (made, read) = std::thread::scope(|scope| {
            let made = output.map(|output| scope.spawn(|| tree.hours(output, range)));
            let read = datasets.iter().map(|dataset| Ok((dataset, tree.hours(dataset, range)?)));
            let read = read.collect::<layout::Result<Vec<_>>>();
            (made.map(|made| made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))), read)
        });
        let mut expired = BTreeSet::new();
        for (dataset, hours) in read? {
            for (file, commit) in hours.published {
                holdings.inputs.entry(file.hour).or_default().insert(dataset.clone(), commit);
            }
            expired.extend(hours.expired);
        }
        if let Some(hours) = made.transpose()? {
            holdings.output = hours.published.into_iter().map(|(file, commit)| (file.hour, commit)).collect();
            expired.extend(hours.expired);
            holdings.expired = expired;
        }
        Ok(holdings)
    }
}

/// Plans the hours of the data set `output` by `recipe`: those that are out of date, or all if `rebuild`.
///
/// An hour of which retention has removed anything is left alone: made anew, it would be made of a part.
pub(crate) fn plan(output: &Name, recipe: &Recipe, holdings: Holdings, rebuild: bool) -> Plan {
    let mut plan = Plan::default();
    let Holdings { inputs, output: mut made, expired } = holdings;
    for (hour, files) in inputs {
        if expired.contains(&hour) {
            plan.expired += 1;
            continue;
        }
        let readable =
            |name: &Name, commit: layout::Result<Commit>| commit.map_err(|error| cli::unreadable(name, &error));
        let files = files.into_iter().map(|(name, commit)| {
            let commit = readable(&name, commit)?;
            Ok((name, commit.fingerprint))
        });
        let made = made.remove(&hour).map(|commit| readable(output, commit)).transpose();
        let (inputs, made) = match files.collect::<Result<BTreeMap<_, _>, _>>().and_then(|files| Ok((files, made?))) {
            Ok(read) => read,
            Err(problem) => {
                plan.unreadable.push((hour, problem));
                continue;
            }
        };
        match reason(recipe, &inputs, made.as_ref()).or_else(|| rebuild.then_some(Reason::Asked)) {
            Some(reason) => plan.windows.push(Window { hour, inputs, reason }),
            None => plan.fresh += 1,
        }
    }
    plan
}

/// Why an hour that was `made` is out of date, if it is.
fn reason(recipe: &Recipe, inputs: &BTreeMap<Name, Fingerprint>, made: Option<&Commit>) -> Option<Reason> {
    let Some(commit) = made else { return Some(Reason::Missing) };
    let Lineage::Query { query, inputs: read, tables } = &commit.lineage else { return Some(Reason::Query) };
    if *query != recipe.query {
        return Some(Reason::Query);
    }
    let table = difference(&recipe.tables, tables).map(|name| Reason::Table(name.clone()));
    table.or_else(|| difference(inputs, read).map(|name| Reason::Input(name.clone())))
}

/// The first key whose value is not the same in both.
fn difference<'m, K: Ord>(a: &'m BTreeMap<K, Fingerprint>, b: &'m BTreeMap<K, Fingerprint>) -> Option<&'m K> {
    a.keys().chain(b.keys()).find(|key| a.get(key) != b.get(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(text: &str) -> Fingerprint {
        Fingerprint::of(text.as_bytes())
    }

    fn recipe(query: &str, table: &str) -> Recipe {
        Recipe { query: fingerprint(query), tables: [("sensors".to_owned(), fingerprint(table))].into() }
    }

    fn inputs(versions: &[(&str, &str)]) -> BTreeMap<Name, Fingerprint> {
        versions.iter().map(|(name, version)| (name.parse().unwrap(), fingerprint(version))).collect()
    }

    fn made(recipe: &Recipe, read: &[(&str, &str)]) -> Commit {
        let (query, tables) = (recipe.query.clone(), recipe.tables.clone());
        Commit::new(Lineage::Query { query, inputs: inputs(read), tables })
    }

    fn reason_of(recipe: &Recipe, now: &[(&str, &str)], made: Option<&Commit>) -> Option<Reason> {
        reason(recipe, &inputs(now), made)
    }

    #[test]
    fn an_hour_is_out_of_date_when_anything_it_was_made_of_differs() {
        let recipe_a = recipe("a", "1");
        let commit = made(&recipe_a, &[("x", "1")]);
        assert_eq!(reason_of(&recipe_a, &[("x", "1")], Some(&commit)), None);
        assert_eq!(reason_of(&recipe_a, &[("x", "1")], None), Some(Reason::Missing));
        assert_eq!(reason_of(&recipe("b", "1"), &[("x", "1")], Some(&commit)), Some(Reason::Query));
        assert_eq!(reason_of(&recipe("a", "2"), &[("x", "1")], Some(&commit)), Some(Reason::Table("sensors".into())));
        assert_eq!(reason_of(&recipe_a, &[("x", "2")], Some(&commit)), Some(Reason::Input("x".parse().unwrap())));
        assert_eq!(
            reason_of(&recipe_a, &[("x", "1"), ("y", "1")], Some(&commit)),
            Some(Reason::Input("y".parse().unwrap())),
            "an input that came later"
        );
        let of_two = made(&recipe_a, &[("x", "1"), ("y", "1")]);
        assert_eq!(
            reason_of(&recipe_a, &[("x", "1")], Some(&of_two)),
            Some(Reason::Input("y".parse().unwrap())),
            "an input that is gone"
        );
    }

    #[test]
    fn hours_that_retention_touched_are_left_alone() {
        let hour: Hour = "2025-09-02T10".parse().unwrap();
        let file = || Ok(made(&recipe("other", "1"), &[]));
        let inputs: BTreeMap<_, _> = [(hour, [("x".parse().unwrap(), file())].into())].into();
        let holdings = Holdings { inputs, expired: [hour].into(), ..Holdings::default() };
        let plan = plan(&"made".parse().unwrap(), &recipe("a", "1"), holdings, true);
        assert_eq!((plan.windows.len(), plan.expired), (0, 1));
    }
}
