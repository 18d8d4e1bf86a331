//! How long each kind of file is kept, as it was asked for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use layout::Name;

use crate::age::Age;
use crate::args::CleanArgs;
use crate::scan::Snapshot;

/// How long each kind of file is kept; none for ever.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) quarantine: Option<Age>,
    parquet: Option<Age>,
    datasets: BTreeMap<Name, Age>,
    pub(crate) orphans: Age,
    pub(crate) even_if_needed: bool,
}

impl Rules {
    /// The rules that were asked for; two for the same files are an error.
    pub(crate) fn new(args: &CleanArgs) -> Result<Self, String> {
        let mut rules = Self {
            quarantine: args.keep_quarantine,
            parquet: None,
            datasets: BTreeMap::new(),
            orphans: args.orphans_after,
            even_if_needed: args.even_if_needed,
        };
        for keep in &args.keep_parquet {
            let before = match &keep.dataset {
                Some(dataset) => rules.datasets.insert(dataset.clone(), keep.age),
                None => rules.parquet.replace(keep.age),
            };
            if let Some(before) = before {
                let of = keep.dataset.as_ref().map_or("all data sets", Name::as_str);
                return Err(format!("--keep-parquet is given twice for {of}: {before} and {}", keep.age));
            }
        }
        Ok(rules)
    }

    /// The data sets that have a rule of their own.
    pub(crate) fn datasets(&self) -> impl Iterator<Item = &Name> {
        self.datasets.keys()
    }

    /// How long the hours of a data set are kept.
    pub(crate) fn of(&self, dataset: &Name) -> Option<Age> {
        self.datasets.get(dataset).copied().or(self.parquet)
    }

    /// Whether it matters what the warehouse holds.
    pub(crate) fn ask_warehouse(&self, snapshot: &Snapshot, now: DateTime<Utc>) -> bool {
        !self.even_if_needed
            && snapshot.datasets.iter().any(|(name, dataset)| {
                self.of(name).is_some_and(|age| dataset.hours.keys().any(|hour| age.is_past(*hour, now)))
            })
    }
}
