//! Names of streams and data sets that people give.

use layout::{Area, Name, Tree};

use crate::exit::Usage;

/// Refuses a name that is neither a built-in stream's nor has a folder in `area`: it is misspelt. As long as there is no
/// folder at all, the name may be right and only early: then there is nothing to do.
pub fn check_names<'n>(tree: &Tree, area: Area, names: impl IntoIterator<Item = &'n Name>) -> anyhow::Result<()> {
    let kind = if area == Area::Parquet { "data set" } else { "stream" };
    let there = tree.names(area)?;
    for name in names {
        if there.contains(name) || models::model(name.as_str()).is_some() {
            continue;
        }
        if there.is_empty() {
            log::info!("{name}: there is no {kind} yet");
            continue;
        }
        let there: Vec<_> = there.iter().map(Name::as_str).collect();
        return Err(Usage(format!("{name}: there is no such {kind}: the tree has {}", there.join(", "))).into());
    }
    Ok(())
}
