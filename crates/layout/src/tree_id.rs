//! The identity of a tree, a ULID in the file `tree-id`, by which warehouses tell data directories from each other. A tree
//! that is moved, copied for good or restored from a backup keeps it: nothing else about a directory stays the same then.

use std::fmt;
use std::fs;
use std::str::FromStr;

use ulid::Ulid;

use crate::error::{Error, Result};
use crate::files;
use crate::paths::Tree;
use crate::publish::{Draft, publish_new, sync_published};

/// The identity of a tree; 26 characters as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeId(Ulid);

impl FromStr for TreeId {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parsed = Ulid::from_string(text).ok().filter(|id| id.to_string() == text);
        parsed.map(Self).ok_or_else(|| format!("{text:?} is not the identity of a data directory"))
    }
}

impl fmt::Display for TreeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl Tree {
    /// The identity of this tree, durable. The first call makes it; two processes that make it at once get the same.
    pub fn id(&self) -> Result<TreeId> {
        if self.existing_id()?.is_none() {
            let made = Draft::new(self.id_file()).and_then(|draft| {
                fs::write(draft.path(), format!("{}\n", Ulid::generate())).map_err(Error::at("write", draft.path()))?;
                // Of two processes, the second takes the identity that the first has made.
                publish_new(draft)
            });
            made.map_err(|error| {
                let detail = format!("has no identity yet, and cannot be given one ({})", error.problem);
                let remedy = "run this program once as a user who may write to the data directory";
                Error::invalid(self.root(), detail, remedy)
            })?;
        }
        let removed = || Error::invalid(&self.id_file(), "was removed when it had just been made", "run again");
        let id = self.existing_id()?.ok_or_else(removed)?;
        // Whoever made it may be about to sync it, or may have died before.
        sync_published(&self.id_file())?;
        Ok(id)
    }

    /// The identity of this tree, if it has one.
    pub fn existing_id(&self) -> Result<Option<TreeId>> {
        let path = self.id_file();
        let text = match files::read(&path) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let id = str::from_utf8(&text).ok().and_then(|text| text.trim_end().parse().ok());
        id.map(Some).ok_or_else(|| {
            let remedy = "put it back from a backup; if there is none, remove it: the data directory then gets a new \
                          identity, and warehouses take it for another one";
            Error::invalid(&path, "does not hold the identity of the data directory", remedy)
        })
    }
}
