//! Hours that retention removed: the rows are gone, the commit record stays.
//!
//! Whoever makes an hour anew from what is there would make it from a part: late segments without the rows that were
//! removed, or one input of a query without the other. Downstream, where an hour replaces what was known of it, that part
//! would then replace the whole. So the record of a removed hour stays beside where it was, as
//! `parquet/<dataset>/YYYY/MM/DD/HH.expired.json`. An hour is *expired* when that record is there and its Parquet file is
//! not; deleting the record by hand opens the hour again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::fault;
use crate::hour::Hour;
use crate::lock::DatasetLock;
use crate::name::Name;
use crate::publish::{Draft, publish};
use crate::tree::Tree;

/// What follows the hour in the record's name.
pub(crate) const SUFFIX: &str = "expired.json";

impl Tree {
    /// Removes published hours for good: their records are durable before the first file goes, so that to die in between
    /// leaves an hour that is whole and can be removed again. Only who holds the data set's lock does.
    pub fn expire_parquet(&self, lock: &DatasetLock, dataset: &Name, hours: &[(Hour, Commit)]) -> Result<()> {
        let mut records = Vec::with_capacity(hours.len());
        for (hour, commit) in hours {
            let draft = Draft::new(record(&self.parquet(dataset, *hour)))?;
            fs::write(draft.path(), commit.to_json() + "\n").map_err(Error::at("write", draft.path()))?;
            records.push(draft);
        }
        publish(records)?;
        fault::point("expire.recorded");
        for (hour, _) in hours {
            self.remove_parquet(lock, dataset, *hour)?;
        }
        Ok(())
    }

    /// The commit record of what was removed of an expired hour; its `rows` are not known.
    pub fn expired_record(&self, dataset: &Name, hour: Hour) -> Result<Commit> {
        let path = record(&self.parquet(dataset, hour));
        let text = fs::read(&path).map_err(Error::at("read", &path))?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::invalid(&path, format!("is not the record of an expired hour: {error}")))
    }

    /// Whether an hour of `dataset` is expired.
    pub fn is_expired(&self, dataset: &Name, hour: Hour) -> Result<bool> {
        let path = self.parquet(dataset, hour);
        // The record first: it is there before the file goes. A link to nothing is an hour on a disk that is not there.
        Ok(exists(&record(&path))? && !exists(&path)?)
    }
}

/// The record's path, of the Parquet file's.
fn record(parquet: &Path) -> PathBuf {
    parquet.with_extension(SUFFIX)
}

fn exists(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::at("look at", path)(error)),
    }
}
