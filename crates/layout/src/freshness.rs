//! Whether a window is what would be made now: what aggregate makes anew, and what housekeep still keeps inputs for.

use std::collections::{BTreeMap, BTreeSet};

use crate::commit::{Commit, Fingerprint, Input, Lineage};
use crate::hour::Hour;
use crate::name::Name;
use crate::window::Window;

/// What a window is made by, apart from the files that it is made of.
#[derive(Debug)]
pub struct Recipe {
    /// The query.
    pub query: Fingerprint,
    /// The reference tables.
    pub tables: BTreeMap<String, Fingerprint>,
    /// The reference tables whose change makes nothing out of date.
    pub ignore_changes: BTreeSet<String>,
}

impl Recipe {
    /// The commit record of `window`, made of the files `inputs` of each data set.
    pub fn commit(&self, window: Window, inputs: &BTreeMap<Name, BTreeMap<Hour, Fingerprint>>) -> Commit {
        let input = |files: &BTreeMap<Hour, Fingerprint>| match files.get(&window.hour()) {
            Some(fingerprint) if window.is_hour() && files.len() == 1 => Input::Hour(fingerprint.clone()),
            _ => Input::Hours(files.clone()),
        };
        let inputs = inputs.iter().map(|(name, files)| (name.clone(), input(files))).collect();
        Commit::of_window(Lineage::Query { query: self.query.clone(), inputs, tables: self.tables.clone() }, window)
    }
}

/// What is there now of a data set that a window reads.
#[derive(Debug, Default)]
pub struct InputNow<'a> {
    /// The files that are read for the window.
    pub files: BTreeMap<Hour, &'a Commit>,
    /// The first of the hours that would be read and that retention has removed: its record, if that can be read.
    pub removed: Option<Option<&'a Commit>>,
}

/// How a window that was made stands to what would be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness<'a> {
    /// It is the same.
    UpToDate,
    /// This data set has other files for it than those that it was made of, more, or fewer.
    Late(&'a Name),
    /// It was made by another query.
    OtherQuery,
    /// It was made with this reference table, or without it, or with another content of it.
    OtherTable(&'a str),
    /// It was made of files of this data set that another query has made anew since then. Nothing has come late: that is
    /// told apart only where retention has removed a part, since only there it decides what can be done.
    OlderInput(&'a Name),
}

/// How the file of `hour`, with the record `made`, stands to what would be made of `inputs`, and, where it is known, `by` what.
///
/// Where retention has removed a part of what is read, the window cannot be made anew. Then it is late, before all else, if
/// a file has changed that was made in the same way as the removed one: something has been sent that it lacks.
pub fn freshness<'a>(
    made: &'a Commit,
    hour: Hour,
    inputs: &'a BTreeMap<&'a Name, InputNow<'a>>,
    by: Option<(&'a Recipe, Window)>,
) -> Freshness<'a> {
    let Lineage::Query { query, tables, inputs: then } = &made.lineage else { return Freshness::OtherQuery };
    let recipe = || {
        let (recipe, window) = by?;
        if *query != recipe.query || made.window(hour) != window {
            return Some(Freshness::OtherQuery);
        }
        other_table(recipe, tables).map(Freshness::OtherTable)
    };
    if inputs.values().all(|input| input.removed.is_none()) {
        let now = |name| -> BTreeMap<Hour, &Fingerprint> {
            let files = inputs.get(name).into_iter().flat_map(|input| &input.files);
            files.map(|(hour, commit)| (*hour, &commit.fingerprint)).collect()
        };
        let mut names = inputs.keys().copied().chain(then.keys());
        let changed = names.find(|name| now(*name) != fingerprints(then.get(*name), hour));
        return recipe().or_else(|| changed.map(Freshness::Late)).unwrap_or(Freshness::UpToDate);
    }
    // What another query reads may be another data set.
    let is_same_query = by.is_some_and(|(recipe, _)| *query == recipe.query);
    let read = made.window(hour).hours_read();
    let changed = |(name, now): (&&'a Name, &'a InputNow<'a>)| {
        let then = then.get(*name);
        (then.is_some() || is_same_query).then_some(())?;
        let then = fingerprints(then, hour);
        let differs =
            |(at, commit): &(&Hour, &&Commit)| read.contains(**at) && then.get(*at) != Some(&&commit.fingerprint);
        let changed: Vec<_> = now.files.iter().filter(differs).map(|(_, commit)| *commit).collect();
        (!changed.is_empty()).then_some((*name, now, changed))
    };
    let changed: Vec<_> = inputs.iter().filter_map(changed).collect();
    // Nothing but more rows explains that files have changed which were made as the removed one was.
    let late = changed.iter().find(|(_, now, changed)| {
        now.removed.flatten().is_none_or(|before| changed.iter().any(|commit| commit.is_made_like(before)))
    });
    let late = late.map(|(name, ..)| Freshness::Late(name)).or_else(recipe);
    let older = || changed.first().map(|(name, ..)| Freshness::OlderInput(name));
    late.or_else(older).unwrap_or(Freshness::UpToDate)
}

fn fingerprints(input: Option<&Input>, hour: Hour) -> BTreeMap<Hour, &Fingerprint> {
    input.map(|input| input.files(hour)).unwrap_or_default()
}

/// The first reference table whose change counts and that was not as it is now.
fn other_table<'a>(recipe: &'a Recipe, then: &'a BTreeMap<String, Fingerprint>) -> Option<&'a str> {
    let mut names = recipe.tables.keys().chain(then.keys());
    let changed =
        |name: &&String| !recipe.ignore_changes.contains(*name) && recipe.tables.get(*name) != then.get(*name);
    names.find(changed).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(text: &str, inputs: &[(&str, &Commit)], table: &str) -> Commit {
        let inputs =
            inputs.iter().map(|(name, commit)| (name.parse().unwrap(), Input::Hour(commit.fingerprint.clone())));
        let tables = [("sensors".to_owned(), Fingerprint::of(table.as_bytes()))].into();
        Commit::new(Lineage::Query { query: Fingerprint::of(text.as_bytes()), inputs: inputs.collect(), tables })
    }

    fn recipe(query: &str, table: &str) -> Recipe {
        let tables = [("sensors".to_owned(), Fingerprint::of(table.as_bytes()))].into();
        Recipe { query: Fingerprint::of(query.as_bytes()), tables, ignore_changes: BTreeSet::new() }
    }

    #[test]
    fn a_window_is_late_if_its_files_are_others_and_made_by_another_recipe_before_that() {
        let (hour, window) = (Hour::MIN, Window::of_hour(Hour::MIN));
        let (a, b): (Name, Name) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (file, other) = (commit("f", &[], ""), commit("g", &[], ""));
        let made = commit("q", &[("a", &file)], "t");
        let is = |inputs: &[(&Name, &Commit)], recipe: Option<&Recipe>| -> String {
            let inputs = inputs
                .iter()
                .map(|(name, commit)| (*name, InputNow { files: [(hour, *commit)].into(), removed: None }));
            format!("{:?}", freshness(&made, hour, &inputs.collect(), recipe.map(|recipe| (recipe, window))))
        };
        let same = recipe("q", "t");
        assert_eq!(is(&[(&a, &file)], Some(&same)), "UpToDate");
        assert_eq!(is(&[(&a, &file)], None), "UpToDate");
        assert_eq!(is(&[(&a, &other)], Some(&same)), "Late(Name(\"a\"))");
        assert_eq!(is(&[(&a, &other)], None), "Late(Name(\"a\"))");
        assert_eq!(is(&[], None), "Late(Name(\"a\"))");
        assert_eq!(is(&[(&a, &file), (&b, &file)], None), "Late(Name(\"b\"))");
        assert_eq!(is(&[(&a, &other)], Some(&recipe("p", "t"))), "OtherQuery");
        assert_eq!(is(&[(&a, &file)], Some(&recipe("q", "u"))), "OtherTable(\"sensors\")");
        let ignored = Recipe { ignore_changes: ["sensors".to_owned()].into(), ..recipe("q", "u") };
        assert_eq!(is(&[(&a, &file)], Some(&ignored)), "UpToDate");
    }
}
