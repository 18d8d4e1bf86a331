//! Streams and data sets as people name them, and what to do when one of their files cannot be read.

use std::io::ErrorKind;

use layout::{Area, Error, Name, Tree};

use crate::exit::Usage;

/// Refuses a name that is neither a built-in stream's nor has a folder in `area`: it is misspelt. As long as nothing is
/// there at all, it may only be early, and there is nothing to do.
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

/// Why the Parquet file of an hour of `dataset` cannot be read, and what to do about it.
pub fn unreadable(dataset: &Name, error: &Error) -> String {
    format!("{error}: {}", remedy_for(dataset, error))
}

/// What to do about the Parquet file of an hour of `dataset` that cannot be read because of `error`.
pub fn remedy_for(dataset: &Name, error: &Error) -> String {
    misplaced(error).unwrap_or_else(|| {
        let remedy = if is_refused(error) { "make it readable, and run again" } else { remedy(dataset) };
        remedy.to_owned()
    })
}

/// What to do about a Parquet file that was made for another place, if that is the error.
pub fn misplaced(error: &Error) -> Option<String> {
    let Error::Misplaced { place, .. } = error else { return None };
    Some(format!("move it to {} if there is no such file, else out of the tree", place.file().display()))
}

/// Whether the system refused to read a file, which says nothing about what is in it.
pub fn is_refused(error: &Error) -> bool {
    error.io().is_some_and(|error| error.kind() != ErrorKind::InvalidData)
}

/// What to say of a Parquet file of `dataset` whose rows cannot be read, before what the reader says.
pub fn damaged(dataset: &Name) -> String {
    format!("cannot be read to its end; if it is damaged, {}", remedy(dataset))
}

/// What to do about a damaged Parquet file of `dataset`. Only streams are compacted, and they have models.
pub fn remedy(dataset: &Name) -> &'static str {
    if models::model(dataset.as_str()).is_some() {
        "put it back from a backup, or move it out of the tree: no other file holds this hour of the stream"
    } else {
        "move it out of the tree, and aggregate makes it again as long as none of its inputs has expired"
    }
}
